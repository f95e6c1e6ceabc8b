import test from 'ava';
import fc from 'fast-check';
import type { BackendResult } from '../../../backends/backend-config.ts';
import { isOurs } from '../../../backends/ownership.ts';
import { type Actual, type Desired, plan, planKeys } from '../../../backends/plan.ts';
import { type KernelObject, keyOf, type Observed, type Operation, YIELDING_METRIC } from '../../../backends/state.ts';
import { standing } from '../../../backends/taken-ids.ts';
import { createUdp } from '../../../backends/udp/udp.ts';
import { createVxlan } from '../../../backends/vxlan/vxlan.ts';
import { apply } from './kernel-tables.ts';
import {
  actualOf,
  backendOf,
  byKey,
  DUAL,
  FIRST_ID,
  found,
  foundByKey,
  ip,
  lease,
  MACS,
  mac,
  nexthopId,
  POLICY as OF_VXLAN,
  OWN,
  prefix,
  texts,
  UNDERLAY,
} from './values.ts';

const POLICY = { ...OF_VXLAN, devices: new Set([...OF_VXLAN.devices, 'flannel0']) };

// Peers come and go, change MAC and public IP, between two times; strangers stand about.
const peer = fc
  .record({ n: fc.integer({ min: 2, max: 9 }), host: fc.integer({ min: 2, max: 9 }), shape: fc.nat(2) })
  .map(({ n, host, shape }) => {
    const { publicIp, publicIp6, backendData, backendV6Data } = lease(host);
    const half = shape === 1 ? { subnet6: undefined } : shape === 2 ? { subnet: prefix('0.0.0.0/0') } : {};
    return lease(n, { publicIp, publicIp6, backendData, backendV6Data, ...half });
  });
const desiredMap = fc
  .record({
    ...{ peers: fc.array(peer, { maxLength: 6 }), objects: fc.boolean(), direct: fc.boolean() },
    type: fc.constantFrom('kernel', 'user', 'udp'),
  })
  .map(({ peers, objects, direct, type }) => {
    const vxlan = (): BackendResult => createVxlan({ DirectRouting: direct, Mode: type }, DUAL, UNDERLAY);
    const backend = backendOf(type === 'udp' ? createUdp({}, DUAL, UNDERLAY) : vxlan());
    const context = { isOnLink: (one: string) => /[3579]$/.test(one), nexthopId: objects ? nexthopId : undefined };
    const states = peers.map((one) => backend.peer(one, context));
    return byKey([
      ...backend.device(OWN, MACS),
      ...states.flatMap((state) => ('objects' in state ? state.objects : [])),
    ]);
  });
const dev = fc.constantFrom('flannel.1', 'flannel-v6.1', 'flannel0', 'eth0');
const gateway = fc.constantFrom(ip('10.5.3.0'), ip('10.5.4.0'), ip('10.9.9.0'), ip('192.168.77.4'));
const station = fc.constantFrom(mac('02:00:00:00:04:03'), mac('02:00:00:00:04:04'));
const id = fc.integer({ min: FIRST_ID + 2, max: FIRST_ID + 5 });
const dst = fc.constantFrom('10.5.3.0/24', '10.5.4.0/24', '10.5.200.0/24', '10.9.9.0/24', '10.0.0.0/8').map(prefix);
const onlink = fc.boolean();
const object: fc.Arbitrary<KernelObject> = fc.oneof(
  fc.record({ kind: fc.constant('address' as const), dev, ip: gateway, length: fc.constant(32) }),
  fc.record({ kind: fc.constant('neighbour' as const), dev, ip: gateway, mac: station }),
  fc.record({ kind: fc.constant('fdb' as const), dev, mac: station, dst: gateway }),
  fc.record({ kind: fc.constant('nexthop' as const), id, dev, gateway, onlink }),
  fc.record({
    kind: fc.constant('route' as const),
    dst,
    dev,
    gateway,
    onlink,
    nexthopId: fc.option(id, { nil: undefined }),
  }),
  fc.record({
    ...{ kind: fc.constant('route' as const), dst, metric: fc.constant(YIELDING_METRIC), dev, onlink },
    ...{ gateway: fc.constant(undefined), nexthopId: fc.constant(undefined) },
  }),
);
const stranger = fc.record({ object, protocol: fc.constantFrom(0, 3, 4, 84), permanent: fc.boolean() });
const actualMap: fc.Arbitrary<Actual> = fc
  .record({
    before: desiredMap,
    strangers: fc.array(stranger, { maxLength: 8 }),
    missing: fc.array(fc.nat(40)),
    port: fc.boolean(),
  })
  .map(({ before, strangers, missing, port }) => {
    const tables = foundByKey([...actualOf(before).values(), ...strangers]);
    const link = before.get('link flannel.1');
    if (port && link?.kind === 'link' && link.vxlan)
      tables.set('link flannel.1', found({ ...link, vxlan: { ...link.vxlan, port: 4789 } }));
    const keys = [...tables.keys()];
    for (const index of missing) if (keys[index] !== undefined) tables.delete(keys[index]);
    return consistent(tables);
  });

