import '../../../support/fixed-seed.ts';
import test from 'ava';
import fc from 'fast-check';
import { parseIptablesListing } from '../../../../backends/firewall/iptables-listing.ts';
import { learnIptables, planIptables } from '../../../../backends/firewall/iptables-plan.ts';
import { type IptablesRules, iptablesRules, noIptablesRules } from '../../../../backends/firewall/iptables-rules.ts';
import { PrintedForms } from '../../../../backends/firewall/printed-forms.ts';
import type { RulePlan, Stage } from '../../../../backends/firewall/rule-plan.ts';
import { type Territory, territoryOf } from '../../../../backends/firewall/territory.ts';
import type { FirewallWish } from '../../../../backends/firewall/wish.ts';
import { FakeIptables } from '../../../fakes/packet-filters.ts';
import { prefix } from '../../../support/addresses.ts';
import { DOCKER, FLANNELS, flannelds, IPV4 } from '../../../support/firewall-wishes.ts';

const WANTED: Stage = { masquerading: 'wanted', mayLeave: true };
const CAN = { flannel: true, randomFully: true };
const OURS = [IPV4.network];

const rules = (wish: Partial<FirewallWish> = {}, stage: Partial<Stage> = {}): IptablesRules =>
  iptablesRules({ ...FLANNELS, ...wish }, 4, CAN, { ...WANTED, ...stage });
const planOn = (
  host: FakeIptables,
  wanted: IptablesRules,
  territory: Territory = OURS,
  forms = new PrintedForms(),
): RulePlan => planIptables(parseIptablesListing(host.listing()), wanted, territory, forms);

/** A host on which this stands. */
function hostWith(listing = ''): FakeIptables {
  const host = new FakeIptables();
  host.load(listing);
  return host;
}

function flanneldsHost(): FakeIptables {
  return hostWith(flannelds('iptables-nft'));
}

/** What is amiss, and the host after it was mended. Nothing may be amiss then. */
function mended(host: FakeIptables, wanted: IptablesRules, territory: Territory = OURS): readonly string[] {
  const { amiss, script } = planOn(host, wanted, territory);
  host.restore(script);
  const after = planOn(host, wanted, territory);
  if (after.script !== '') throw new Error(`still amiss: ${after.amiss.join(', ')}\n${after.script}${host.listing()}`);
  return amiss;
}

for (const name of ['iptables-nft', 'iptables-legacy', 'ip6tables-nft', 'ip6tables-legacy']) {
  const family = name.startsWith('ip6') ? 6 : 4;
  const wanted = iptablesRules(FLANNELS, family, CAN, WANTED);
  test(`${name}: what flanneld wrote is what we want`, (t) => {
    const found = parseIptablesListing(flannelds(name));
    t.deepEqual(planIptables(found, wanted, territoryOf(FLANNELS, family), new PrintedForms()), {
      amiss: [],
      script: '',
    });
  });
  test(`${name}: on a bare host we write what flanneld wrote`, (t) => {
    const host = hostWith();
    host.restore(planOn(host, wanted, territoryOf(FLANNELS, family)).script);
    const rulesIn = (listing: string): string[] =>
      listing
        .split('\n')
        .filter((line) => line.startsWith('-A'))
        .toSorted();
    t.deepEqual(rulesIn(host.listing()), rulesIn(flannelds(name)));
  });
}

test('the whole script for a bare host', (t) => {
  const host = hostWith();
  t.is(
    planOn(host, rules({ masquerade: false, docker: DOCKER }, { masquerading: 'goes' })).script,
    `*filter
:FLANNEL-FWD - [0:0]
-A FLANNEL-FWD -s 10.5.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT
-A FLANNEL-FWD -d 10.5.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT
-A FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD
-N DOCKER-USER
-A DOCKER-USER -s 10.5.0.0/16 -d 10.5.17.0/24 -i flannel.1 -m comment --comment "tartan docker" -j ACCEPT
COMMIT
*raw
-I PREROUTING -s 10.5.0.0/16 -d 10.5.17.0/24 -i flannel.1 -m comment --comment "tartan docker" -j ACCEPT
COMMIT
`,
  );
});

