import test from 'ava';
import { Directory } from '../../../leases/directory.ts';
import type { StoredLease } from '../../../leases/lease.ts';
import { addressIdentities, NetworkChecks } from '../../../leases/network-checks.ts';
import type { KeyValue, StoreEvent } from '../../../leases/store.ts';
import { keyValue, net, type Opinion, PREFIX, policyOf, type Shape } from './leases.ts';

const OPINION: Opinion = {
  identities: (lease) => [...addressIdentities(lease), `MAC ${lease.backendData}`],
};
const POLICY = policyOf(OPINION);

/** The lease of host `n`; what it says and how old it is follow from that. */
function host(n: number, change: Partial<Shape> = {}): KeyValue {
  const octet = n.toString(16).padStart(2, '0');
  const own = { subnet: `10.5.${n}.0/24`, publicIp: `192.0.2.${n}`, mac: `02:00:00:00:00:${octet}`, created: n };
  return keyValue({ ...own, ...change });
}

const put = (kv: KeyValue): StoreEvent => ({ type: 'put', kv });
const gone = (kv: { key: string }, modRevision = 1000): StoreEvent => ({ type: 'delete', key: kv.key, modRevision });

function junk(name: string, value = 'x'): KeyValue {
  return { key: `${PREFIX}/subnets/${name}`, value, createRevision: 50, modRevision: 50, lease: '0' };
}

function started(kvs: readonly KeyValue[], opinion: Opinion = {}): Directory {
  const directory = new Directory(PREFIX, policyOf({ ...OPINION, ...opinion }));
  directory.applySnapshot(kvs, { continuous: true, now: 0 });
  return directory;
}

const keys = (kvs: readonly { key: string }[]) => kvs.map(({ key }) => key);
const peerKeys = (directory: Directory) => [...directory.peers.keys()].sort();
const subnetOf = (lease: StoredLease | undefined) => (lease ? String(lease.subnet) : undefined);

test('a first snapshot brings the peers, our own lease is none', (t) => {
  const directory = new Directory(PREFIX, { ...POLICY, ownKey: host(2).key });
  const changes = directory.applySnapshot([host(1), host(2), host(3)], { continuous: false, now: 0 });
  t.deepEqual(
    changes.peers.map(({ before, after }) => [subnetOf(before), subnetOf(after)]),
    [
      [undefined, '10.5.1.0/24'],
      [undefined, '10.5.3.0/24'],
    ],
  );
  t.deepEqual(peerKeys(directory), keys([host(1), host(3)]));
  t.is(directory.all().length, 3);
  t.is(directory.refusedCount, 0);
});

test('events add, change and remove', (t) => {
  const directory = started([host(1)]);
  t.like(directory.applyEvents([put(host(2))]).peers, [{ key: host(2).key, before: undefined }]);
  const moved = host(1, { mac: '02:00:00:00:00:99', modified: 60 });
  const [change] = directory.applyEvents([put(moved)]).peers;
  t.is(change?.before?.value, host(1).value);
  t.is(change?.after?.value, moved.value);
  const [removal] = directory.applyEvents([gone(host(1))]).peers;
  t.is(removal?.before?.value, moved.value);
  t.is(removal?.after, undefined);
  t.deepEqual(peerKeys(directory), [host(2).key]);
});

test('a renewal is no change, but is known', (t) => {
  const directory = started([host(1)]);
  const renewed = host(1, { modified: 70, etcdLease: '8' });
  t.deepEqual(directory.applyEvents([put(renewed)]), { peers: [], refused: [] });
  t.like(directory.peers.get(renewed.key), { modRevision: 70, etcdLease: '8' });
  t.deepEqual(directory.applySnapshot([renewed], { continuous: true, now: 0 }).peers, []);
});

test('a key that is deleted and put again in one batch is no change', (t) => {
  const directory = started([host(1)]);
  const again = host(1, { created: 80 });
  t.deepEqual(directory.applyEvents([gone(host(1), 79), put(again)]).peers, []);
  t.is(directory.peers.get(again.key)?.createRevision, 80);
});

