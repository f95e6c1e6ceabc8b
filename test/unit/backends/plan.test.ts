import { readFileSync, writeFileSync } from 'node:fs';
import test from 'ava';
import type { Backend } from '../../../backends/backend.ts';
import { createHostGw } from '../../../backends/host-gw/host-gw.ts';
import { plan, planKeys } from '../../../backends/plan.ts';
import { type KernelObject, keyOf, type Observed, type Operation } from '../../../backends/state.ts';
import { standing } from '../../../backends/taken-ids.ts';
import { createUdp } from '../../../backends/udp/udp.ts';
import { createVxlan } from '../../../backends/vxlan/vxlan.ts';
import type { Lease } from '../../../leases/lease.ts';
import { apply } from './kernel-tables.ts';
import {
  actualOf,
  backendOf,
  byKey,
  DUAL,
  FAR,
  FIRST_ID,
  found,
  foundByKey,
  ip,
  lease,
  MACS,
  mac,
  nexthopId,
  OWN,
  POLICY,
  prefix,
  texts,
  UNDERLAY,
  V4,
} from './values.ts';

const dual = backendOf(createVxlan({}, DUAL, UNDERLAY));
const vxlan = backendOf(createVxlan({}, V4, UNDERLAY));
const hostGw = backendOf(createHostGw({}, V4, UNDERLAY));
function peerObjects(backend: Backend, peer: Lease, objects = true): readonly KernelObject[] {
  const state = backend.peer(peer, objects ? { ...FAR, nexthopId } : FAR);
  return 'objects' in state ? state.objects : [];
}

function desiredOf(backend: Backend, peers: readonly Lease[], objects = true): Map<string, KernelObject> {
  return byKey([...backend.device(OWN, MACS), ...peers.flatMap((peer) => peerObjects(backend, peer, objects))]);
}

/** The route as flannel leaves it. */
function boot(dst: string, gateway: string, dev: string): Observed {
  const onlink = dev.startsWith('flannel');
  return found(
    { kind: 'route', dst: prefix(dst), dev, gateway: ip(gateway), onlink, nexthopId: undefined },
    { protocol: 3 },
  );
}

function stepsOf(peers: readonly Lease[], after: readonly Lease[], backend = dual): Operation[] {
  return plan(desiredOf(backend, after), actualOf(desiredOf(backend, peers)), POLICY);
}

/** Compares with `test/golden/plan-<name>.txt`; TARTAN_GOLDEN=write renews the file. */
function golden(name: string, operations: readonly Operation[]): [string, string] {
  const file = new URL(`../../../../test/golden/plan-${name}.txt`, import.meta.url);
  const text = `${texts(operations).join('\n')}\n`;
  const { TARTAN_GOLDEN: mode } = process.env;
  if (mode === 'write') writeFileSync(file, text);
  return [text, readFileSync(file, 'utf8')];
}

test('golden: a first start with two peers', (t) => {
  t.is(...golden('first-start', plan(desiredOf(dual, [lease(72), lease(73)]), new Map(), POLICY)));
});

test('golden: udp starts where a vxlan was, and vxlan where udp was', (t) => {
  const policy = { ...POLICY, devices: new Set([...POLICY.devices, 'flannel0']) };
  const udp = desiredOf(backendOf(createUdp({}, V4, UNDERLAY)), []);
  const user = desiredOf(backendOf(createVxlan({ Mode: 'user' }, V4, UNDERLAY)), [lease(72)]);
  const kernel = desiredOf(vxlan, [lease(72)]);
  const steps = [
    [kernel, udp],
    [udp, kernel],
    [kernel, user],
    [user, kernel],
  ] as const;
  const operations = steps.flatMap(([before, after]) => plan(after, actualOf(before), policy));
  t.is(...golden('user-space', operations));
  for (const [before, after] of steps) {
    const { tables, refused } = apply(actualOf(before), plan(after, actualOf(before), policy));
    t.deepEqual(refused, []);
    t.deepEqual(texts(plan(after, tables, policy)), []);
  }
});

test('golden: a peer leaves', (t) => {
  t.is(...golden('peer-leaves', stepsOf([lease(72), lease(73)], [lease(73)])));
});

test('golden: a peer comes back with another MAC and public IP', (t) => {
  const backendData = '{"VNI":1,"VtepMAC":"02:00:00:00:04:99"}';
  const again = lease(72, { publicIp: ip('192.168.77.99'), backendData });
  t.is(...golden('peer-changes', stepsOf([lease(72)], [again])));
});

test('golden: taken over from flannel, with a peer that died meanwhile', (t) => {
  const [alive, dead] = [lease(72), lease(73)];
  const left = foundByKey([
    ...Array.from(actualOf(desiredOf(vxlan, [alive, dead], false)).values()).filter(
      ({ object }) => object.kind !== 'route',
    ),
    boot('10.5.72.0/24', '10.5.72.0', 'flannel.1'),
    boot('10.5.73.0/24', '10.5.73.0', 'flannel.1'),
  ]);
  t.is(...golden('takeover', plan(desiredOf(vxlan, [alive]), left, POLICY)));
});