test('the order inside a chain counts, and so does what is there beside', (t) => {
  const host = flanneldsHost();
  const [first = '', second = '', ...rest] = host.rules('nat', 'FLANNEL-POSTRTG') ?? [];
  host.restore(
    `*nat\n:FLANNEL-POSTRTG - [0:0]\n${[second, first, ...rest].map((rule) => `-A FLANNEL-POSTRTG ${rule}`).join('\n')}\nCOMMIT\n`,
  );
  t.deepEqual(mended(host, rules()), ['the rules of FLANNEL-POSTRTG are not as they have to be']);
  host.append('nat', 'FLANNEL-POSTRTG', '-s 10.5.9.0/24 -j RETURN');
  t.deepEqual(mended(host, rules()), ['the rules of FLANNEL-POSTRTG are not as they have to be']);
  t.deepEqual(host.rules('nat', 'FLANNEL-POSTRTG'), [first, second, ...rest]);
});

test('a jump is left where it is, added where it is missing, and never doubled', (t) => {
  const jump = '-m comment --comment "flanneld masq" -j FLANNEL-POSTRTG';
  const foreign = '-s 192.0.2.0/24 -j MASQUERADE';
  const host = flanneldsHost();
  host.append('nat', 'POSTROUTING', foreign);
  t.deepEqual(mended(host, rules()), []);
  t.deepEqual(host.rules('nat', 'POSTROUTING'), [jump, foreign]);
  host.append('nat', 'POSTROUTING', jump, '-j FLANNEL-POSTRTG');
  t.deepEqual(mended(host, rules()), ['POSTROUTING jumps to FLANNEL-POSTRTG more than once']);
  t.deepEqual(host.rules('nat', 'POSTROUTING'), [foreign, '-j FLANNEL-POSTRTG']);
  host.restore('*nat\n-D POSTROUTING -j FLANNEL-POSTRTG\nCOMMIT\n');
  host.append('nat', 'POSTROUTING', '-o eth9 -j FLANNEL-POSTRTG');
  t.deepEqual(mended(host, rules()), ['the jump from POSTROUTING to FLANNEL-POSTRTG is missing']);
  t.deepEqual(host.rules('nat', 'POSTROUTING'), [foreign, '-o eth9 -j FLANNEL-POSTRTG', jump]);
});

test('iptables -F: the chains are there and empty', (t) => {
  const host = flanneldsHost();
  host.flush();
  t.is(mended(host, rules()).length, 4);
  t.deepEqual(host.listing(), flanneldsHost().listing());
});

test('what is not wanted goes, with every jump to it', (t) => {
  const host = flanneldsHost();
  host.append('filter', 'INPUT', '-i eth7 -g FLANNEL-FWD');
  mended(host, rules({ forward: false }, { masquerading: 'goes' }));
  t.false(/FLANNEL/.test(host.listing()), host.listing());
});

test('what has to wait is left as it is', (t) => {
  t.deepEqual(mended(flanneldsHost(), rules({ forward: true }, { masquerading: 'stays' })), []);
  const elsewhere = iptablesRules(FLANNELS, 4, { ...CAN, flannel: false }, { ...WANTED, mayLeave: false });
  t.deepEqual(mended(flanneldsHost(), elsewhere), []);
});

test("another agent's network lives in the same chains", (t) => {
  const host = flanneldsHost();
  const other = { family: 4, network: prefix('10.6.0.0/16'), subnet: prefix('10.6.3.0/24') } as const;
  const theirs = iptablesRules({ ...FLANNELS, families: [other], docker: DOCKER }, 4, CAN, WANTED);
  mended(host, rules({ docker: DOCKER }));
  mended(host, theirs, [other.network]);
  t.deepEqual(planOn(host, rules({ docker: DOCKER })).amiss, []);
  t.deepEqual(planOn(host, theirs, [other.network]).amiss, []);
  mended(host, noIptablesRules());
  t.deepEqual(planOn(host, theirs, [other.network]).amiss, []);
  t.deepEqual(planOn(host, noIptablesRules()).amiss, []);
  mended(host, noIptablesRules(), [other.network]);
  t.is(host.listing().match(/FLANNEL|tartan|DOCKER/), null);
});