test('events from before what is known of a key do nothing', (t) => {
  const directory = started([host(1, { modified: 60, mac: '02:00:00:00:00:99' })]);
  t.deepEqual(directory.applyEvents([put(host(1, { modified: 40 })), gone(host(1), 30)]).peers, []);
  t.is(directory.peers.size, 1);
});

test('junk keys and values are refused; everybody else stays', (t) => {
  const directory = started([host(1), host(2)]);
  const changes = directory.applyEvents([put(junk('garbage')), put(junk('10.5.7.0-24', '[')), gone(junk('other'))]);
  t.deepEqual(changes.peers, []);
  t.deepEqual(keys(changes.refused), keys([junk('garbage'), junk('10.5.7.0-24')]));
  t.is(directory.peers.size, 2);
  t.is(directory.refusedCount, 2);
  t.deepEqual([...directory.refused.keys()], keys([junk('garbage'), junk('10.5.7.0-24')]));
  directory.applyEvents([gone(junk('garbage')), put(host(7))]);
  t.is(directory.refusedCount, 0);
  t.is(directory.peers.size, 3);
});

test('a peer whose own value turns into junk is a peer no more, and comes back', (t) => {
  const directory = started([host(1), host(2)]);
  const [change] = directory.applyEvents([put({ ...host(1), value: 'x', modRevision: 60 })]).peers;
  t.is(subnetOf(change?.before), '10.5.1.0/24');
  t.is(change?.after, undefined);
  t.deepEqual(peerKeys(directory), [host(2).key]);
  directory.applyEvents([put(host(1, { modified: 61 }))]);
  t.is(directory.peers.size, 2);
});

test('a snapshot reports the same junk once', (t) => {
  const directory = started([host(1), junk('garbage')]);
  t.deepEqual(directory.applySnapshot([host(1), junk('garbage')], { continuous: true, now: 0 }).refused, []);
  t.is(directory.refusedCount, 1);
  directory.applySnapshot([host(1)], { continuous: true, now: 0 });
  t.is(directory.refusedCount, 0);
});

test('any number of junk keys takes bounded room', (t) => {
  const many = Array.from({ length: 3000 }, (_, i) => junk(`junk-${i}`));
  const long = junk(`${'k'.repeat(100_000)}\u001b[2J`, 'v'.repeat(70_000));
  const directory = started([long, ...many, host(1)]);
  t.is(directory.refusedCount, 3001);
  t.is(directory.refused.size, 1000);
  for (const [key, { reason }] of directory.refused) t.true(key.length < 200 && reason.length < 300);
  t.is(directory.peers.size, 1);
  directory.applyEvents([gone(long), ...many.map((kv) => gone(kv))]);
  t.is(directory.refusedCount, 0);
});

test('what the policy refuses is kept out and listed with its reason', (t) => {
  const directory = started([host(1), host(2)], {
    refuse: ({ subnet }) => (subnet === net('10.5.2.0/24') ? 'no good' : undefined),
  });
  t.deepEqual(peerKeys(directory), [host(1).key]);
  t.like(directory.refused.get(host(2).key), { reason: 'no good', lease: { subnet: net('10.5.2.0/24') } });
});

const RIVALS: [string, Partial<Shape>][] = [
  ['the public IP', { publicIp: '192.0.2.1' }],
  ['the MAC', { mac: '02:00:00:00:00:01' }],
  ['an IPv6 subnet', { subnet6: 'fd00:5:0:1::/64' }],
  ['part of an IPv6 subnet', { subnet6: 'fd00:5:0:1:8000::/65' }],
  ['the space around an IPv6 subnet', { subnet6: 'fd00:5::/48' }],
  ['part of the subnet', { subnet: '10.5.1.128/25' }],
  ['the space around the subnet', { subnet: '10.5.0.0/16' }],
];

