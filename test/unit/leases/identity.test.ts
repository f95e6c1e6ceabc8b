import test from 'ava';
import fc from 'fast-check';
import { candidates, nodeId, type Self } from '../../../leases/identity.ts';
import type { LeaseOwner, StoredLease } from '../../../leases/lease.ts';
import { ip, type Shape, storedLease } from './leases.ts';

const SELF: Self = { node: 'node-a', claim: 'claim-1', publicIp: ip('192.0.2.1'), publicIp6: undefined };
const MINE: LeaseOwner = { node: 'node-a', name: 'a', claim: 'claim-1' };
const LOST: LeaseOwner = { node: 'node-a', name: 'a', claim: 'claim-0' };
const OTHER: LeaseOwner = { node: 'node-b', name: 'b', claim: 'claim-2' };

function lease(publicIp: string, owner?: LeaseOwner, more: Partial<Shape> = {}): StoredLease {
  return storedLease({ subnet: '10.5.1.0/24', publicIp, ...(owner ? { owner } : {}), ...more });
}

/** An IPv6-only host's. */
function lease6(publicIp6: string | undefined, owner?: LeaseOwner): StoredLease {
  return lease('0.0.0.0', owner, { subnet: '0.0.0.0/0', subnet6: 'fd00:5:0:1::/64', publicIp6 });
}

function relations(self: Self, ...leases: StoredLease[]): string[] {
  return candidates(self, leases).map(({ relation }) => relation);
}

test('each relation', (t) => {
  t.deepEqual(relations(SELF, lease('192.0.2.1', MINE)), ['ours']);
  t.deepEqual(relations(SELF, lease('192.0.2.1', { ...MINE, node: 'renamed' })), ['ours']);
  t.deepEqual(relations(SELF, lease('192.0.2.1', LOST)), ['ours-state-lost']);
  t.deepEqual(relations(SELF, lease('192.0.2.1')), ['flanneld']);
  t.deepEqual(relations(SELF, lease('192.0.2.1', OTHER)), ['same-address']);
  t.deepEqual(relations(SELF, lease('192.0.2.9', LOST)), ['same-node']);
  t.deepEqual(relations(SELF, lease('192.0.2.9', { ...OTHER, claim: 'claim-1' })), ['same-node']);
  t.deepEqual(relations(SELF, lease('192.0.2.9', OTHER)), []);
  t.deepEqual(relations(SELF, lease('192.0.2.9')), []);
});

test('the most certain comes first, whatever the order of the leases', (t) => {
  const leases = [lease('192.0.2.1', MINE), lease('192.0.2.1', LOST), lease('192.0.2.1')];
  leases.push(lease('192.0.2.1', OTHER), lease('192.0.2.9', LOST), lease('192.0.2.8', OTHER));
  const order = ['ours', 'ours-state-lost', 'flanneld', 'same-address', 'same-node'];
  fc.assert(
    fc.property(fc.shuffledSubarray(leases, { minLength: leases.length }), (shuffled) => {
      t.deepEqual(relations(SELF, ...shuffled), order);
    }),
  );
});

test('of two that are ours the older comes first, then the key decides', (t) => {
  const shapes = [
    { subnet: '10.5.3.0/24', created: 9 },
    { subnet: '10.5.1.0/24', created: 9 },
    { subnet: '10.5.2.0/24', created: 4 },
  ];
  const found = candidates(
    SELF,
    shapes.map((shape) => lease('192.0.2.1', MINE, shape)),
  );
  t.deepEqual(
    found.map(({ lease: { subnet } }) => String(subnet)),
    ['10.5.2.0/24', '10.5.1.0/24', '10.5.3.0/24'],
  );
});

test('an IPv6-only host knows its lease by IPv6 or node, never by 0.0.0.0', (t) => {
  for (const publicIp of [undefined, ip('0.0.0.0')]) {
    const self = { ...SELF, publicIp, publicIp6: ip('fd77::1') };
    t.deepEqual(relations(self, lease6('fd77::1')), ['flanneld']);
    t.deepEqual(relations(self, lease6('fd77::1', MINE)), ['ours']);
    t.deepEqual(relations(self, lease6('fd77::1', LOST)), ['ours-state-lost']);
    t.deepEqual(relations(self, lease6('fd77::1', OTHER)), ['same-address']);
    t.deepEqual(relations(self, lease6('fd77::2', LOST)), ['same-node']);
    t.deepEqual(relations(self, lease6('fd77::2')), []);
    t.deepEqual(relations(self, lease6('fd77::2', OTHER)), []);
    t.deepEqual(relations(self, lease6(undefined)), []);
  }
});

test('without any address of its own a host has no address in common with anybody', (t) => {
  const self = { ...SELF, publicIp: undefined, publicIp6: undefined };
  t.deepEqual(relations(self, lease6(undefined), lease('192.0.2.1')), []);
});

test('dual stack: IPv4 decides; IPv6 where one side has no IPv4', (t) => {
  const self = { ...SELF, publicIp6: ip('fd77::1') };
  t.deepEqual(relations(self, lease('192.0.2.1', undefined, { publicIp6: 'fd77::9' })), ['flanneld']);
  t.deepEqual(relations(self, lease('192.0.2.9', undefined, { publicIp6: 'fd77::1' })), []);
  t.deepEqual(relations(self, lease6('fd77::1')), ['flanneld']);
});

test('a host without a node id matches no node', (t) => {
  const self = { ...SELF, node: undefined };
  t.deepEqual(relations(self, lease('192.0.2.1', LOST), lease('192.0.2.9', LOST)), ['same-address']);
});

test('the node id: the name, else a digest of the machine-id, else none', (t) => {
  const machineId = 'b08dfa6083e7567a1921a715000001fb';
  t.is(nodeId({ nodeName: ' worker-1 ', machineId }), 'worker-1');
  const id = nodeId({ nodeName: '', machineId: `${machineId}\n` });
  t.regex(id ?? '', /^[0-9a-f]{32}$/);
  t.is(id, nodeId({ nodeName: undefined, machineId: machineId.toUpperCase() }));
  t.not(id, machineId);
  t.not(id, nodeId({ nodeName: undefined, machineId: machineId.replace('b', 'c') }));
  // Nobody may change it: it would make every host a stranger to its own lease.
  t.is(id, 'df08bee7aad85938a8e80afea269f0c7');
  for (const bad of [undefined, '', 'uninitialized', '0'.repeat(32), machineId.slice(1)])
    t.is(nodeId({ nodeName: undefined, machineId: bad }), undefined);
});
