import test from 'ava';
import { type Claim, claimResult, claimTxn } from '../../../leases/claim.ts';
import { leaseKey } from '../../../leases/codec.ts';
import { type SideKey, sideKey } from '../../../leases/side-keys.ts';
import type { KeyValue } from '../../../leases/store.ts';
import { VirtualClock } from '../../fakes/clock.ts';
import { FakeEtcd } from '../../fakes/etcd.ts';
import { ip, keyValue, net, PREFIX } from './leases.ts';
import { KEYS } from './world.ts';

const OWNER = { node: 'n1', name: 'host1', claim: 'c1' };

function attributes(publicIp = '192.0.2.1'): Claim['attributes'] {
  const none = { publicIp6: undefined, backendType: 'host-gw', backendData: undefined, backendV6Data: undefined };
  return { publicIp: ip(publicIp), ...none, owner: OWNER };
}

function etcdWith(config: string): { etcd: FakeEtcd; configRevision: number } {
  const etcd = new FakeEtcd(new VirtualClock());
  return { etcd, configRevision: etcd.put(KEYS.config, config) };
}

function absent(about: SideKey['about'], key: string): SideKey {
  return sideKey(PREFIX, { about, key }, undefined);
}

function claimOf(etcd: FakeEtcd, change: Partial<Claim> = {}): Claim {
  return {
    ...{ subnets: { subnet: net('10.5.1.0/24'), subnet6: undefined }, attributes: attributes() },
    ...{
      configRevision: undefined,
      target: undefined,
      alternatives: [],
      removes: [],
      unanswered: [],
      isOtherLength: false,
      needsSettled: false,
    },
    ...{ side: [absent('address', KEYS.address('192.0.2.1')), absent('node', KEYS.node('n1'))] },
    ...{ room: { read: 'key', since: etcd.version.revision }, etcdLease: etcd.grant(60), sideLease: '0' },
    ...change,
  };
}

function run(etcd: FakeEtcd, claim: Claim) {
  return claimResult(KEYS, claim, etcd.run(claimTxn(KEYS, claim)));
}

const key = (subnet: string, subnet6?: string): string =>
  leaseKey(PREFIX, { subnet: net(subnet), subnet6: subnet6 === undefined ? undefined : net(subnet6) });

test('a claim puts the lease and the side keys that name it, each on its etcd lease', (t) => {
  const { etcd, configRevision } = etcdWith('{}');
  const [lease, beside] = [etcd.grant(60), etcd.grant(60)];
  const result = run(etcd, claimOf(etcd, { configRevision, etcdLease: lease, sideLease: beside }));
  t.like(result, { won: { key: key('10.5.1.0/24'), modRevision: etcd.version.revision } });
  const record = '{"node":"n1","name":"host1","claim":"c1","lease":"/coreos.com/network/subnets/10.5.1.0-24"}';
  t.deepEqual(
    etcd.kvs.slice(1).map((kv) => [kv.key, kv.lease, kv.value.includes('"lease"') ? kv.value : 'the lease']),
    [
      [`${PREFIX}/subnets/10.5.1.0-24`, lease, 'the lease'],
      [`${PREFIX}/tartan/addresses/192.0.2.1`, beside, record],
      [`${PREFIX}/tartan/nodes/n1`, beside, record],
    ],
  );
});

test('a changed or missing config foils a claim', (t) => {
  const { etcd, configRevision } = etcdWith('{}');
  etcd.put(KEYS.config, '{"a":1}');
  t.deepEqual(run(etcd, claimOf(etcd, { configRevision })), { lost: 'config-changed' });
  etcd.delete(KEYS.config);
  t.deepEqual(run(etcd, claimOf(etcd, { configRevision })), { lost: 'config-changed' });
  t.deepEqual(etcd.kvs, []);
});

const only = (subnet: string) => ({ subnet: net(subnet), subnet6: undefined });

test('a taken subnet is to be avoided, and which of the next ones are free comes back with it, and no more', (t) => {
  const { etcd } = etcdWith('{}');
  for (const name of ['10.5.1.0-24', '10.5.9.0-24', '10.5.8.0-24&rubbish', 'rubbish'])
    etcd.put(`${PREFIX}/subnets/${name}`, 'any');
  const claim = claimOf(etcd, { alternatives: ['10.5.7.0/24', '10.5.9.0/24', '10.5.8.0/24', '10.5.6.0/24'].map(only) });
  t.deepEqual(run(etcd, claim), {
    lost: 'taken',
    avoid: [only('10.5.1.0/24')],
    taken: ['10.5.9.0/24', '10.5.8.0/24'].map(only),
    free: ['10.5.7.0/24', '10.5.6.0/24'].map(only),
  });
});