for (const [what, claim] of RIVALS) {
  test(`of two leases with ${what} the older stays; the younger follows it`, (t) => {
    const older = host(1, { subnet6: 'fd00:5:0:1::/64' });
    const younger = host(200, claim);
    for (const order of [
      [older, younger],
      [younger, older],
    ]) {
      const directory = started([]);
      for (const kv of order) directory.applyEvents([put(kv)]);
      t.deepEqual(peerKeys(directory), [older.key]);
      t.true(directory.refused.get(younger.key)?.reason.includes('10.5.1.0/24'));
      t.deepEqual(keys(directory.applyEvents([gone(older)]).peers), keys([older, younger]).sort());
      t.deepEqual(peerKeys(directory), [younger.key]);
      t.is(directory.refusedCount, 0);
    }
  });
}

test('the rule does not cascade, and of equal age the key decides', (t) => {
  const first = host(1);
  const second = host(2, { publicIp: '192.0.2.1' });
  const third = host(3, { mac: '02:00:00:00:00:02' });
  t.deepEqual(peerKeys(started([third, second, first])), [first.key]);
  t.deepEqual(peerKeys(started([third, second])), [second.key]);
  const twins = [host(4, { created: 5 }), host(5, { created: 5, publicIp: '192.0.2.4' })];
  t.deepEqual(peerKeys(started(twins)), [host(4).key]);
});

test('a lease that the policy refuses stands in nobody’s way', (t) => {
  const policy = { refuse: (lease: StoredLease) => (lease.createRevision === 1 ? 'bad' : undefined) };
  const younger = host(2, { publicIp: '192.0.2.1' });
  t.deepEqual(peerKeys(started([host(1), younger], policy)), [younger.key]);
});

test('what overlaps our own subnet is refused, however old', (t) => {
  const own = host(9, { subnet6: 'fd00:5:0:9::/64' });
  const old = [
    host(1, { subnet: '10.5.8.0/23' }),
    host(2, { subnet6: 'fd00:5:0:9::/64' }),
    host(3, { subnet: '10.5.9.0/24' }),
  ];
  const directory = started([...old, own], { ownKey: own.key });
  t.is(directory.peers.size, 0);
  t.is(directory.refusedCount, 3);
});

test('IPv6-only leases do not overlap by the placeholder of their keys', (t) => {
  const only6 = (n: number) =>
    keyValue({
      ...{ subnet: '0.0.0.0/0', subnet6: `fd00:5:0:${n}::/64`, publicIp: '0.0.0.0', publicIp6: `fd77::${n}` },
      ...{ mac: `02:00:00:00:00:0${n}`, created: n },
    });
  t.is(started([only6(1), only6(2), only6(3)], { ownKey: only6(3).key }).peers.size, 2);
});

test('a new policy judges everything again', (t) => {
  const context = { ownSubnets: [], underlay: [], guarded: [], ownPublicIps: [] };
  const inside = (network: string): Opinion => {
    const checks = new NetworkChecks({ ...context, networks: [net(network)] });
    return { ...OPINION, refuse: (lease) => checks.refuse(lease) };
  };
  const directory = started([host(1), host(200), host(201, { publicIp: '192.0.2.200' })], inside('10.5.0.0/17'));
  t.deepEqual(peerKeys(directory), [host(1).key]);
  t.deepEqual(keys(directory.setPolicy(policyOf(inside('10.5.0.0/16'))).peers), [host(200).key]);
  const owned = directory.setPolicy(policyOf({ ...inside('10.5.0.0/16'), ownKey: host(200).key }));
  t.deepEqual(keys(owned.peers), [host(200).key, host(201).key]);
  t.is(owned.peers[0]?.after, undefined);
  t.is(directory.refusedCount, 0);
  t.deepEqual(keys(directory.setPolicy(policyOf(inside('10.6.0.0/16'))).peers), [host(1).key, host(201).key]);
});

