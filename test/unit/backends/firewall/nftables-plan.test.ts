import '../../../support/fixed-seed.ts';
import test from 'ava';
import fc from 'fast-check';
import { parseNftablesListing } from '../../../../backends/firewall/nftables-listing.ts';
import { learnNftables, planNftables } from '../../../../backends/firewall/nftables-plan.ts';
import {
  flannelTable,
  markTable,
  markTableName,
  noFlannelTable,
  type TableRules,
} from '../../../../backends/firewall/nftables-rules.ts';
import { PrintedForms } from '../../../../backends/firewall/printed-forms.ts';
import type { RulePlan, Stage } from '../../../../backends/firewall/rule-plan.ts';
import type { Territory } from '../../../../backends/firewall/territory.ts';
import type { FirewallWish } from '../../../../backends/firewall/wish.ts';
import { FakeNftables } from '../../../fakes/packet-filters.ts';
import { prefix } from '../../../support/addresses.ts';
import { FLANNELS, flannelds, IPV4, IPV6, MARK } from '../../../support/firewall-wishes.ts';

const WANTED: Stage = { masquerading: 'wanted', mayLeave: true };
const CAN = { flannel: true, abilities: { comments: true, randomFully: true } };
const OURS: Territory = [IPV4.network];
const TABLE = 'ip flannel-ipv4';

const table = (wish: Partial<FirewallWish> = {}, stage: Partial<Stage> = {}): TableRules =>
  flannelTable({ ...FLANNELS, nftables: true, ...wish }, 4, CAN, { ...WANTED, ...stage });

function planOn(nft: FakeNftables, wanted: TableRules, territory = OURS, forms = new PrintedForms()): RulePlan {
  const listing = nft.listing(`${wanted.family} ${wanted.name}`);
  return planNftables(listing === undefined ? undefined : parseNftablesListing(listing), wanted, territory, forms);
}

/** What is amiss, and the table after it was mended. Nothing may be amiss then. */
function mended(nft: FakeNftables, wanted: TableRules, territory = OURS): readonly string[] {
  const { amiss, script } = planOn(nft, wanted, territory);
  nft.run(script);
  const after = planOn(nft, wanted, territory);
  if (after.script !== '') throw new Error(`still amiss: ${after.amiss.join(', ')}\n${after.script}`);
  return amiss;
}

test("of flanneld's rules one is mended, in both families; all others are as they have to be", (t) => {
  for (const [family, ip, { network, subnet }] of [
    [4, 'ip', IPV4],
    [6, 'ip6', IPV6],
  ] as const) {
    const texts = flannelds('nftables').split(/^(?=table )/m);
    const text = texts.find((some) => some.startsWith(`table ${ip} `)) ?? '';
    // `nft -n`, as the product asks it, prints priorities as numbers.
    const found = parseNftablesListing(
      text.replace('priority srcnat', 'priority 100').replace('priority filter', 'priority 0'),
    );
    const wanted = flannelTable({ ...FLANNELS, nftables: true }, family, CAN, WANTED);
    const rules = wanted.chains.map((chain) => chain.rules);
    const theirs = [...found.chains.values()].map((chain) => chain.rules);
    const swallowing = `${ip} saddr != ${subnet} ${ip} daddr ${network} return`;
    const ours = `${ip} saddr != ${network} ${ip} daddr ${subnet} return`;
    t.deepEqual(
      rules,
      theirs.map((some) => some.map((rule) => (rule === swallowing ? ours : rule))),
    );
    t.deepEqual(
      [...found.chains.values()].map(({ head }) => head),
      wanted.chains.map(({ head }) => head),
    );
    t.deepEqual(planNftables(found, wanted, [network], new PrintedForms()).amiss, [
      'the rules of postrtg are not as they have to be',
    ]);
  }
});