/** Without what no kernel would hold: things on devices, and routes on nexthop objects, that are not there. */
function consistent(tables: Map<string, Observed>): Map<string, Observed> {
  for (const kinds of [['address', 'neighbour', 'fdb', 'nexthop'], ['route']]) {
    for (const [key, { object: one }] of [...tables]) {
      if (!kinds.includes(one.kind) || one.kind === 'link') continue;
      const id = one.kind === 'route' ? one.nexthopId : undefined;
      const hop = id === undefined ? undefined : tables.get(`nexthop ${id}`)?.object;
      if (id !== undefined && hop === undefined) tables.delete(key);
      else if (one.kind === 'route' && hop?.kind === 'nexthop') {
        const { protocol, permanent } = tables.get(key) ?? { protocol: 0, permanent: false };
        tables.set(key, {
          object: { ...one, dev: hop.dev, gateway: hop.gateway, onlink: hop.onlink },
          protocol,
          permanent,
        });
      }
      if (one.dev.startsWith('flannel') && !tables.has(`link ${one.dev}`)) tables.delete(key);
    }
  }
  return tables;
}

/** Gives every gateway whose id is taken another one, as the caller does by NexthopIds. */
function resolved(desired: Desired, actual: Actual): Map<string, KernelObject> {
  const ids = Array.from(desired.values()).flatMap((one) => (one.kind === 'nexthop' ? [one.id] : []));
  const moved = new Map(standing(ids, actual, POLICY).taken.map((id) => [id, id + 5000]));
  const objects = Array.from(desired.values(), (one): KernelObject => {
    if (one.kind === 'nexthop') return { ...one, id: moved.get(one.id) ?? one.id };
    if (one.kind !== 'route' || one.nexthopId === undefined) return one;
    return { ...one, nexthopId: moved.get(one.nexthopId) ?? one.nexthopId };
  });
  return byKey(objects);
}

function always(t: { notThrows(run: () => void): void }, holds: (desired: Desired, actual: Actual) => boolean): void {
  t.notThrows(() => fc.assert(fc.property(desiredMap, actualMap, holds), { numRuns: 400 }));
}

test('a plan that was carried out leaves nothing to plan, and nothing wanted is missing', (t) => {
  always(t, (wanted, actual) => {
    const desired = resolved(wanted, actual);
    const { tables, refused } = apply(actual, plan(desired, actual, POLICY));
    if (refused.length > 0 || [...desired.keys()].some((key) => !tables.has(key))) return false;
    return plan(desired, tables, POLICY).length === 0;
  });
});

test('with conflicts too a plan is carried out in one go', (t) => {
  always(t, (desired, actual) => {
    const { tables, refused } = apply(actual, plan(desired, actual, POLICY));
    return refused.length === 0 && plan(desired, tables, POLICY).length === 0;
  });
});

test('what is not ours is never deleted, by the plan or by its consequences', (t) => {
  always(t, (desired, actual) => {
    const operations = plan(desired, actual, POLICY);
    for (const { verb, object: gone } of operations) {
      const old = actual.get(keyOf(gone));
      if (verb === 'delete' && (old === undefined || !isOurs(old, POLICY))) return false;
      if (verb !== 'create' && gone.kind === 'nexthop' && old !== undefined && !isOurs(old, POLICY)) return false;
    }
    const renewed = operations.filter(({ object: one, verb }) => one.kind === 'link' && verb === 'set').length > 0;
    const { tables } = apply(actual, operations);
    return renewed || [...actual].every(([key, old]) => isOurs(old, POLICY) || tables.has(key));
  });
});

test('additions in one order, removals after them in its reverse', (t) => {
  const kinds = ['link', 'address', 'neighbour', 'fdb', 'nexthop', 'route'];
  const sorted = (operations: readonly Operation[]): Operation[] =>
    operations.toSorted((a, b) => {
      const [keyA, keyB] = [keyOf(a.object), keyOf(b.object)];
      return kinds.indexOf(a.object.kind) - kinds.indexOf(b.object.kind) || (keyA < keyB ? -1 : 1);
    });
  always(t, (desired, actual) => {
    const operations = plan(desired, actual, POLICY);
    const sets = operations.filter(({ verb }) => verb !== 'delete');
    const deletes = operations.filter(({ verb }) => verb === 'delete');
    const expected = [...sorted(sets), ...sorted(deletes).reverse()];
    return operations.every((operation, i) => operation === expected[i]);
  });
});

test('a route is never without what it leads to while the plan is carried out', (t) => {
  always(t, (desired, actual) => {
    let tables: Actual = actual;
    for (const operation of plan(desired, actual, POLICY)) {
      tables = apply(tables, [operation]).tables;
      const { object: one, verb } = operation;
      if (verb === 'delete' || one.kind !== 'route' || !one.onlink || one.gateway === undefined) continue;
      if (!tables.has(`neighbour ${one.gateway} dev ${one.dev}`)) return false;
    }
    return true;
  });
});

test('the order in which objects are given does not matter', (t) => {
  always(t, (desired, actual) => {
    const turned = plan(new Map([...desired].reverse()), new Map([...actual].reverse()), POLICY);
    return texts(plan(desired, actual, POLICY)).join() === texts(turned).join();
  });
});

test('planning peer by peer reaches the same tables as planning whole', (t) => {
  always(t, (wanted, actual) => {
    const desired = resolved(wanted, actual);
    let tables: Actual = actual;
    for (const key of new Set([...desired.keys(), ...actual.keys()])) {
      tables = apply(tables, planKeys([key], desired, tables, POLICY).operations).tables;
    }
    return (
      [...desired.keys()].every((key) => tables.has(key)) &&
      plan(desired, tables, POLICY).every((o) => o.verb === 'delete')
    );
  });
});
