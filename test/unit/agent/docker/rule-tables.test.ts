import { readFileSync } from 'node:fs';
import test from 'ava';
import fc from 'fast-check';
import { iptablesTables } from '../../../../agent/docker/iptables-tables.ts';
import { nftablesTables } from '../../../../agent/docker/nftables-tables.ts';
import { type Packet, type RuleTable, type Stop, stopOf } from '../../../../agent/docker/packet-path.ts';
import { ip } from '../../../support/addresses.ts';

/** Listings of real dockerds: 10.5.17.2 publishes port 80, 10.5.17.3 nothing. */
const golden = (name: string) => readFileSync(`test/golden/docker-rules/${name}`, 'utf8');

const INWARD: Packet = { from: 'flannel.1', to: 'docker0', source: ip('10.5.33.2'), destination: ip('10.5.17.3') };
const OUTWARD: Packet = { from: 'docker0', to: 'flannel.1', source: ip('10.5.17.3'), destination: ip('10.5.33.2') };

const RAW = '-A PREROUTING -i flannel.1 -s 10.5.0.0/16 -d 10.5.17.0/24 -m comment --comment "tartan docker" -j ACCEPT';
const USER = RAW.replace('PREROUTING', 'DOCKER-USER');

function ends(text: string, packet: Packet = INWARD): string {
  return endOf(iptablesTables(text, 'iptables').tables, packet);
}

function endOf(tables: readonly RuleTable[], packet: Packet): string {
  const stop: Stop | undefined = stopOf(tables, packet);
  return stop ? `${stop.table} ${stop.chain} ${stop.rule ?? 'policy'}` : 'passes';
}

/** Puts rules at the head of their chains. */
function withRules(listing: string, ...rules: readonly string[]): string {
  return rules.reduce((text, rule) => {
    const chain = rule.split(' ')[1] ?? '';
    const table = chain === 'PREROUTING' ? '*raw' : '*filter';
    const at = text.indexOf(table);
    const commit = text.indexOf('-A ', at);
    return `${text.slice(0, commit)}${rule}\n${text.slice(commit)}`;
  }, listing);
}

for (const kind of ['nft', 'legacy']) {
  test(`Docker 20.10 (iptables-${kind}) drops by the policy, as long as nothing accepts the network`, (t) => {
    const listing = golden(`20.10-iptables-${kind}.save`).replace(':FORWARD ACCEPT', ':FORWARD DROP');
    t.is(ends(listing), 'iptables filter FORWARD policy');
    t.is(ends(listing, OUTWARD), 'passes');
    t.is(ends(withRules(listing, USER)), 'passes');
    const flannels = ':FLANNEL-FWD - [0:0]\n-A FORWARD -j FLANNEL-FWD\n-A FLANNEL-FWD -s 10.5.0.0/16 -j ACCEPT\n';
    t.is(ends(listing.replace(/(\*filter[^*]*)COMMIT/, `$1${flannels}COMMIT`)), 'passes');
    t.deepEqual([...iptablesTables(listing, 'x').forwardedTo], ['10.5.17.2:80']);
  });
}

test('Docker 29 (iptables) drops twice, and two accepts let packets through', (t) => {
  const listing = golden('29-iptables.save');
  t.is(ends(listing), 'iptables raw PREROUTING -A PREROUTING -d 10.5.17.3/32 ! -i docker0 -j DROP');
  t.is(ends(withRules(listing, RAW)), 'iptables filter DOCKER -A DOCKER ! -i docker0 -o docker0 -j DROP');
  t.is(ends(withRules(listing, USER)), 'iptables raw PREROUTING -A PREROUTING -d 10.5.17.3/32 ! -i docker0 -j DROP');
  t.is(ends(withRules(listing, RAW, USER.replace('DOCKER-USER', 'FORWARD'))), 'passes');
  t.is(ends(listing, OUTWARD), 'passes');
  t.deepEqual([...iptablesTables(listing, 'x').forwardedTo], ['10.5.17.2:80']);
});

test('an accept for others does not count, nor one behind the drop', (t) => {
  const listing = golden('29-iptables.save');
  const drop = /raw PREROUTING/;
  t.regex(ends(withRules(listing, RAW.replace('flannel.1', 'flannel.2'))), drop);
  t.regex(ends(withRules(listing, RAW.replace('10.5.0.0/16', '10.6.0.0/16'))), drop);
  t.regex(ends(withRules(listing, RAW.replace('-m comment', '-p tcp -m tcp --dport 80 -m comment'))), drop);
  t.regex(ends(listing.replace('COMMIT', `${RAW}\nCOMMIT`)), drop);
});