test('the whole script for a bare host', (t) => {
  t.is(
    planOn(new FakeNftables(), table({ masquerade: false }, { masquerading: 'goes' })).script,
    `add table ip flannel-ipv4 { comment "rules for flannel-ipv4"; }
add chain ip flannel-ipv4 forward { type filter hook forward priority 0; policy accept; comment "chain to accept flannel traffic"; }
flush chain ip flannel-ipv4 forward
add rule ip flannel-ipv4 forward ip saddr 10.5.0.0/16 accept
add rule ip flannel-ipv4 forward ip daddr 10.5.0.0/16 accept
`,
  );
});

test('an nft without comments gets none; without fully-random masquerading has it not', (t) => {
  const abilities = { comments: false, randomFully: false };
  const bare = flannelTable(FLANNELS, 4, { flannel: true, abilities }, WANTED);
  const { script } = planOn(new FakeNftables(), bare);
  t.false(script.includes('comment'));
  t.false(script.includes('fully-random'));
  t.true(script.includes('224.0.0.0/4 masquerade\n'));
});

test('order, extras and the hook are seen', (t) => {
  const nft = new FakeNftables();
  mended(nft, table());
  nft.run(`add rule ${TABLE} forward ip saddr 10.5.3.0/24 drop`);
  t.deepEqual(mended(nft, table()), ['the rules of forward are not as they have to be']);
  const chain = nft.tables.get(TABLE)?.get('postrtg');
  if (chain) chain.head = chain.head.replace('100', '99');
  t.deepEqual(mended(nft, table()), ['the rules of postrtg are not as they have to be']);
});

test('what is not wanted goes: a chain, or the table where nothing of others is in it', (t) => {
  const nft = new FakeNftables();
  mended(nft, table());
  mended(nft, table({ masquerade: false }, { masquerading: 'goes' }));
  t.deepEqual([...(nft.tables.get(TABLE)?.keys() ?? [])], ['forward']);
  nft.run(`add chain ${TABLE} somebodys { type filter hook input priority 0; policy accept; }`);
  mended(nft, noFlannelTable(4));
  t.deepEqual([...(nft.tables.get(TABLE)?.keys() ?? [])], ['somebodys']);
  nft.run(`delete chain ${TABLE} somebodys`);
  t.deepEqual(mended(nft, noFlannelTable(4)), [`the table ${TABLE} is no longer wanted`]);
  t.false(nft.tables.has(TABLE));
});

test('masquerading that has to wait stays', (t) => {
  const nft = new FakeNftables();
  mended(nft, table());
  const before = nft.listing(TABLE);
  t.deepEqual(mended(nft, table({ masquerade: false }, { masquerading: 'stays' })), []);
  t.is(nft.listing(TABLE), before);
});

test("another agent's network lives in the same table", (t) => {
  const nft = new FakeNftables();
  const other = { family: 4, network: prefix('10.6.0.0/16'), subnet: prefix('10.6.3.0/24') } as const;
  const theirs = table({ families: [other] });
  mended(nft, table());
  mended(nft, theirs, [other.network]);
  t.deepEqual(planOn(nft, table()).amiss, []);
  mended(nft, noFlannelTable(4));
  t.deepEqual(planOn(nft, theirs, [other.network]).amiss, []);
  mended(nft, noFlannelTable(4), [other.network]);
  t.false(nft.tables.has(TABLE));
});

test('a version that prints otherwise is learnt from', (t) => {
  const nft = new FakeNftables();
  nft.print = (line) => line.replace('priority 100', 'priority srcnat').replace('0x00004000', '0x4000');
  const forms = new PrintedForms();
  nft.run(planOn(nft, table(), OURS, forms).script);
  t.is(planOn(nft, table(), OURS, forms).amiss.length, 1);
  learnNftables(parseNftablesListing(nft.listing(TABLE) ?? ''), table(), OURS, forms);
  t.deepEqual(planOn(nft, table(), OURS, forms).amiss, []);
});

