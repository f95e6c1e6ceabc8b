import test from 'ava';
import { handOver } from '../../../backends/hand-over.ts';
import type { KernelObject, Observed } from '../../../backends/state.ts';
import { createUdp } from '../../../backends/udp/udp.ts';
import { createVxlan } from '../../../backends/vxlan/vxlan.ts';
import { apply } from './kernel-tables.ts';
import {
  actualOf,
  backendOf,
  byKey,
  FAR,
  found,
  ip,
  lease,
  MACS,
  nexthopId,
  OWN,
  POLICY,
  prefix,
  texts,
  UNDERLAY,
  V4,
} from './values.ts';

const vxlan = backendOf(createVxlan({}, V4, UNDERLAY));

function objectsOf(...peers: readonly Parameters<typeof lease>[]): Map<string, Observed> {
  const objects = peers.flatMap((peer): readonly KernelObject[] => {
    const state = vxlan.peer(lease(...peer), { ...FAR, nexthopId });
    return 'objects' in state ? state.objects : [];
  });
  return actualOf(byKey([...vxlan.device(OWN, MACS), ...objects]));
}

test('routes on nexthop objects become plain, in place, before the nexthops go', (t) => {
  const actual = objectsOf([2], [3]);
  const operations = handOver(actual, POLICY);
  t.deepEqual(
    operations.map(({ verb, object }) => `${verb} ${object.kind}`),
    ['set route', 'set route', 'delete nexthop', 'delete nexthop'],
  );
  const { tables: after, refused } = apply(actual, operations);
  t.deepEqual(refused, []);
  for (const [key, before] of actual) {
    if (before.object.kind === 'nexthop') t.false(after.has(key));
    else if (before.object.kind === 'route')
      t.deepEqual(after.get(key)?.object, { ...before.object, nexthopId: undefined });
    else t.deepEqual(after.get(key), before);
  }
  t.deepEqual(handOver(after, POLICY), []);
});

test("flannel's plain routes are left alone, and so is a nexthop that somebody else's route is on", (t) => {
  const actual = objectsOf([2]);
  const [nexthop] = [...actual.values()].flatMap(({ object }) => (object.kind === 'nexthop' ? [object] : []));
  const dev = nexthop?.dev ?? '';
  const boot = { kind: 'route', dst: prefix('10.5.9.0/24'), dev, gateway: ip('10.5.9.0'), onlink: true } as const;
  actual.set('route 10.5.9.0/24', found({ ...boot, nexthopId: undefined }, { protocol: 3 }));
  const foreign = { ...boot, dst: prefix('192.0.2.0/24'), nexthopId: nexthop?.id };
  actual.set('route 192.0.2.0/24', found(foreign, { protocol: 4 }));
  t.deepEqual(
    handOver(actual, POLICY).map(({ verb, object }) => `${verb} ${object.kind}`),
    ['set route'],
  );
});

test('a tun or a tap, which nobody would carry packets for, goes; a vxlan stays', (t) => {
  const udp = backendOf(createUdp({}, V4, UNDERLAY));
  const tap = backendOf(createVxlan({ Mode: 'user' }, V4, UNDERLAY));
  for (const [backend, name] of [
    [udp, 'flannel0'],
    [tap, 'flannel.1'],
  ] as const) {
    const actual = actualOf(byKey(backend.device(OWN, MACS)));
    const policy = { ...POLICY, devices: new Set(backend.devices) };
    t.deepEqual(texts(handOver(actual, policy)), [`ip link del ${name} # handed over`]);
    t.deepEqual(handOver(actual, { ...policy, devices: new Set(['flannel.9']) }), []);
  }
});
