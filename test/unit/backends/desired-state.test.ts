import test from 'ava';
import { DesiredState } from '../../../backends/desired-state.ts';
import { NexthopIds } from '../../../backends/nexthop-ids.ts';
import { createVxlan } from '../../../backends/vxlan/vxlan.ts';
import { changes, NETWORK, stored } from './rig.ts';
import { backendOf, ip, MACS, OWN, prefix, UNDERLAY, V4 } from './values.ts';

const NEAR = new Set([ip('192.168.77.4')]);

function desiredState(config = {}): DesiredState {
  const ids = new NexthopIds([], [], { networks: [NETWORK], devices: new Set(['flannel.1']) });
  return new DesiredState(backendOf(createVxlan(config, V4, UNDERLAY)), ids, (one) => NEAR.has(one));
}

function keys(desired: DesiredState): string[] {
  return [...desired.objects.keys()].map((key) => key.replace(/^nexthop .*/, 'nexthop')).sort();
}

const PEER_2 = [
  'fdb 02:00:00:00:04:02 dev flannel.1',
  'neighbour 10.5.2.0 dev flannel.1',
  'nexthop',
  'route 10.5.2.0/24',
];

test('peers come and go, and each change is told once', (t) => {
  const desired = desiredState();
  desired.update(changes(stored(2)));
  t.deepEqual(keys(desired), PEER_2);
  t.is(desired.takeChanged().size, 4);
  t.is(desired.takeChanged().size, 0);
  desired.update(changes(2));
  t.deepEqual(keys(desired), []);
  t.is(desired.takeChanged().size, 4);
  desired.update(changes(2));
  t.is(desired.takeChanged().size, 0);
});

test('of several changes of one key the last counts', (t) => {
  const desired = desiredState();
  desired.update(changes(stored(2), 2));
  t.deepEqual(keys(desired), []);
  desired.update(changes(2, stored(2)));
  t.deepEqual(keys(desired), PEER_2);
});

test('a MAC that passes on belongs to its new holder, whatever the order in the batch', (t) => {
  for (const isHolderFirst of [true, false]) {
    const desired = desiredState();
    desired.update(changes(stored(2)));
    const heir = changes(stored(3, { backendData: stored(2).backendData }));
    desired.update(isHolderFirst ? [...changes(2), ...heir] : [...heir, ...changes(2)]);
    const entry = desired.objects.get('fdb 02:00:00:00:04:02 dev flannel.1');
    t.is(entry?.kind === 'fdb' && entry.dst, ip('192.168.77.3'));
    t.is(desired.objects.size, 4);
  }
});

test('an overlapping object that another peer has put there is not dropped with the first', (t) => {
  const desired = desiredState();
  desired.update(changes(stored(2)));
  desired.update(changes(stored(3, { backendData: stored(2).backendData })));
  desired.update(changes(2));
  t.true(desired.objects.has('fdb 02:00:00:00:04:02 dev flannel.1'));
});

test('foreign and refused leases want nothing', (t) => {
  const desired = desiredState();
  desired.update(changes(stored(2, { backendType: 'host-gw' }), stored(3, { backendData: '{}' })));
  t.deepEqual(keys(desired), []);
  t.is(desired.publicIps().size, 4);
});

test('a peer that comes back has its nexthop again', (t) => {
  const desired = desiredState();
  desired.update(changes(stored(2)));
  const before = [...desired.objects.keys()];
  desired.update(changes(2));
  desired.update(changes(stored(2)));
  t.deepEqual([...desired.objects.keys()], before);
});

test('a neighbour on the underlay is routed to directly, and recomputed when that changes', (t) => {
  const desired = desiredState({ DirectRouting: true });
  desired.update(changes(stored(4), stored(5)));
  t.deepEqual(
    keys(desired).filter((key) => key.includes('.4.0')),
    ['route 10.5.4.0/24'],
  );
  desired.takeChanged();
  NEAR.add(ip('192.168.77.5'));
  desired.recompute(({ publicIp }) => publicIp === '192.168.77.5');
  t.is(desired.takeChanged().size, 4);
  t.is(desired.objects.size, 2);
});

test('the device is replaced as a whole', (t) => {
  const desired = desiredState();
  const backend = backendOf(createVxlan({}, V4, UNDERLAY));
  desired.setDevice(backend.device(OWN, MACS));
  desired.takeChanged();
  desired.setDevice(backend.device({ ...OWN, subnet: prefix('10.5.9.0/24') }, MACS));
  t.deepEqual(keys(desired), ['address 10.5.9.0/32 dev flannel.1', 'link flannel.1']);
  t.true(desired.takeChanged().has('address 10.5.1.0/32 dev flannel.1'));
});