test('marks: for each family and device, in a table named after the first device', (t) => {
  const ways = { devices: ['flannel.1', 'eth0'], mark: MARK };
  t.is(markTableName(ways), 'tartan-docker-flannel.1');
  t.is(markTableName({ ...ways, devices: ['we:ird@0'] }), 'tartan-docker-we_ird_0');
  t.deepEqual(markTable('tartan-docker-flannel.1', [IPV4, IPV6], ways).chains[0]?.rules, [
    'iifname "flannel.1" ip saddr 10.5.0.0/16 ip daddr 10.5.17.0/24 meta mark set meta mark | 0x00001000',
    'iifname "eth0" ip saddr 10.5.0.0/16 ip daddr 10.5.17.0/24 meta mark set meta mark | 0x00001000',
    'iifname "flannel.1" ip6 saddr fd00:5::/48 ip6 daddr fd00:5:0:17::/64 meta mark set meta mark | 0x00001000',
    'iifname "eth0" ip6 saddr fd00:5::/48 ip6 daddr fd00:5:0:17::/64 meta mark set meta mark | 0x00001000',
  ]);
  const wide = markTable('tartan-docker-flannel.1', [IPV4], {
    devices: ['flannel.1'],
    mark: { value: 0x5, mask: 0xff },
  });
  t.true(wide.chains[0]?.rules[0]?.endsWith('meta mark set meta mark & 0xffffff00 | 0x00000005'));
});

test('a listing with sets, rules over several lines and quoted braces', (t) => {
  const listing = parseNftablesListing(`table ip flannel-ipv4 {
	set s {
		type ipv4_addr
		elements = { 10.0.0.1 }
	}

	chain forward {
		type filter hook forward priority 0; policy accept;
		ip saddr { 10.5.1.0/24,
			   10.5.2.0/24 } accept
		ip saddr 10.5.0.0/16 accept comment "a } b {"
	}
}
`);
  t.true(listing.hasMore);
  t.deepEqual(listing.chains.get('forward')?.rules, [
    'ip saddr { 10.5.1.0/24, 10.5.2.0/24 } accept',
    'ip saddr 10.5.0.0/16 accept comment "a } b {"',
  ]);
});

const someRule = fc.constantFrom(
  ...table().chains.flatMap(({ rules }) => (rules === 'as it is' ? [] : rules)),
  'ip saddr 10.6.0.0/16 accept',
  'ip saddr != 10.6.0.0/16 ip daddr 10.6.3.0/24 return',
  'ip saddr 10.5.3.0/24 drop',
  'counter',
);
const someChain = fc.record({
  name: fc.constantFrom('postrtg', 'forward', 'somebodys'),
  head: fc.constantFrom(
    'type nat hook postrouting priority 100; policy accept;',
    'type filter hook forward priority 0; policy accept;',
  ),
  rules: fc.array(someRule, { maxLength: 6 }),
});
const someTable = fc.option(fc.array(someChain, { maxLength: 3 })).map((chains) => {
  const nft = new FakeNftables();
  if (chains)
    nft.tables.set(TABLE, new Map(chains.map(({ name, head, rules }) => [name, { head, rules: [...rules] }])));
  return nft;
});
const foreignRules = (nft: FakeNftables): readonly string[] =>
  Array.from(nft.tables.get(TABLE) ?? [], ([name, { rules }]) =>
    rules.filter((rule) => name === 'somebodys' || rule.includes('10.6.')).map((rule) => `${name} ${rule}`),
  )
    .flat()
    .toSorted();

test('whatever stood there, one script makes it right, and no foreign rule is lost', (t) => {
  const holds = fc.property(someTable, fc.boolean(), fc.boolean(), (nft, masquerade, forward) => {
    const before = foreignRules(nft);
    mended(nft, table({ masquerade, forward }, { masquerading: masquerade ? 'wanted' : 'goes' }));
    t.deepEqual(foreignRules(nft), before);
  });
  t.notThrows(() => fc.assert(holds, { numRuns: 500 }));
});