const filter = (...rules: readonly string[]) =>
  `*filter\n:FORWARD DROP [0:0]\n:A - [0:0]\n:B - [0:0]\n${rules.map((rule) => `-A ${rule}\n`).join('')}COMMIT\n`;

const paths: readonly (readonly [rules: readonly string[], end: RegExp])[] = [
  [['FORWARD -j A', 'A -j RETURN', 'A -j DROP', 'FORWARD -j ACCEPT'], /^passes$/],
  [['FORWARD -j A', 'FORWARD -j ACCEPT', 'A -g B', 'B -j RETURN', 'A -j DROP'], /^passes$/],
  [['FORWARD -j A', 'A -j B', 'B -j A', 'FORWARD -j ACCEPT'], /^passes$/],
  [['FORWARD ! -i docker0 -o docker+ -j REJECT --reject-with icmp-port-unreachable'], / FORWARD -A FORWARD ! -i/],
  [['FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT'], /policy$/],
  [['FORWARD -m conntrack --ctstate NEW -j ACCEPT'], /^passes$/],
  [['FORWARD -m conntrack ! --ctstate NEW -j DROP', 'FORWARD -j ACCEPT'], /^passes$/],
  [
    ['FORWARD -m set --match-set docker-ext-bridges-v4 dst -j A', 'A -o docker0 -j DROP', 'FORWARD -j ACCEPT'],
    / A -A A/,
  ],
  [['FORWARD -m set --match-set all dst -j ACCEPT'], /policy$/],
  [['FORWARD -m set --match-set bad src -j DROP', 'FORWARD -j ACCEPT'], /^passes$/],
  [['FORWARD -j LOG --log-prefix "a -j DROP"', 'FORWARD -m comment --comment "-j DROP" -j ACCEPT'], /^passes$/],
  [['FORWARD -m mark --mark 0x10/0x10 -j ACCEPT'], /policy$/],
  [['FORWARD -j MARK --set-xmark 0x10/0x10', 'FORWARD -m mark --mark 0x10/0x10 -j ACCEPT'], /^passes$/],
  [
    ['FORWARD -j MARK --set-xmark 0x10/0x10', 'FORWARD -m mark ! --mark 0x10/0x10 -j DROP', 'FORWARD -j ACCEPT'],
    /^passes$/,
  ],
  [['FORWARD', 'FORWARD -j', 'NONE -j DROP', 'FORWARD -d junk -j DROP', 'FORWARD -j ACCEPT'], /^passes$/],
];

for (const [rules, end] of paths) test(`iptables: ${rules.join('; ')}`, (t) => t.regex(ends(filter(...rules)), end));

test('a table is in use where it has a rule or a policy', (t) => {
  t.false(iptablesTables('*nat\n:PREROUTING ACCEPT [0:0]\n:DOCKER - [0:0]\nCOMMIT\n', 'x').isInUse);
  t.true(iptablesTables(filter(), 'x').isInUse);
});

test('nothing in a listing makes it throw', (t) => {
  const line = fc.string({ unit: fc.constantFrom(...'*:-A jg!"\\ dFORWAD/0.') });
  fc.assert(fc.property(fc.array(line), (lines) => ends(`*filter\n:FORWARD DROP\n${lines.join('\n')}`).length > 0));
  t.pass();
});

function nft(text: string, packet: Packet = INWARD, listed: readonly string[] = []): string {
  const listing = nftablesTables(text, 4, new Set(listed));
  return listing ? endOf(listing.tables, packet) : 'no listing';
}

/** As the rule set's own JSON, with more objects. */
function withObjects(text: string, ...objects: readonly unknown[]): string {
  return JSON.stringify({ nftables: [...JSON.parse(text).nftables, ...objects] });
}

const TABLE = { family: 'inet', table: 'tartan-docker-flannel.1' };
const meta = (key: string) => ({ meta: { key } });
const CHAIN = {
  chain: { ...TABLE, name: 'prerouting', type: 'filter', hook: 'prerouting', prio: -150, policy: 'accept' },
};
const rule = (...expr: readonly unknown[]) => ({ rule: { ...TABLE, chain: 'prerouting', handle: 9, expr } });
const is = (left: unknown, right: unknown, op = '==') => ({ match: { op, left, right } });
const address = (field: string, addr: string, len: number) =>
  is({ payload: { protocol: 'ip', field } }, { prefix: { addr, len } });