test('absence from the store that we know is believed at once', (t) => {
  const directory = started([host(1), host(2)]);
  const changes = directory.applySnapshot([host(2)], { continuous: true, now: 0 });
  t.deepEqual(keys(changes.peers), [host(1).key]);
  t.is(directory.nextSweepAt(), undefined);
});

test('absence from another store is believed after the grace time', (t) => {
  const directory = started([host(1), host(2), host(3)]);
  const here = host(2, { created: 4 });
  t.deepEqual(directory.applySnapshot([here], { continuous: false, now: 5000 }).peers, []);
  t.is(directory.nextSweepAt(), 65_000);
  t.deepEqual(directory.sweep(64_999).peers, []);
  // Its holder claims again: a young key of the new store, the same value.
  t.deepEqual(directory.applyEvents([put(host(1, { created: 6 }))]).peers, []);
  // Another list of the same store, meanwhile.
  t.deepEqual(directory.applySnapshot([here, host(1, { created: 6 })], { continuous: true, now: 9000 }).peers, []);
  t.deepEqual(keys(directory.sweep(65_000).peers), [host(3).key]);
  t.is(directory.nextSweepAt(), undefined);
  t.deepEqual(peerKeys(directory), keys([host(1), host(2)]));
});

test('what the new store has comes before what it only had', (t) => {
  const directory = started([host(1), host(2)]);
  directory.applySnapshot([], { continuous: false, now: 0 });
  // Host 1 got another subnet this time; its old lease has the older revision, of another history.
  const again = host(77, { publicIp: '192.0.2.1', created: 90 });
  t.deepEqual(keys(directory.applyEvents([put(again)]).peers), [host(1).key, again.key]);
  t.deepEqual(peerKeys(directory), keys([host(2), again]));
});

test('in the grace time a key may have a lower revision than before', (t) => {
  const directory = started([host(1, { created: 500 })]);
  directory.applySnapshot([], { continuous: false, now: 0 });
  const moved = host(1, { created: 3, mac: '02:00:00:00:00:99' });
  t.is(directory.applyEvents([put(moved)]).peers[0]?.after?.value, moved.value);
  t.is(directory.nextSweepAt(), undefined);
  t.deepEqual(keys(directory.applyEvents([gone(moved, 4)]).peers), [moved.key]);
});

test('a store that changes twice gives the whole grace time twice', (t) => {
  const directory = started([host(1)]);
  directory.applySnapshot([], { continuous: false, now: 0 });
  directory.applySnapshot([], { continuous: false, now: 50_000 });
  t.is(directory.nextSweepAt(), 110_000);
});

test('a key that comes back exactly as it was is not swept', (t) => {
  const directory = started([host(1)]);
  directory.applySnapshot([], { continuous: false, now: 0 });
  directory.applySnapshot([host(1)], { continuous: false, now: 1000 });
  t.is(directory.nextSweepAt(), undefined);
  t.deepEqual(directory.sweep(100_000).peers, []);
  t.is(directory.peers.size, 1);
});

test('a restored store does not lead back to where a host was on the day of the backup', (t) => {
  const directory = started([host(1), host(2)]);
  const earlier = host(1, { mac: '02:00:00:00:00:77', publicIp: '192.0.2.77', created: 1 });
  t.deepEqual(directory.applySnapshot([earlier, host(2)], { continuous: false, now: 0 }).peers, []);
  // Nor does another list of it, nor that what it has runs out.
  t.deepEqual(directory.applySnapshot([earlier, host(2)], { continuous: true, now: 10 }).peers, []);
  t.deepEqual(directory.applyEvents([gone(earlier)]).peers, []);
  // Its holder claims again.
  t.deepEqual(directory.applyEvents([put(host(1, { created: 9 }))]).peers, []);
  t.is(directory.nextSweepAt(), undefined);
  t.is(directory.peers.get(host(1).key)?.value, host(1).value);
});