test('golden: host-gw routes of flannel become ours once, those of dead peers are not ours', (t) => {
  const peer = lease(72, { backendType: 'host-gw' });
  const left = foundByKey([
    boot('10.5.72.0/24', '192.168.77.72', 'eth0'),
    boot('10.5.73.0/24', '192.168.77.73', 'eth0'),
  ]);
  const policy = { ...POLICY, devices: new Set<string>() };
  const operations = plan(desiredOf(hostGw, [peer]), left, policy);
  t.is(...golden('host-gw-takeover', operations));
  t.deepEqual(plan(desiredOf(hostGw, [peer]), apply(left, operations).tables, policy), []);
});

test('golden: the device has to be made anew', (t) => {
  const desired = desiredOf(vxlan, [lease(72)]);
  const actual = actualOf(desired);
  const link = desired.get('link flannel.1');
  if (link?.kind !== 'link' || link.vxlan === undefined) return t.fail();
  actual.set('link flannel.1', found({ ...link, vxlan: { ...link.vxlan, port: 4789 } }));
  t.is(...golden('new-device', plan(desired, actual, POLICY)));
});

test('golden: all of it goes', (t) => {
  t.is(...golden('down', plan(new Map(), actualOf(desiredOf(dual, [lease(72)])), POLICY)));
});

test('what is right is not written again', (t) => {
  t.deepEqual(stepsOf([lease(72), lease(73)], [lease(72), lease(73)]), []);
});

test('a device that only lost its MTU or was set down keeps what is on it', (t) => {
  const desired = desiredOf(vxlan, [lease(72)]);
  const actual = actualOf(desired);
  const link = desired.get('link flannel.1');
  if (link?.kind !== 'link') return t.fail();
  actual.set('link flannel.1', found({ ...link, mtuBytes: 1400, up: false }));
  t.deepEqual(
    plan(desired, actual, POLICY).map(({ object }) => keyOf(object)),
    ['link flannel.1'],
  );
});

test("somebody else's route at a live peer's key is replaced in place, and named", (t) => {
  const desired = desiredOf(vxlan, [lease(72)]);
  const actual = actualOf(desired);
  const foreign = boot('10.5.72.0/24', '192.168.77.1', 'eth0');
  actual.set(keyOf(foreign.object), { ...foreign, protocol: 186 });
  t.deepEqual(texts(plan(desired, actual, POLICY)), [
    'ip route replace 10.5.72.0/24 nhid 1409286216 proto 84 # was via 192.168.77.1 dev eth0, protocol 186',
  ]);
});

test('a learnt entry becomes permanent', (t) => {
  const desired = desiredOf(vxlan, [lease(72)]);
  const learnt = Array.from(desired.values(), (object) => found(object, { permanent: false }));
  t.deepEqual(
    plan(desired, foundByKey(learnt), POLICY).map(({ object, why }) => `${object.kind}: ${why}`),
    ['neighbour: was learnt, not permanent', 'fdb: was learnt, not permanent'],
  );
});

test('left alone: what is not ours', (t) => {
  const dev = 'flannel.1';
  const foreign = foundByKey([
    found({ kind: 'address', dev, ip: ip('10.9.0.1'), length: 32 }),
    found({ kind: 'address', dev: 'eth0', ip: ip('10.5.1.1'), length: 24 }),
    found({ kind: 'neighbour', dev, ip: ip('10.5.9.0'), mac: mac('02:00:00:00:00:09') }, { permanent: false }),
    found({ kind: 'neighbour', dev: 'eth0', ip: ip('10.5.9.0'), mac: mac('02:00:00:00:00:09') }),
    found({ kind: 'fdb', dev, mac: mac('02:00:00:00:00:09'), dst: ip('192.168.77.9') }, { permanent: false }),
    found({ kind: 'fdb', dev: 'vxlan9', mac: mac('02:00:00:00:00:09'), dst: ip('192.168.77.9') }),
    found({ kind: 'nexthop', id: 7, dev, gateway: ip('10.5.9.0'), onlink: true }),
    found({ kind: 'nexthop', id: FIRST_ID + 9, dev, gateway: ip('10.5.9.0'), onlink: true }, { protocol: 3 }),
    found({ kind: 'nexthop', id: FIRST_ID + 8, dev: 'flannel.2', gateway: ip('10.6.9.0'), onlink: true }),
    boot('10.5.9.0/24', '192.168.77.9', 'eth0'),
    boot('10.9.9.0/24', '10.9.9.0', dev),
    { ...boot('10.6.9.0/24', '192.168.77.9', 'eth0'), protocol: 84 },
    { ...boot('10.0.0.0/8', '10.5.9.0', dev), protocol: 84 },
    { ...boot('10.5.10.0/24', '10.5.10.0', dev), protocol: 4 },
  ]);
  t.deepEqual(texts(plan(new Map(), foreign, POLICY)), []);
});