test('rules of a network that this host has left go', (t) => {
  const host = hostWith();
  const before = iptablesRules(
    { ...FLANNELS, families: [{ ...IPV4, network: prefix('10.4.0.0/14') }] },
    4,
    CAN,
    WANTED,
  );
  mended(host, before, [prefix('10.4.0.0/14')]);
  mended(host, rules(), [IPV4.network, prefix('10.4.0.0/14')]);
  t.deepEqual(host.rules('filter', 'FLANNEL-FWD')?.length, 2);
});

const WAY = '-s 10.5.0.0/16 -d 10.5.17.0/24 -i flannel.1 -m comment --comment "tartan docker" -j ACCEPT';
const OPERATORS = '-s 192.0.2.7/32 -j DROP';

for (const [title, before, after] of [
  ['an empty one', [], [WAY]],
  ["behind the operator's own", [OPERATORS], [OPERATORS, WAY]],
  ["before Docker's RETURN", [OPERATORS, '-j RETURN'], [OPERATORS, WAY, '-j RETURN']],
  ['behind a RETURN it moves', ['-j RETURN', WAY, OPERATORS], [WAY, '-j RETURN', OPERATORS]],
  ['a double goes', [WAY, OPERATORS, WAY], [OPERATORS, WAY]],
  ['a RETURN with a condition is passed', ['-s 1.2.3.4/32 -j RETURN'], ['-s 1.2.3.4/32 -j RETURN', WAY]],
] as const) {
  test(`the way through DOCKER-USER: ${title}`, (t) => {
    const host = hostWith('*filter\n:FORWARD ACCEPT [0:0]\n:DOCKER-USER - [0:0]\nCOMMIT\n');
    host.append('filter', 'DOCKER-USER', ...before);
    mended(host, rules({ docker: DOCKER }));
    t.deepEqual(host.rules('filter', 'DOCKER-USER'), after);
  });
}

test('the way through raw PREROUTING stands before any DROP, and is not moved without need', (t) => {
  const drop = '-d 10.5.17.2/32 ! -i docker0 -j DROP';
  const host = hostWith();
  host.append('raw', 'PREROUTING', drop);
  mended(host, rules({ docker: { ...DOCKER, devices: ['flannel.1', 'eth0'] } }));
  const eth0 = WAY.replace('flannel.1', 'eth0');
  t.deepEqual(host.rules('raw', 'PREROUTING'), [WAY, eth0, drop]);
  host.restore('*raw\n-I PREROUTING -s 9.9.9.9/32 -j CT --notrack\nCOMMIT\n');
  t.deepEqual(mended(host, rules({ docker: { ...DOCKER, devices: ['flannel.1', 'eth0'] } })), []);
  host.restore('*raw\n-I PREROUTING -d 10.5.17.3/32 ! -i docker0 -j DROP\nCOMMIT\n');
  t.deepEqual(mended(host, rules({ docker: { ...DOCKER, devices: ['flannel.1', 'eth0'] } })), [
    'the ways through PREROUTING stand behind a DROP',
  ]);
});

test('DOCKER-USER goes with our rules where nothing else is in it and nothing jumps to it', (t) => {
  const made = hostWith();
  mended(made, rules({ docker: DOCKER }));
  mended(made, rules());
  t.is(made.rules('filter', 'DOCKER-USER'), undefined);
  const dockers = hostWith('*filter\n:FORWARD ACCEPT [0:0]\n:DOCKER-USER - [0:0]\n-A FORWARD -j DOCKER-USER\nCOMMIT\n');
  mended(dockers, rules({ docker: DOCKER }));
  mended(dockers, rules());
  t.deepEqual(dockers.rules('filter', 'DOCKER-USER'), []);
});

test('a comment that looks like a target is none', (t) => {
  const host = flanneldsHost();
  host.append('nat', 'POSTROUTING', '-m comment --comment "-j FLANNEL-POSTRTG" -j ACCEPT');
  t.deepEqual(mended(host, rules()), []);
});