test('nobody claims again: after the grace time what the restored store has is believed', (t) => {
  const directory = started([host(1)]);
  const earlier = host(1, { mac: '02:00:00:00:00:77' });
  directory.applySnapshot([earlier], { continuous: false, now: 0 });
  t.is(directory.sweep(60_000).peers[0]?.after?.value, earlier.value);
  t.is(directory.nextSweepAt(), undefined);
  t.deepEqual(directory.applySnapshot([earlier], { continuous: true, now: 60_001 }).peers, []);
});

test('a lease of an earlier day waits behind those that it would displace, and for nobody else', (t) => {
  const directory = started([host(1), host(2)]);
  const earlier = [host(51, { publicIp: '192.0.2.1', created: 1 }), host(52, { created: 1 })];
  const changes = directory.applySnapshot([host(2), ...earlier], { continuous: false, now: 0 });
  t.deepEqual(keys(changes.peers), [host(52).key]);
  t.deepEqual(peerKeys(directory), keys([host(1), host(2), host(52)]));
  t.deepEqual(keys(directory.sweep(60_000).peers), [host(1).key, host(51).key]);
});

test('what is put after the restore is believed at once', (t) => {
  const directory = started([host(1), host(2)]);
  directory.applySnapshot([], { continuous: false, now: 0 });
  const reinstalled = host(51, { publicIp: '192.0.2.1', created: 3 });
  t.deepEqual(keys(directory.applyEvents([put(reinstalled)]).peers), [host(1).key, reinstalled.key]);
  const renumbered = host(2, { publicIp: '192.0.2.99', created: 4 });
  t.is(directory.applyEvents([put(renumbered)]).peers[0]?.after?.value, renumbered.value);
});

test('who was kept out to the last is not brought in by a restore', (t) => {
  const rival = host(51, { publicIp: '192.0.2.1', created: 9 });
  const directory = started([host(1, { created: 1 }), rival]);
  t.deepEqual(peerKeys(directory), keys([host(1)]));
  // In the store of an earlier day the rival was the older.
  const earlier = host(51, { publicIp: '192.0.2.1', created: 1 });
  t.deepEqual(directory.applySnapshot([earlier], { continuous: false, now: 0 }).peers, []);
  t.deepEqual(directory.applySnapshot([earlier], { continuous: false, now: 10 }).peers, []);
  t.deepEqual(directory.applySnapshot([], { continuous: false, now: 20 }).peers, []);
  t.deepEqual(peerKeys(directory), keys([host(1)]));
});

test('a value that is put twice in one batch is a change all the same', (t) => {
  const directory = started([host(1)]);
  const other = host(1, { mac: '02:00:00:00:00:77' });
  const again = { ...other, modRevision: other.modRevision + 1 };
  const { peers } = directory.applyEvents([put(other), put(again)]);
  t.deepEqual(
    peers.map(({ before, after }) => [before?.value, after?.value]),
    [[host(1).value, other.value]],
  );
});

test('a store that has all that we knew, and something older that stands in its way: not before the grace is over', (t) => {
  const directory = started([host(5)]);
  const rival = host(5, { subnet: '10.5.9.0/24', created: 1 });
  directory.applySnapshot([host(5), rival], { continuous: false, now: 0 });
  t.deepEqual(peerKeys(directory), [host(5).key]);
  directory.sweep(60_000);
  t.deepEqual(peerKeys(directory), [rival.key]);
});

test('peers that exchange their public IPs in one transaction: two changes, nobody is refused or gone', (t) => {
  const directory = started([host(1), host(2), host(3)]);
  const exchanged = [
    host(2, { publicIp: '192.0.2.1', modified: 60 }),
    host(1, { publicIp: '192.0.2.2', modified: 60 }),
  ];
  const { peers, refused } = directory.applyEvents(exchanged.map(put));
  t.deepEqual(refused, []);
  t.deepEqual(peers.map(({ before, after }) => [before?.publicIp, after?.publicIp]).sort(), [
    ['192.0.2.1', '192.0.2.2'],
    ['192.0.2.2', '192.0.2.1'],
  ]);
});