test('what foiled the claim was no lease of that subnet: nothing counts as free', (t) => {
  const { etcd } = etcdWith('{}');
  const alternatives = [only('10.5.7.0/24')];
  const [byLength, byAny] = [
    claimOf(etcd, { alternatives }),
    claimOf(etcd, { alternatives, room: { read: 'all', since: etcd.version.revision } }),
  ];
  etcd.put(KEYS.otherLengths.key, 'any');
  t.like(run(etcd, byLength), { lost: 'taken', avoid: [], free: [] });
  etcd.put(`${PREFIX}/subnets/10.5.1.0-24`, 'any');
  t.like(run(etcd, byAny), { lost: 'taken', avoid: [only('10.5.1.0/24')], free: [] });
});

test('an IPv4 subnet that is paired with any IPv6 one is taken, also by a key that makes no sense', (t) => {
  for (const rest of ['&fd00:5:0:1::-64', '&rubbish']) {
    const { etcd } = etcdWith('{}');
    etcd.put(`${PREFIX}/subnets/10.5.1.0-24${rest}`, 'any');
    etcd.put(`${PREFIX}/subnets/10.5.1.0-249`, 'not this one');
    const avoid = [{ subnet: net('10.5.1.0/24'), subnet6: undefined }];
    t.like(run(etcd, claimOf(etcd)), { lost: 'taken', avoid });
    etcd.delete(`${PREFIX}/subnets/10.5.1.0-24${rest}`);
    t.true('won' in run(etcd, claimOf(etcd)));
  }
});

test('an IPv6 subnet that another pair has is taken, and only that is to be avoided', (t) => {
  const { etcd } = etcdWith('{}');
  const subnets = { subnet: net('10.5.1.0/24'), subnet6: net('fd00:5:0:1::/64') };
  const side = [absent('node', KEYS.node('n1')), absent('subnet6', KEYS.subnet6('fd00:5:0:1::/64'))];
  etcd.put(KEYS.subnet6('fd00:5:0:1::/64'), '{}');
  const avoid = [{ subnet: net('0.0.0.0/0'), subnet6: net('fd00:5:0:1::/64') }];
  t.like(run(etcd, claimOf(etcd, { subnets, side })), { lost: 'taken', avoid });
});

test("IPv6 only: the placeholder in the key is in nobody's way", (t) => {
  const { etcd } = etcdWith('{}');
  etcd.put(key('0.0.0.0/0', 'fd00:5:0:2::/64'), 'any');
  const subnets = { subnet: net('0.0.0.0/0'), subnet6: net('fd00:5:0:1::/64') };
  t.true('won' in run(etcd, claimOf(etcd, { subnets, side: [] })));
  t.like(run(etcd, claimOf(etcd, { subnets, side: [] })), { lost: 'taken', avoid: [subnets] });
});

test('whoever took our address or node meanwhile foils the claim, whatever else is free', (t) => {
  const { etcd } = etcdWith('{}');
  const claim = claimOf(etcd);
  etcd.put(KEYS.address('192.0.2.1'), '{}');
  t.deepEqual(run(etcd, claim), { lost: 'moved' });
});

test('a lease that is taken on must be as it was read, and so must what is removed', (t) => {
  const { etcd } = etcdWith('{}');
  const modRevision = etcd.put(key('10.5.1.0/24'), 'old');
  const other = { key: key('10.5.7.0/24'), modRevision: etcd.put(key('10.5.7.0/24'), 'mine too') };
  etcd.put(other.key, 'changed');
  const claim = claimOf(etcd, { target: { modRevision }, removes: [other], side: [] });
  t.deepEqual(run(etcd, claim), { lost: 'moved' });
  const again = { ...claim, removes: [{ ...other, modRevision: etcd.version.revision }] };
  t.true('won' in run(etcd, again));
  t.deepEqual(
    etcd.kvs.map((kv) => kv.key),
    [KEYS.config, key('10.5.1.0/24')],
  );
  t.deepEqual(run(etcd, { ...again, removes: [], etcdLease: etcd.grant(60) }), { lost: 'moved' });
});