test('a program that prints rules otherwise is learnt from, once', (t) => {
  const forms = new PrintedForms();
  const host = flanneldsHost();
  const other = (): FakeIptables => hostWith(host.listing().replaceAll('--mark 0x4000/0x4000', '--mark 0x4000'));
  t.is(planOn(other(), rules(), OURS, forms).amiss.length, 1);
  learnIptables(parseIptablesListing(other().listing()), rules(), OURS, forms);
  t.deepEqual(planOn(other(), rules(), OURS, forms).amiss, []);
  const changed = hostWith(other().listing().replaceAll('10.5.17.0/24', '10.5.18.0/24'));
  t.is(planOn(changed, rules(), OURS, forms).amiss.length, 1);
});

// What may stand in a chain: ours, another agent's, an operator's, Docker's, and traps.
const someRule = fc.constantFrom(
  ...rules({ docker: DOCKER }).own.flatMap((own) => (own.rules === 'as it is' ? [] : own.rules)),
  WAY,
  WAY.replace('flannel.1', 'eth0'),
  WAY.replaceAll('10.5.', '10.6.'),
  OPERATORS,
  '-s 10.6.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT',
  '-d 10.5.17.2/32 ! -i docker0 -j DROP',
  '-s 10.5.17.0/24 ! -o docker0 -j MASQUERADE',
  '-j RETURN',
  '-m comment --comment "flanneld masq" -j FLANNEL-POSTRTG',
  '-m comment --comment "flanneld forward" -j FLANNEL-FWD',
  '-m comment --comment "a -j FLANNEL-FWD \\"too\\"" -j LOG',
);
const NAMES = {
  nat: ['POSTROUTING', 'PREROUTING', 'FLANNEL-POSTRTG'],
  filter: ['FORWARD', 'INPUT', 'FLANNEL-FWD', 'DOCKER-USER'],
  raw: ['PREROUTING'],
} as const;
const OWN_CHAINS = ['FLANNEL-POSTRTG', 'FLANNEL-FWD'];

/** Only jumps that the table allows: into a chain that is in it, and not out of that chain itself. */
const someHost = fc
  .array(
    fc.record({
      table: fc.constantFrom('nat', 'filter', 'raw'),
      chain: fc.nat(3),
      rules: fc.array(someRule, { maxLength: 5 }),
    }),
    { maxLength: 8 },
  )
  .map((parts) => {
    const host = hostWith();
    for (const { table, chain, rules: some } of parts) {
      const name = NAMES[table][chain % NAMES[table].length] ?? 'PREROUTING';
      host.append(table, name);
      const reachable = (rule: string): boolean => {
        const target = OWN_CHAINS.find((own) => rule.endsWith(`-j ${own}`));
        return target === undefined || (target !== name && host.rules(table, target) !== undefined);
      };
      host.append(table, name, ...some.filter(reachable));
    }
    return host;
  });
const someWish = fc
  .record({
    masquerade: fc.boolean(),
    forward: fc.boolean(),
    randomFully: fc.boolean(),
    devices: fc.constantFrom(undefined, ['flannel.1'], ['flannel.1', 'eth0']),
  })
  .map(({ devices, ...wish }) => ({ ...wish, docker: devices && { devices, mark: undefined } }));

/** Rules that are none of ours, chain by chain; jumps to a chain of ours are. */
function foreignRules(host: FakeIptables): Record<string, readonly string[]> {
  const listing = parseIptablesListing(host.listing());
  const chains = Array.from(listing, ([table, all]) =>
    Array.from(all, ([name, some]): [string, string[]] => {
      const isForeign = (rule: string): boolean => {
        if (/ -j FLANNEL-(?:POSTRTG|FWD)$/.test(` ${rule}`)) return false;
        if (OWN_CHAINS.includes(name)) return /10\.6\.|192\.0\.2/.test(rule);
        return !rule.includes('"tartan docker"') || rule.includes('10.6.');
      };
      return [`${table} ${name}`, some.filter(isForeign)];
    }),
  ).flat();
  return Object.fromEntries(chains.filter(([, some]) => some.length > 0));
}

test('whatever stood there, one script makes it right, and no foreign rule is touched or moved', (t) => {
  const holds = fc.property(someHost, someWish, (host, wish) => {
    const before = foreignRules(host);
    const wanted = rules(wish, { masquerading: wish.masquerade ? 'wanted' : 'goes' });
    mended(host, wanted);
    t.deepEqual(foreignRules(host), before);
  });
  t.notThrows(() => fc.assert(holds, { numRuns: 500 }));
});