test("a foreign object at a nexthop's id: neither it nor the route on it is written, until there is another id", (t) => {
  const desired = desiredOf(vxlan, [lease(72)]);
  const foreign = found(
    { kind: 'nexthop', id: FIRST_ID + 72, dev: 'eth0', gateway: ip('192.168.77.1'), onlink: false },
    { protocol: 186 },
  );
  const actual = foundByKey([...actualOf(desiredOf(vxlan, [])).values(), foreign]);
  const operations = plan(desired, actual, POLICY);
  t.deepEqual(
    operations.map(({ object }) => object.kind),
    ['neighbour', 'fdb'],
  );
  const wanted = [FIRST_ID + 72, FIRST_ID + 73];
  t.deepEqual(standing(wanted, actual, POLICY), { taken: [FIRST_ID + 72], unseen: [FIRST_ID + 73] });
  t.deepEqual(standing(wanted, actualOf(desired), POLICY), { taken: [], unseen: [FIRST_ID + 73] });
  const keys = ['nexthop 1409286216', 'route 10.5.72.0/24'];
  t.deepEqual([...planKeys(desired.keys(), desired, actual, POLICY).withheld].sort(), keys);
  t.deepEqual([...planKeys(['route 10.5.72.0/24'], desired, actual, POLICY).withheld].sort(), keys);
  t.deepEqual(planKeys(['fdb 02:00:00:00:04:48 dev flannel.1'], desired, actual, POLICY).withheld, []);
  t.deepEqual(planKeys(desired.keys(), desired, actualOf(desired), POLICY).withheld, []);
});

test('our own nexthop of another gateway is replaced; a missing one is created', (t) => {
  const desired = desiredOf(vxlan, [lease(72)]);
  const actual = actualOf(desired);
  const hop = { kind: 'nexthop', id: FIRST_ID + 72, dev: 'flannel.1', gateway: ip('10.5.9.0'), onlink: true } as const;
  actual.set(keyOf(hop), found(hop));
  t.deepEqual(
    plan(desired, actual, POLICY).map(({ verb, object }) => `${verb} ${object.kind}`),
    ['set nexthop'],
  );
});

test('a route whose nexthop object is gone is gone with it', (t) => {
  const desired = desiredOf(vxlan, [lease(72)]);
  const actual = actualOf(desired);
  actual.delete(`nexthop ${FIRST_ID + 72}`);
  t.deepEqual(
    plan(desired, actual, POLICY).map(({ verb, object }) => `${verb} ${object.kind}`),
    ['create nexthop', 'set route'],
  );
});

test("a nexthop of ours that somebody's route is on stays until that route is gone", (t) => {
  const actual = actualOf(desiredOf(vxlan, [lease(72)]));
  const theirs = { ...boot('198.51.100.0/24', '10.5.72.0', 'flannel.1').object, nexthopId: FIRST_ID + 72 };
  actual.set(keyOf(theirs), found(theirs, { protocol: 4 }));
  const operations = plan(desiredOf(vxlan, []), actual, POLICY);
  t.deepEqual(
    operations.map(({ object }) => object.kind),
    ['route', 'fdb', 'neighbour'],
  );
});

test('keys of one peer plan for that peer alone', (t) => {
  const desired = desiredOf(dual, [lease(72), lease(73)]);
  const actual = actualOf(desiredOf(dual, []));
  const keys = peerObjects(dual, lease(73)).map(keyOf);
  const { operations } = planKeys(keys, desired, actual, POLICY);
  t.deepEqual(operations.map((operation) => keyOf(operation.object)).sort(), keys.toSorted());
});

test("a route's key brings its nexthop objects along, the wanted and the found", (t) => {
  const desired = desiredOf(vxlan, [lease(72)]);
  const route = { ...boot('10.5.72.0/24', '10.5.72.0', 'flannel.1').object, nexthopId: FIRST_ID + 5 };
  const hop = { kind: 'nexthop', id: FIRST_ID + 5, dev: 'flannel.1', gateway: ip('10.5.72.0'), onlink: true } as const;
  const actual = foundByKey([...actualOf(desiredOf(vxlan, [])).values(), found(route), found(hop)]);
  t.deepEqual(texts(planKeys(['route 10.5.72.0/24'], desired, actual, POLICY).operations), [
    'ip nexthop add id 1409286216 via 10.5.72.0 dev flannel.1 onlink proto 84 # missing',
    'ip route replace 10.5.72.0/24 nhid 1409286216 proto 84 # was nhid 1409286149',
    'ip nexthop del id 1409286149 # not wanted any more',
  ]);
});

test('whatever the key, a missing device brings all that is wanted on it', (t) => {
  const desired = desiredOf(vxlan, [lease(72), lease(73)]);
  const actual = actualOf(desired);
  actual.delete('link flannel.1');
  const { operations } = planKeys(['neighbour 10.5.72.0 dev flannel.1'], desired, actual, POLICY);
  t.is(operations.length, desired.size);
});