test('an IPv4 lease becomes a dual-stack one of the same subnet in one step, unless somebody else came', (t) => {
  for (const intruder of [false, true]) {
    const { etcd } = etcdWith('{}');
    const old = { key: key('10.5.1.0/24'), modRevision: etcd.put(key('10.5.1.0/24'), 'mine') };
    const subnets = { subnet: net('10.5.1.0/24'), subnet6: net('fd00:5:0:1::/64') };
    const claim = claimOf(etcd, { subnets, removes: [old], side: [] });
    if (intruder) etcd.put(key('10.5.1.0/24', 'fd00:5:0:9::/64'), 'another');
    t.is('won' in run(etcd, claim), !intruder);
  }
});

test('an answered challenge foils the claim, and so does one that is gone', (t) => {
  const { etcd } = etcdWith('{}');
  const name = KEYS.challenge({ subnet: net('10.5.9.0/24'), subnet6: undefined });
  const asked = { key: name, modRevision: etcd.put(name, 'question') };
  const claim = claimOf(etcd, { unanswered: [asked] });
  etcd.put(name, 'answer');
  t.deepEqual(run(etcd, claim), { lost: 'moved' });
  etcd.delete(name);
  t.deepEqual(run(etcd, claim), { lost: 'moved' });
});

test('a transaction that was sent twice was won: our own value stands there', (t) => {
  const { etcd } = etcdWith('{}');
  const claim = claimOf(etcd);
  const first = run(etcd, claim);
  t.deepEqual(run(etcd, claim), first);
  t.is('won' in first && first.won.modRevision, etcd.version.revision);
});

test("a reservation that had our value already is not won while a side key is another's", (t) => {
  const { etcd } = etcdWith('{}');
  const first = run(etcd, claimOf(etcd, { etcdLease: '0', side: [] }));
  if (!('won' in first)) return t.fail();
  const { modRevision } = first.won;
  etcd.put(KEYS.address('192.0.2.1'), '{}');
  t.deepEqual(run(etcd, claimOf(etcd, { etcdLease: '0', target: { modRevision } })), { lost: 'moved' });
  return undefined;
});

test('a claim of another length is seen by whoever claims now', (t) => {
  const { etcd } = etcdWith('{}');
  const { revision } = etcd.version;
  const room = (read: 'key' | 'all', since: number) => ({ room: { read, since } });
  const long = { subnets: { subnet: net('10.5.0.0/20'), subnet6: undefined }, isOtherLength: true };
  t.true('won' in run(etcd, claimOf(etcd, { ...long, ...room('all', revision) })));
  const side = [absent('node', KEYS.node('n2'))];
  const late = run(etcd, claimOf(etcd, { side, ...room('key', revision) }));
  t.like(late, { lost: 'taken', avoid: [], free: [] });
  t.true('won' in run(etcd, claimOf(etcd, { side, ...room('key', etcd.version.revision) })));
  const next = { ...long, subnets: { subnet: net('10.5.64.0/20'), subnet6: undefined }, side: [] };
  t.like(run(etcd, claimOf(etcd, { ...next, ...room('all', revision) })), { lost: 'taken' });
  t.true('won' in run(etcd, claimOf(etcd, { ...next, ...room('all', etcd.version.revision) })));
});

test('in a store that is settling nothing new is allocated', (t) => {
  const { etcd } = etcdWith('{}');
  etcd.put(KEYS.unsettled, '');
  t.deepEqual(run(etcd, claimOf(etcd, { needsSettled: true })), { lost: 'unsettled' });
  t.true('won' in run(etcd, claimOf(etcd)));
  etcd.delete(KEYS.unsettled);
  const subnets = { subnet: net('10.5.2.0/24'), subnet6: undefined };
  t.true('won' in run(etcd, claimOf(etcd, { needsSettled: true, subnets, side: [] })));
});

test('a value at our key that only looks like ours is not ours', (t) => {
  const { etcd } = etcdWith('{}');
  const kv: KeyValue = keyValue({ subnet: '10.5.1.0/24', owner: OWNER });
  etcd.put(kv.key, kv.value);
  t.like(run(etcd, claimOf(etcd)), { lost: 'taken' });
});