const MARK = rule(
  is(meta('iifname'), { set: ['eth0', 'flannel.1'] }),
  address('saddr', '10.5.0.0', 16),
  address('daddr', '10.5.17.0', 24),
  { mangle: { key: meta('mark'), value: { '|': [meta('mark'), 0x1000] } } },
);

test('Docker 29 (nftables) drops twice, and needs its two flags and the mark', (t) => {
  const plain = golden('29-nftables.json');
  t.regex(nft(plain), /^nftables ip docker-bridges raw-PREROUTING drop "DROP DIRECT ACCESS"/);
  t.regex(nft(withObjects(plain, CHAIN, MARK)), /raw-PREROUTING/);
  const flagged = golden('29-nftables-mark.json');
  t.regex(nft(flagged), /^nftables ip docker-bridges filter-forward-in__docker0 drop "UNPUBLISHED PORT DROP"/);
  t.is(nft(withObjects(flagged, CHAIN, MARK)), 'passes');
  t.is(nft(plain, OUTWARD), 'passes');
  t.deepEqual([...(nftablesTables(plain, 4, new Set())?.forwardedTo ?? [])], ['10.5.17.2:80']);
});

test("iptables-nft's tables are left to its own listing, or read as far as they can be", (t) => {
  const listing = golden('29-iptables.nft.json');
  t.is(nft(listing, INWARD, ['raw', 'filter', 'nat']), 'passes');
  t.regex(nft(listing), /^nftables ip raw PREROUTING drop/);
});

const ACCEPT = { accept: null };
const DROP = { drop: null };
const SET = {
  set: {
    ...TABLE,
    name: 'own',
    type: 'ipv4_addr',
    elem: [{ range: ['10.5.17.1', '10.5.17.9'] }, { elem: { val: '1.1.1.1', timeout: 5 } }],
  },
};

const rulesets: readonly (readonly [name: string, objects: readonly unknown[], end: RegExp])[] = [
  ['a set', [SET, rule(is({ payload: { protocol: 'ip', field: 'daddr' } }, '@own'), DROP)], /prerouting drop/],
  [
    'not in a set',
    [SET, rule(is({ payload: { protocol: 'ip', field: 'saddr' } }, '@own', '!='), { reject: {} })],
    /prerouting reject/,
  ],
  ['ports', [rule(is({ payload: { protocol: 'tcp', field: 'dport' } }, 22), DROP)], /^passes$/],
  ['a wildcard', [rule(is(meta('iifname'), 'flannel*'), DROP)], /drop/],
  ['a state', [rule(is({ ct: { key: 'state' } }, ['established', 'related'], 'in'), DROP)], /^passes$/],
  ['another state', [rule(is({ ct: { key: 'state' } }, 'new'), DROP)], /drop/],
  [
    'a map',
    [
      rule({
        vmap: {
          key: meta('iifname'),
          data: {
            set: [
              ['lo', ACCEPT],
              ['flannel.1', DROP],
            ],
          },
        },
      }),
    ],
    /vmap/,
  ],
  ['an accept first', [rule(ACCEPT), rule(DROP)], /^passes$/],
  ['a rate', [rule({ limit: { rate: 1 } }, DROP)], /^passes$/],
  ['counted', [rule({ counter: {} }, { log: {} }, DROP)], /drop/],
  [
    'a jump to nowhere',
    [rule({ jump: { target: 'none' } }), rule({ goto: { target: 'none' } }), rule(DROP)],
    /^passes$/,
  ],
  [
    'junk',
    [rule(7, null, {}, { match: 1 }), { chain: 1 }, { rule: {} }, { set: { family: 'ip', elem: 7 } }],
    /^passes$/,
  ],
];

for (const [name, objects, end] of rulesets) {
  test(`nftables: ${name}`, (t) => t.regex(nft(JSON.stringify({ nftables: [CHAIN, ...objects] })), end));
}

test('what is no listing is none', (t) => {
  for (const text of ['', '[]', '{}', '{"nftables":{}}']) t.is(nft(text), 'no listing');
});

test('an accept in one base chain does not lift a drop in another', (t) => {
  const other = { chain: { ...TABLE, name: 'later', type: 'filter', hook: 'forward', prio: 5, policy: 'drop' } };
  t.is(
    nft(JSON.stringify({ nftables: [CHAIN, rule(ACCEPT), other] })),
    'nftables inet tartan-docker-flannel.1 later policy',
  );
});
