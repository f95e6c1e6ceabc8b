import test, { type ExecutionContext } from 'ava';
import type { Underlay } from '../../../backends/backend.ts';
import { createHostGw } from '../../../backends/host-gw/host-gw.ts';
import {
  type FdbEntry,
  type KernelObject,
  keyOf,
  type Link,
  type Neighbour,
  type Route,
} from '../../../backends/state.ts';
import { createVxlan } from '../../../backends/vxlan/vxlan.ts';
import type { JsonObject } from '../../../config/go-json.ts';
import { refusal } from '../../fakes/kernel-tables.ts';
import { changes, DEV, hostKernel, inStep, NETWORK, Rig, stored } from './rig.ts';
import { backendOf, ip, MACS, mac, OWN, prefix, UNDERLAY, V4 } from './values.ts';

const PLAIN = { metric: 0, protocol: 3, onlink: false, nexthopId: undefined, type: 1 } as const;
const WITHIN_MS = 1_000;

function neighbour(n: number, change: Partial<Neighbour> = {}): Neighbour {
  return { kind: 'neighbour', dev: DEV, ip: ip(`10.5.${n}.0`), mac: mac(`02:00:00:00:04:0${n}`), ...change };
}

function fdb(n: number, change: Partial<FdbEntry> = {}): FdbEntry {
  return { kind: 'fdb', dev: DEV, mac: mac(`02:00:00:00:04:0${n}`), dst: ip(`192.168.77.${n}`), ...change };
}

function route(n: number, change: Partial<Route> = {}): Route {
  const gateway = ip(`10.5.${n}.0`);
  return {
    kind: 'route',
    dst: prefix(`10.5.${n}.0/24`),
    dev: DEV,
    gateway,
    onlink: true,
    nexthopId: undefined,
    ...change,
  };
}

function idOf(rig: Rig, n: number): number {
  const id = rig.kernel.tables.routes.find(({ dst }) => dst === `10.5.${n}.0/24`)?.nexthopId;
  if (id === undefined) throw new Error(`no nexthop for ${n}`);
  return id;
}

async function rigOf(t: ExecutionContext, ...ns: readonly number[]): Promise<Rig> {
  const rig = await new Rig().with(...ns.map((n) => stored(n)));
  t.teardown(() => rig.stop());
  return rig;
}

test('a peer comes in the safe order, and leaves in the reverse', async (t) => {
  const rig = await rigOf(t);
  await rig.update(stored(2));
  t.deepEqual(kindsOf(rig), ['neighbour', 'bridge fdb', 'nexthop', 'route']);
  await inStep(t, rig, stored(2));
  rig.kernel.forget();
  await rig.update(2);
  t.deepEqual(kindsOf(rig), ['route', 'nexthop', 'bridge fdb', 'neighbour']);
  await inStep(t, rig);
});

function kindsOf(rig: Rig): string[] {
  return rig.kernel.operations.map((text) => (text.startsWith('bridge') ? 'bridge fdb' : (text.split(' ')[1] ?? '')));
}

for (const isLate of [false, true]) {
  test(`one peer's change costs one batch and reads nothing, events ${isLate ? 'late' : 'at once'}`, async (t) => {
    const rig = await rigOf(t, 2, 3, 4);
    rig.kernel.isLate = isLate;
    for (const change of [stored(5), stored(5, { publicIp: ip('192.168.77.99') }), 5]) {
      await rig.update(change);
      await rig.clock.advance(WITHIN_MS);
    }
    t.deepEqual(rig.kernel.calls, ['apply', 'apply', 'apply']);
    t.is(rig.reconciler.counters.repairs, 0);
    await inStep(t, rig, stored(2), stored(3), stored(4));
  });
}

test('a burst of one lease is no fight, and ends with the last', async (t) => {
  const rig = await rigOf(t, 2);
  rig.kernel.isLate = true;
  const last = stored(2, { publicIp: ip('192.168.77.99') });
  for (let i = 0; i < 40; i++) await rig.update(i % 2 === 0 ? stored(2) : last);
  await rig.clock.advance(WITHIN_MS);
  t.is(rig.reconciler.counters.repairs, 0);
  await inStep(t, rig, last);
});

test('at rest nothing is read or written until the resync', async (t) => {
  const rig = await rigOf(t, 2, 3);
  await rig.clock.advance(50_000);
  t.deepEqual(rig.kernel.calls, []);
  await rig.clock.advance(20_000);
  t.true(rig.kernel.calls.includes('routes'));
  t.deepEqual(rig.kernel.operations, []);
});

test('what an event has put in doubt is not in step until it was looked at, though reading has to wait', async (t) => {
  const rig = await rigOf(t, 2, 3);
  rig.kernel.tables.deleteLink(DEV);
  await rig.clock.advance(WITHIN_MS);
  await inStep(t, rig, stored(2), stored(3));
  rig.kernel.tables.delete(route(2));
  await rig.clock.advance(0);
  await inStep(t, rig, stored(2), stored(3));
  // Read a moment ago: the next reading has to wait.
  rig.kernel.tables.delete(route(3));
  await rig.clock.advance(0);
  t.false(rig.reconciler.step().inStep);
  await rig.clock.advance(WITHIN_MS);
  await inStep(t, rig, stored(2), stored(3));
});

test('but for routes to our own subnet: whose it was before, it is ours now', async (t) => {
  const rig = await new Rig().start();
  t.teardown(() => rig.stop());
  for (const object of [route(1), route(9)]) rig.kernel.tables.set('set', object);
  await rig.clock.advance(WITHIN_MS);
  t.deepEqual(await standing(rig, [route(1), route(9)]), [keyOf(route(9))]);
});

test('nothing that is found is removed before all peers are known', async (t) => {
  const rig = await new Rig().start();
  t.teardown(() => rig.stop());
  const leftovers = [neighbour(9), fdb(9), route(9)];
  for (const object of leftovers) rig.kernel.tables.set('set', object);
  // Of the subnet that this host held before: an earlier run left it, nobody changed it.
  rig.kernel.tables.set('set', { kind: 'address', dev: DEV, ip: ip('10.5.99.0'), length: 32 });
  rig.reconciler.update(changes(stored(2)), false);
  await rig.clock.advance(200_000);
  t.deepEqual(await standing(rig, leftovers), leftovers.map(keyOf));
  t.true(rig.reconciler.step().inStep);
  rig.reconciler.update([], true);
  await rig.clock.advance(0);
  t.deepEqual(await standing(rig, leftovers), []);
  t.false(rig.kernel.tables.addresses.some((address) => address.ip === '10.5.99.0'));
  t.is(rig.reconciler.counters.repairs, 0);
  await inStep(t, rig, stored(2));
});

async function standing(rig: Rig, objects: readonly KernelObject[]): Promise<string[]> {
  const { neighbours, fdb: entries, routes } = rig.kernel.tables;
  const keys = new Set([...neighbours, ...entries].map(({ object }) => keyOf(object)));
  for (const { dst } of routes) keys.add(`route ${dst}`);
  return objects.map(keyOf).filter((key) => keys.has(key));
}

test('a peer that is known to be gone goes, though not all peers are known', async (t) => {
  const rig = await new Rig().start();
  t.teardown(() => rig.stop());
  rig.reconciler.update(changes(stored(2), stored(3)), false);
  await rig.clock.advance(0);
  await rig.update(3);
  await inStep(t, rig, stored(2));
});

const DRIFT: Record<string, (rig: Rig) => void> = {
  'a route deleted': ({ kernel }) => kernel.tables.removeRoutes(({ dst }) => dst === '10.5.2.0/24'),
  "a route replaced by somebody else's": ({ kernel }) =>
    void kernel.tables.set('set', route(2, { dev: 'eth0', gateway: ip('192.168.77.1'), onlink: false }), {
      protocol: 16,
    }),
  'a route replaced by a blackhole': ({ kernel }) => {
    kernel.tables.removeRoutes(({ dst }) => dst === '10.5.2.0/24');
    kernel.tables.addRoute({ ...PLAIN, dst: prefix('10.5.2.0/24'), dev: undefined, gateway: undefined, type: 6 });
  },
  'a blackhole put before a route': ({ kernel }) =>
    kernel.tables.addRoute({ ...PLAIN, dst: prefix('10.5.2.0/24'), dev: undefined, gateway: undefined, type: 6 }, true),
  'a stray route': ({ kernel }) => void kernel.tables.set('set', route(77)),
  'a neighbour deleted': ({ kernel }) => kernel.tables.delete(neighbour(2)),
  'a neighbour changed': ({ kernel }) => void kernel.tables.set('set', neighbour(2, { mac: mac('02:00:00:00:00:99') })),
  'a neighbour no longer permanent': ({ kernel }) => void kernel.tables.set('set', neighbour(2), { permanent: false }),
  'a stray neighbour': ({ kernel }) => void kernel.tables.set('set', neighbour(7)),
  'an FDB entry deleted': ({ kernel }) => kernel.tables.delete(fdb(2)),
  'an FDB entry changed': ({ kernel }) => void kernel.tables.set('set', fdb(2, { dst: ip('192.168.77.99') })),
  'a stray FDB entry': ({ kernel }) => void kernel.tables.set('set', fdb(7)),
  'a nexthop deleted': (rig) => rig.kernel.tables.deleteNexthop(idOf(rig, 2)),
  'all nexthops deleted': ({ kernel }) => {
    for (const id of [...kernel.tables.nexthops.keys()]) kernel.tables.deleteNexthop(id);
  },
  'a nexthop changed': (rig) => {
    const object = { kind: 'nexthop', id: idOf(rig, 2), dev: DEV, gateway: ip('10.5.99.0'), onlink: true } as const;
    rig.kernel.tables.set('set', object);
  },
  'a stray nexthop': ({ kernel }) => {
    kernel.tables.set('set', { kind: 'nexthop', id: 0x54ffffff, dev: DEV, gateway: ip('10.5.99.0'), onlink: true });
  },
  'the device deleted': ({ kernel }) => kernel.tables.deleteLink(DEV),
  'the device set down': ({ kernel }) => kernel.tables.changeLink(DEV, { up: false }),
  'the device set down and up': ({ kernel }) => {
    kernel.tables.changeLink(DEV, { up: false });
    kernel.tables.changeLink(DEV, { up: true });
  },
  'another MAC': ({ kernel }) => kernel.tables.changeLink(DEV, { mac: mac('02:00:00:00:00:99') }),
  'another MTU': ({ kernel }) => kernel.tables.changeLink(DEV, { mtuBytes: 1280 }),
  'another vxlan of that name': ({ kernel }) => {
    const vxlan = { vni: 9, port: 8472, local: ip('192.168.77.10'), lower: 'eth0', learning: false, gbp: false };
    const device = { mac: mac('02:00:00:00:00:10'), mtuBytes: 1450, up: true };
    kernel.tables.set('set', { kind: 'link', name: DEV, ...device, vxlan });
  },
  'a bridge of that name': ({ kernel }) => {
    kernel.tables.deleteLink(DEV);
    kernel.tables.addDevice(DEV, { type: 'bridge', mac: mac('02:00:00:00:00:10'), mtuBytes: 1450 });
  },
  'a tun of that name': ({ kernel }) => {
    kernel.tables.deleteLink(DEV);
    kernel.tables.set('set', { kind: 'link', name: DEV, mac: undefined, mtuBytes: 1450, up: true, vxlan: undefined });
  },
  'the address flushed': ({ kernel }) =>
    kernel.tables.delete({ kind: 'address', dev: DEV, ip: ip('10.5.1.0'), length: 32 }),
  'a stray address': ({ kernel }) =>
    void kernel.tables.set('set', { kind: 'address', dev: DEV, ip: ip('10.5.44.4'), length: 32 }),
};

for (const [what, happens] of Object.entries(DRIFT)) {
  test(`heals: ${what}`, async (t) => {
    for (const options of [{}, { nexthopObjects: false }, { config: { Mode: 'user' } }]) {
      const isPlain = 'nexthopObjects' in options || 'config' in options;
      if ((what.includes('nexthop') && isPlain) || (what.includes('FDB') && 'config' in options)) continue;
      const rig = await new Rig(options).with(stored(2), stored(3));
      t.teardown(() => rig.stop());
      happens(rig);
      await rig.clock.advance(WITHIN_MS);
      await inStep(t, rig, stored(2), stored(3));
      t.is(rig.reconciler.counters.repairs > 0, true);
      rig.kernel.forget();
      await rig.clock.advance(30_000);
      t.deepEqual(rig.kernel.calls, [], 'a healed fault leaves no work');
    }
  });
  test(`heals within the resync period, without any event: ${what}`, async (t) => {
    const rig = await rigOf(t, 2, 3);
    rig.kernel.loses = 'silently';
    happens(rig);
    t.not((await rig.left([stored(2), stored(3)])).length, 0, 'something is broken');
    rig.kernel.forget();
    await rig.clock.advance(50_000);
    t.deepEqual(rig.kernel.calls, [], 'nobody has told');
    await rig.clock.advance(20_000);
    await inStep(t, rig, stored(2), stored(3));
  });
  test(`heals when events were lost: ${what}`, async (t) => {
    const rig = await rigOf(t, 2, 3);
    rig.kernel.loses = 'told';
    happens(rig);
    await rig.clock.advance(WITHIN_MS);
    await inStep(t, rig, stored(2), stored(3));
  });
}

test('a device deleted is one repair, whatever stood on it', async (t) => {
  const rig = await rigOf(t, 2, 3, 4);
  rig.kernel.tables.deleteLink(DEV);
  await rig.clock.advance(WITHIN_MS);
  t.is(rig.reconciler.counters.repairs, 2);
  t.is(rig.warnings.length, 1);
});

test("a host full of others' objects is left as it is", async (t) => {
  const kernel = hostKernel();
  const foreign = { protocol: 16 };
  const set = (object: KernelObject, marks = foreign): void => void kernel.tables.set('set', object, marks);
  set({ kind: 'nexthop', id: 7, dev: 'eth0', gateway: ip('192.168.77.1'), onlink: false });
  set({ kind: 'nexthop', id: 0x54000007, dev: 'eth0', gateway: ip('192.168.77.1'), onlink: false });
  set(route(50, { dev: 'eth0', gateway: ip('192.168.77.1'), onlink: false }));
  set(route(51, { dev: 'eth0', gateway: ip('192.168.77.1'), onlink: false }), { protocol: 3 });
  set({ ...neighbour(2), dev: 'eth0' });
  kernel.tables.addRoute({
    ...PLAIN,
    dst: prefix('10.9.0.0/16'),
    dev: 'eth0',
    gateway: ip('192.168.77.1'),
    protocol: 84,
  });
  const before = JSON.stringify([kernel.tables.routes, [...kernel.tables.nexthops], kernel.tables.neighbours]);
  const rig = await new Rig({ kernel }).with(stored(2));
  t.teardown(() => rig.stop());
  await rig.update(2);
  await rig.clock.advance(130_000);
  t.is(JSON.stringify([kernel.tables.routes, [...kernel.tables.nexthops], kernel.tables.neighbours]), before);
});

test("flannel's leftovers are adopted: what is right is not written, nothing is deleted that a peer needs", async (t) => {
  const rig = new Rig();
  t.teardown(() => rig.stop());
  for (const object of rig.backend.device({ ...OWN, subnet6: undefined }, MACS)) {
    rig.kernel.tables.set('set', object);
  }
  for (const n of [2, 3, 9]) {
    rig.kernel.tables.set('set', neighbour(n));
    rig.kernel.tables.set('set', fdb(n));
    rig.kernel.tables.set('set', route(n), { protocol: 3 });
  }
  await rig.start();
  t.deepEqual(rig.kernel.operations, []);
  rig.reconciler.update(changes(stored(2), stored(3)), true);
  await rig.clock.advance(0);
  const verbs = rig.kernel.operations.map((text) => text.split(' ').slice(1, 4).join(' '));
  t.deepEqual(verbs.filter((verb) => verb.includes('del')).sort(), [
    `fdb del ${fdb(9).mac}`,
    `neighbour del 10.5.9.0`,
    `route del 10.5.9.0/24`,
  ]);
  t.deepEqual(
    verbs.filter((verb) => verb.startsWith('route replace')),
    ['route replace 10.5.2.0/24', 'route replace 10.5.3.0/24'],
  );
  t.is(verbs.length, 7);
  await inStep(t, rig, stored(2), stored(3));
});

test('a device that is taken over with another MAC has its neighbours again at once, told or not', async (t) => {
  const kernel = hostKernel();
  const rig = new Rig({ kernel });
  t.teardown(() => rig.stop());
  const old = new Map([[DEV, mac('02:00:00:00:00:99')]]);
  for (const object of rig.backend.device(undefined, old)) kernel.tables.set('set', object);
  kernel.tables.set('set', neighbour(2));
  kernel.loses = 'silently';
  await rig.start();
  rig.reconciler.update(changes(stored(2)), true);
  await rig.clock.advance(WITHIN_MS);
  await inStep(t, rig, stored(2));
  t.is(rig.reconciler.counters.repairs, 0);
});

test('a lease that comes, changes and goes before the next pass leaves nothing', async (t) => {
  const rig = await rigOf(t, 2);
  rig.reconciler.update(changes(stored(3), stored(3, { publicIp: ip('192.168.77.99') }), 3), false);
  await rig.clock.advance(0);
  t.deepEqual(rig.kernel.operations, []);
  await inStep(t, rig, stored(2));
});

test('a subnet and a MAC that pass to other leases within one batch end with the new holders', async (t) => {
  const rig = await rigOf(t, 2, 3, 4);
  const moved = stored(3, { backendData: stored(2).backendData, publicIp: ip('192.168.77.2') });
  rig.reconciler.update(
    [...changes(moved), ...changes(2), ...changes(stored(4, { publicIp: ip('192.168.77.3') }))],
    false,
  );
  await rig.clock.advance(0);
  t.false(rig.kernel.operations.some((text) => text.startsWith('bridge fdb del 02:00:00:00:04:02')));
  await inStep(t, rig, moved, stored(4, { publicIp: ip('192.168.77.3') }));
  await rig.update(3, stored(2));
  await inStep(t, rig, stored(2), stored(4, { publicIp: ip('192.168.77.3') }));
});

test('a refused operation fails alone, is shown, tried again with back-off, and forgotten when it is done', async (t) => {
  const rig = await rigOf(t, 2);
  rig.kernel.refuses = ({ object }) => (object.kind === 'fdb' ? refusal('ENOSPC', 'full') : undefined);
  const startedAt = rig.clock.now();
  await rig.update(stored(3));
  t.is(rig.kernel.tables.routes.filter(({ dst }) => dst === '10.5.3.0/24').length, 1);
  const first = rig.reconciler.step();
  t.deepEqual(first.missing, [{ object: keyOf(fdb(3)), since: startedAt, attempts: 1, error: 'ENOSPC: full' }]);
  t.false(first.inStep);
  await rig.clock.advance(120_000);
  const attempts = rig.reconciler.step().missing[0]?.attempts ?? 0;
  t.true(attempts > 8 && attempts < 20, String(attempts));
  t.is(rig.reconciler.counters.repairs, 0, 'nobody else is blamed');
  t.is(rig.warnings.length, 1, 'one warning, however often it is tried');
  await rig.update(stored(4));
  t.is(rig.warnings.length, 2, 'another one for another object');
  await rig.update(4);
  rig.kernel.refuses = () => undefined;
  await rig.clock.advance(40_000);
  await inStep(t, rig, stored(2), stored(3));
});

test('a refusal is forgotten when the peer leaves, and when the object comes right by itself', async (t) => {
  const rig = await rigOf(t, 2);
  rig.kernel.refuses = ({ verb, object }) =>
    object.kind === 'fdb' && verb !== 'delete' ? refusal('ENOSPC') : undefined;
  await rig.update(stored(3), stored(4));
  await rig.update(3);
  rig.kernel.tables.set('set', fdb(4));
  await rig.clock.advance(WITHIN_MS);
  await inStep(t, rig, stored(2), stored(4));
});

test('a change of what is wanted does not wait for the back-off', async (t) => {
  const rig = await rigOf(t);
  rig.kernel.refuses = ({ object }) => (object.kind === 'fdb' ? refusal('ENOSPC') : undefined);
  await rig.update(stored(3));
  await rig.clock.advance(60_000);
  rig.kernel.refuses = () => undefined;
  const other = stored(3, { publicIp: ip('192.168.77.99') });
  await rig.update(other);
  await inStep(t, rig, other);
});

test('while the device is refused, it alone is missing, and nothing on it is tried', async (t) => {
  const rig = await rigOf(t, 2, 3);
  rig.kernel.refuses = ({ object }) => (object.kind === 'link' ? refusal('EADDRINUSE') : undefined);
  rig.kernel.tables.deleteLink(DEV);
  await rig.update(stored(4));
  await rig.clock.advance(100_000);
  t.deepEqual(
    rig.reconciler.step().missing.map(({ object, error }) => [object, error]),
    [[`link ${DEV}`, 'EADDRINUSE']],
  );
  t.true(
    rig.kernel.operations.every((text) => text.startsWith('ip link')),
    rig.kernel.operations.join('\n'),
  );
  t.true(rig.kernel.calls.length < 400, String(rig.kernel.calls.length));
  rig.kernel.refuses = () => undefined;
  await rig.clock.advance(40_000);
  await inStep(t, rig, stored(2), stored(3), stored(4));
});

test('a device that can not have its MTU still gets its peers', async (t) => {
  const rig = await rigOf(t, 2);
  rig.kernel.refuses = ({ object }) => (object.kind === 'link' ? refusal('EINVAL') : undefined);
  rig.kernel.tables.changeLink(DEV, { mtuBytes: 1280 });
  await rig.clock.advance(WITHIN_MS);
  await rig.update(stored(3));
  await rig.clock.advance(100);
  t.deepEqual((await rig.left([stored(2), stored(3)])).length, 1);
});

test('a failure of the whole kernel ends neither the loop nor any knowledge', async (t) => {
  for (const call of ['apply', 'routes', 'nexthops', 'links'] as const) {
    const rig = await rigOf(t, 2, 3);
    rig.kernel.failNext(call, call, call);
    if (call !== 'apply') rig.kernel.tables.changeLink(DEV, { mtuBytes: 1280 });
    await rig.update(3, stored(4));
    const first = rig.reconciler.step();
    t.is(first.missing[0]?.object, 'the kernel', call);
    t.false(first.inStep);
    await rig.clock.advance(10_000);
    await inStep(t, rig, stored(2), stored(4));
    t.is(rig.ended, undefined);
    if (call === 'apply') t.is(rig.reconciler.counters.repairs, 0);
    rig.kernel.tables.deleteLink(DEV);
    await rig.clock.advance(WITHIN_MS);
    await inStep(t, rig, stored(2), stored(4));
  }
});

for (const call of ['routes', 'nexthops', 'nexthopIds', 'links'] as const) {
  test(`while ${call} can not be read, peers come at once and nothing goes`, async (t) => {
    const rig = await rigOf(t, 2, 3);
    rig.kernel.tables.set('set', route(77));
    rig.kernel.failNext(...Array.from({ length: 200 }, () => call));
    rig.reconciler.setNetworks([NETWORK]);
    // Where no id is unknown, the ids are not asked for.
    rig.kernel.tables.deleteNexthop(idOf(rig, 3));
    for (const n of [4, 5, 6]) {
      await rig.update(stored(n));
      t.true(
        rig.kernel.tables.routes.some(({ dst }) => dst === `10.5.${n}.0/24`),
        `peer ${n}`,
      );
      t.is(rig.reconciler.step().missing[0]?.object, 'the kernel');
      t.false(rig.reconciler.step().inStep);
      await rig.clock.advance(10_000);
    }
    await rig.update(2);
    await rig.clock.advance(60_000);
    t.false(
      rig.kernel.operations.some((text) => text.includes(' del ')),
      rig.kernel.operations.join('\n'),
    );
    t.true(rig.kernel.calls.filter((one) => one === call).length < 20, 'reading is tried ever less often');
    rig.kernel.recover();
    await rig.clock.advance(40_000);
    await inStep(t, rig, stored(3), stored(4), stored(5), stored(6));
  });
}

test('a slow reading leaves the process most of its time', async (t) => {
  const rig = await rigOf(t, 2);
  const nextReadings = async (): Promise<number> => {
    rig.kernel.forget();
    for (let i = 0; i < 60; i++) {
      const via = { dev: 'eth0', gateway: ip('192.168.77.1') };
      rig.kernel.tables.addRoute({ ...PLAIN, ...via, dst: prefix('10.5.2.0/24'), metric: 5 });
      await rig.clock.advance(100);
    }
    return rig.kernel.calls.filter((call) => call === 'routes').length;
  };
  t.true((await nextReadings()) > 40);
  rig.kernel.takes = (call) => rig.clock.sleep(call === 'routes' ? 1_000 : 0, new AbortController().signal);
  t.true((await nextReadings()) < 5);
});

test('somebody who keeps changing an object is answered ever more slowly, and named', async (t) => {
  const rig = await rigOf(t, 2, 3);
  const theirs = route(2, { dev: 'eth0', gateway: ip('192.168.77.1'), onlink: false });
  let isFighting = true;
  const strike = (): void => void rig.kernel.tables.set('set', theirs, { protocol: 16 });
  rig.kernel.refuses = () => {
    if (isFighting) setImmediate(strike);
    return undefined;
  };
  strike();
  await rig.clock.advance(60_000);
  const { repairs } = rig.reconciler.counters;
  t.true(repairs > 5 && repairs <= 15, String(repairs));
  t.true(rig.kernel.calls.length < 120, String(rig.kernel.calls.length));
  const { missing, inStep: isInStep } = rig.reconciler.step();
  t.false(isInStep);
  t.deepEqual(
    missing.map(({ object }) => object),
    ['route 10.5.2.0/24'],
  );
  t.true(missing[0]?.error.includes('192.168.77.1'), missing[0]?.error);
  const { length } = rig.warnings;
  t.true(length <= 8, String(length));
  await rig.clock.advance(1_200_000);
  t.is(rig.warnings.length, length, 'the fight goes on without more warnings');
  isFighting = false;
  await rig.clock.advance(40_000);
  await inStep(t, rig, stored(2), stored(3));
});

test('a device that flaps does not make fights of what stands on it', async (t) => {
  const rig = await rigOf(t, 2, 3);
  for (let i = 0; i < 8; i++) {
    rig.kernel.tables.changeLink(DEV, { up: false });
    await rig.clock.advance(3_000);
    t.deepEqual(await rig.left([stored(2), stored(3)]), [], `time ${i + 1}`);
  }
  await inStep(t, rig, stored(2), stored(3));
});

test('a nexthop id that others use is left to them', async (t) => {
  const first = await rigOf(t, 2);
  const id = idOf(first, 2);
  const theirs = { kind: 'nexthop', id, dev: 'eth0', gateway: ip('192.168.77.1'), onlink: false } as const;
  // It is there already, unseen: it came before the monitor could tell.
  const kernel = hostKernel();
  const rig = await new Rig({ kernel }).start();
  t.teardown(() => rig.stop());
  await rig.clock.advance(WITHIN_MS);
  kernel.loses = 'silently';
  kernel.tables.set('set', theirs, { protocol: 16 });
  kernel.loses = 'none';
  rig.reconciler.update(changes(stored(2)), true);
  await rig.clock.advance(WITHIN_MS);
  await inStep(t, rig, stored(2));
  t.not(idOf(rig, 2), id);
  // It takes the place of ours.
  const taken = idOf(rig, 2);
  kernel.tables.set('set', { ...theirs, id: taken }, { protocol: 16 });
  await rig.clock.advance(WITHIN_MS);
  await inStep(t, rig, stored(2));
  kernel.tables.blackholeNexthop(idOf(rig, 2));
  await rig.clock.advance(WITHIN_MS);
  await inStep(t, rig, stored(2));
  t.is(kernel.tables.nexthops.get(id)?.protocol, 16);
  t.is(kernel.tables.nexthops.get(taken)?.protocol, 16);
  t.is(kernel.tables.nexthops.size, 4);
});

test('a peer that comes when its id has been in use by others for long gets another at once', async (t) => {
  const id = idOf(await rigOf(t, 2), 2);
  const rig = await rigOf(t, 3);
  const theirs = { kind: 'nexthop', dev: 'eth0', gateway: ip('192.168.77.1'), onlink: false } as const;
  for (const one of [id, id + 1]) rig.kernel.tables.set('set', { ...theirs, id: one }, { protocol: 16 });
  await rig.clock.advance(130_000);
  rig.kernel.forget();
  await rig.update(stored(2));
  t.deepEqual(rig.kernel.calls, ['apply']);
  t.is(idOf(rig, 2), id + 2);
  t.is(rig.kernel.tables.nexthops.get(id)?.protocol, 16);
  await inStep(t, rig, stored(2), stored(3));
  await rig.update(2);
  await inStep(t, rig, stored(3));
});

test('a kernel without nexthop objects gets plain routes', async (t) => {
  const kernel = hostKernel();
  kernel.hasNexthops = false;
  const rig = await new Rig({ kernel }).with(stored(2), stored(3));
  t.teardown(() => rig.stop());
  t.deepEqual([...kernel.tables.nexthops], []);
  await inStep(t, rig, stored(2), stored(3));
});

test('nexthop objects switched off: routes become plain in place, and the objects go', async (t) => {
  const before = await rigOf(t, 2, 3);
  await before.stop();
  const { kernel } = before;
  const rig = await new Rig({ kernel, nexthopObjects: false }).start();
  t.teardown(() => rig.stop());
  rig.reconciler.update(changes(stored(2), stored(3)), true);
  await rig.clock.advance(WITHIN_MS);
  t.is(kernel.tables.nexthops.size, 0);
  t.false(kernel.operations.some((text) => text.startsWith('ip route del')));
  await inStep(t, rig, stored(2), stored(3));
});

test('DirectRouting follows which peers are neighbours on the underlay', async (t) => {
  const rig = await new Rig({ config: { DirectRouting: true } }).with(
    stored(2),
    stored(3, { publicIp: ip('203.0.113.3') }),
  );
  t.teardown(() => rig.stop());
  const far = stored(3, { publicIp: ip('203.0.113.3') });
  const near =
    (...ips: readonly string[]) =>
    (one: string): boolean =>
      ips.includes(one);
  t.deepEqual(await rig.left([stored(2), far], near('192.168.77.2')), []);
  // A router comes between.
  const between = { ...PLAIN, dst: prefix('192.168.77.2/32'), dev: 'eth0', gateway: ip('192.168.77.1') };
  rig.kernel.tables.addRoute({ ...between, protocol: 4 });
  await rig.clock.advance(WITHIN_MS);
  t.deepEqual(await rig.left([stored(2), far]), []);
  rig.kernel.tables.removeRoutes(({ dst }) => dst === '192.168.77.2/32');
  await rig.clock.advance(WITHIN_MS);
  t.deepEqual(await rig.left([stored(2), far], near('192.168.77.2')), []);
  t.true(rig.reconciler.step().inStep);
  // One more neighbour asks for its own address only.
  rig.kernel.forget();
  await rig.update(stored(4));
  t.deepEqual(rig.kernel.calls, ['lookup', 'apply']);
  t.deepEqual(await rig.left([stored(2), far, stored(4)], near('192.168.77.2', '192.168.77.4')), []);
});

test('a lookup that fails loses no peer', async (t) => {
  const rig = await new Rig({ config: { DirectRouting: true } }).with();
  t.teardown(() => rig.stop());
  rig.kernel.failNext('lookup', 'lookup');
  await rig.update(stored(2));
  await rig.clock.advance(10_000);
  t.deepEqual(await rig.left([stored(2)], () => true), []);
});

test('a peer that is a neighbour on another device is no neighbour on the underlay', async (t) => {
  const rig = await new Rig({ config: { DirectRouting: true } }).with();
  t.teardown(() => rig.stop());
  rig.kernel.tables.addDevice('eth1');
  rig.kernel.tables.set('set', { kind: 'address', dev: 'eth1', ip: ip('203.0.113.1'), length: 24 });
  const peer = stored(2, { publicIp: ip('203.0.113.2') });
  await rig.update(peer);
  await inStep(t, rig, peer);
});

test('host-gw: routes that go with the underlay come back with it', async (t) => {
  const rig = await new Rig({ backend: backendOf(createHostGw({}, V4, UNDERLAY)) }).with(gw(2), gw(3));
  t.teardown(() => rig.stop());
  await inStep(t, rig, gw(2), gw(3));
  rig.kernel.tables.changeLink('eth0', { up: false });
  await rig.clock.advance(5_000);
  t.deepEqual(
    rig.reconciler.step().missing.map(({ error }) => error.split(':')[0]),
    ['ENETDOWN', 'ENETDOWN'],
  );
  rig.kernel.tables.changeLink('eth0', { up: true });
  await rig.clock.advance(WITHIN_MS);
  await inStep(t, rig, gw(2), gw(3));
});

test('host-gw: an underlay that flaps, or loses its address, is nobody who fights us', async (t) => {
  const rig = await new Rig({ backend: backendOf(createHostGw({}, V4, UNDERLAY)) }).with(gw(2), gw(3));
  t.teardown(() => rig.stop());
  const address = { kind: 'address', dev: 'eth0', ip: ip('192.168.77.10'), length: 24 } as const;
  for (let times = 0; times < 10; times++) {
    rig.kernel.tables.changeLink('eth0', { up: false });
    await rig.clock.advance(3_000);
    rig.kernel.tables.changeLink('eth0', { up: true });
    await rig.clock.advance(WITHIN_MS);
    await inStep(t, rig, gw(2), gw(3));
    rig.kernel.tables.delete(address);
    await rig.clock.advance(60_000);
    rig.kernel.tables.set('set', address);
    await rig.clock.advance(WITHIN_MS);
    await inStep(t, rig, gw(2), gw(3));
  }
  t.deepEqual(
    rig.warnings.filter(({ message }) => /somebody/.test(message)),
    [],
  );
});

/** The underlay as it is now, and all that follows from it. */
function moved(rig: Rig, change: Partial<Underlay>, config: JsonObject = {}): Promise<void> {
  const underlay = { ...UNDERLAY, ...change, hostAddresses: new Set([change.ip ?? UNDERLAY.ip ?? ip('192.0.2.1')]) };
  const isHostGw = rig.backend.type === 'host-gw';
  const backend = backendOf(isHostGw ? createHostGw({}, V4, underlay) : createVxlan(config, V4, underlay));
  return rig.reconciler.moveTo({ backend, underlay: underlay.dev, device: backend.device(OWN, MACS) });
}

test('an underlay with another address and MTU: the device is changed, and nothing else is written', async (t) => {
  const rig = await rigOf(t, 2, 3);
  const address = ip('192.168.77.99');
  rig.kernel.tables.set('set', { kind: 'address', dev: 'eth0', ip: address, length: 24 });
  await rig.clock.advance(1_000);
  rig.kernel.forget();
  const index = rig.kernel.tables.links.get(DEV)?.index;
  await moved(rig, { ip: address, publicIp: address, mtuBytes: 1400 });
  const found = rig.kernel.tables.links.get(DEV);
  t.like(found, { index, mtuBytes: 1350, vxlan: { local: address } });
  await rig.clock.advance(10_000);
  t.deepEqual(
    rig.kernel.operations.map((one) => one.slice(0, 18)),
    ['ip link replace fl'],
  );
  t.true(rig.reconciler.step().inStep);
  t.is(rig.reconciler.counters.repairs, 0);
});

test('an underlay that was renamed: the device stays though it can not be changed, and peers are followed', async (t) => {
  const rig = await rigOf(t, 2);
  const index = rig.kernel.tables.links.get(DEV)?.index;
  rig.kernel.tables.renameLink('eth0', 'lan0');
  await rig.clock.advance(2_000);
  await rig.update(stored(3));
  await rig.clock.advance(2_000);
  t.true(rig.kernel.tables.routes.some(({ dst }) => dst === '10.5.3.0/24'));
  t.deepEqual(
    rig.reconciler.step().missing.map(({ object }) => object),
    ['link flannel.1'],
  );
  await moved(rig, { dev: 'lan0' });
  await rig.clock.advance(WITHIN_MS);
  t.deepEqual(rig.reconciler.step().missing, []);
  t.true(rig.reconciler.step().inStep);
  t.is(rig.kernel.tables.links.get(DEV)?.index, index);
});

test('an underlay that is deleted takes the device along: made anew on the next one, with its MAC and all peers', async (t) => {
  const rig = await rigOf(t, 2, 3);
  rig.kernel.tables.addDevice('eth1');
  rig.kernel.tables.set('set', { kind: 'address', dev: 'eth1', ip: ip('198.51.100.7'), length: 24 });
  rig.kernel.tables.deleteLink('eth0');
  await rig.clock.advance(20_000);
  t.is(rig.kernel.tables.links.get(DEV), undefined);
  await moved(rig, { dev: 'eth1', ip: ip('198.51.100.7'), publicIp: ip('198.51.100.7') });
  await rig.clock.advance(WITHIN_MS);
  t.like(rig.kernel.tables.links.get(DEV), { mac: MACS.get(DEV), vxlan: { lower: 'eth1' } });
  t.is(rig.kernel.tables.routes.filter(({ dst }) => /^10\.5\.[23]\./.test(dst)).length, 2);
  t.true(rig.reconciler.step().inStep);
});

test('host-gw: routes move to another underlay in place', async (t) => {
  const rig = await new Rig({ backend: backendOf(createHostGw({}, V4, UNDERLAY)) }).with(gw(2), gw(3));
  t.teardown(() => rig.stop());
  rig.kernel.tables.addDevice('eth1');
  rig.kernel.tables.delete({ kind: 'address', dev: 'eth0', ip: ip('192.168.77.10'), length: 24 });
  rig.kernel.tables.set('set', { kind: 'address', dev: 'eth1', ip: ip('192.168.77.10'), length: 24 });
  await moved(rig, { dev: 'eth1' });
  await rig.clock.advance(WITHIN_MS);
  t.deepEqual(
    rig.kernel.tables.routes.filter(({ dst }) => dst.startsWith('10.5.')).map(({ dev }) => dev),
    ['eth1', 'eth1'],
  );
  t.true(rig.reconciler.step().inStep);
});

test('DirectRouting: who is a neighbour is asked of the new underlay', async (t) => {
  const rig = await new Rig({ config: { DirectRouting: true } }).with(stored(2));
  t.teardown(() => rig.stop());
  const device = (): string | undefined =>
    rig.kernel.tables.routes.find(({ dst }) => dst === '10.5.2.0/24')?.dev ?? undefined;
  t.is(device(), 'eth0');
  rig.kernel.tables.addDevice('eth1');
  rig.kernel.tables.set('set', { kind: 'address', dev: 'eth1', ip: ip('198.51.100.7'), length: 24 });
  const change = { dev: 'eth1', ip: ip('198.51.100.7'), publicIp: ip('198.51.100.7') };
  await moved(rig, change, { DirectRouting: true });
  await rig.clock.advance(WITHIN_MS);
  t.is(device(), DEV);
});

function gw(n: number): ReturnType<typeof stored> {
  return stored(n, { backendType: 'host-gw' });
}

test("others' routes that a peer's takes the place of are named, whatever their form, before and after the start", async (t) => {
  const bare = { ...PLAIN, dev: undefined, gateway: undefined };
  const add = (rig: Rig): void => {
    rig.kernel.tables.addRoute({ ...bare, dst: prefix('10.5.2.0/24'), type: 6 });
    rig.kernel.tables.addRoute({ ...bare, dst: prefix('10.5.3.0/24'), dev: 'eth0', protocol: 2 });
    const via = { dev: 'eth0', gateway: ip('192.168.77.1') };
    rig.kernel.tables.addRoute({ ...PLAIN, ...via, dst: prefix('10.5.4.0/24'), protocol: 186 });
    rig.kernel.tables.addRoute({ ...bare, dst: prefix('10.5.99.0/24'), type: 6 });
  };
  for (const isEarly of [true, false]) {
    const rig = new Rig();
    t.teardown(() => rig.stop());
    if (isEarly) add(rig);
    await rig.start();
    if (!isEarly) add(rig);
    rig.reconciler.update(changes(stored(2), stored(3), stored(4), stored(5)), true);
    await rig.clock.advance(WITHIN_MS);
    await inStep(t, rig, stored(2), stored(3), stored(4), stored(5));
    t.is(rig.warnings.length, 1);
    const named = rig.warnings.flatMap(({ operations }) => (Array.isArray(operations) ? operations.map(String) : []));
    t.deepEqual(
      named.map((text) => [text.split(' ')[3], text.split('# ')[1]]),
      [
        ['10.5.2.0/24', 'was blackhole, protocol 3'],
        ['10.5.3.0/24', 'was dev eth0, protocol 2'],
        ['10.5.4.0/24', 'was via 192.168.77.1 dev eth0, protocol 186'],
      ],
    );
    t.is(rig.reconciler.counters.repairs, 0);
  }
});

test("events of other people's devices, neighbours and routes read nothing", async (t) => {
  const rig = await rigOf(t, 2);
  rig.kernel.tables.addDevice('veth0');
  rig.kernel.tables.set('set', { kind: 'address', dev: 'veth0', ip: ip('172.17.0.1'), length: 16 });
  rig.kernel.tables.set('set', { ...neighbour(9), dev: 'eth0' });
  rig.kernel.tables.set('set', neighbour(9), { permanent: false });
  rig.kernel.tables.addRoute({
    ...PLAIN,
    dst: prefix('10.99.0.0/24'),
    dev: 'eth0',
    gateway: ip('192.168.77.1'),
    protocol: 16,
  });
  await rig.clock.advance(5_000);
  t.deepEqual(rig.kernel.calls, []);
});

test('doubts read only the tables that they are about', async (t) => {
  const rig = await rigOf(t, 2);
  rig.kernel.tables.delete(fdb(2));
  await rig.clock.advance(WITHIN_MS);
  t.deepEqual(rig.kernel.calls, ['links', 'fdb', 'apply']);
});

test('a storm of events costs few reads', async (t) => {
  const rig = await rigOf(t, 2);
  for (let i = 0; i < 500; i++) {
    rig.kernel.tables.addRoute({
      ...PLAIN,
      dst: prefix('10.5.2.0/24'),
      metric: 5,
      dev: 'eth0',
      gateway: ip('192.168.77.1'),
    });
    await rig.clock.advance(1);
  }
  t.true(rig.kernel.calls.length < 40, String(rig.kernel.calls.length));
});

test('a peer does not wait for the next reading', async (t) => {
  const rig = await rigOf(t, 2);
  for (let n = 3; n < 9; n++) {
    rig.kernel.tables.delete(fdb(2));
    await rig.clock.advance(1);
    await rig.update(stored(n));
    t.true(rig.kernel.tables.routes.some(({ dst }) => dst === `10.5.${n}.0/24`));
  }
  await rig.clock.advance(WITHIN_MS);
  await inStep(t, rig, ...[2, 3, 4, 5, 6, 7, 8].map((n) => stored(n)));
});

test('doubts that arrive while reading are looked at afterwards', async (t) => {
  const rig = await rigOf(t, 2, 3);
  let isDone = false;
  rig.kernel.meanwhile = (call) => {
    if (call !== 'routes' || isDone) return;
    isDone = true;
    rig.kernel.tables.removeRoutes(({ dst }) => dst === '10.5.3.0/24');
    rig.kernel.tables.set('set', fdb(3, { dst: ip('192.168.77.99') }));
  };
  rig.kernel.tables.removeRoutes(({ dst }) => dst === '10.5.2.0/24');
  await rig.clock.advance(WITHIN_MS);
  t.true(isDone);
  await inStep(t, rig, stored(2), stored(3));
});

test('what others do while a batch is on its way is put right after it', async (t) => {
  const rig = await rigOf(t, 2);
  let isDone = false;
  rig.kernel.meanwhile = (call) => {
    if (call !== 'apply' || isDone || rig.kernel.operations.length < 3) return;
    isDone = true;
    rig.kernel.tables.delete(fdb(3));
    rig.kernel.tables.delete(neighbour(2));
  };
  await rig.update(stored(3));
  await rig.clock.advance(WITHIN_MS);
  t.true(isDone);
  await inStep(t, rig, stored(2), stored(3));
});

test('it is in step once the peers are known, not before, and not while one is on its way', async (t) => {
  const rig = await new Rig().start();
  t.teardown(() => rig.stop());
  await rig.clock.advance(5_000);
  t.false(rig.reconciler.step().inStep);
  rig.reconciler.update([], false);
  await rig.clock.advance(0);
  t.true(rig.reconciler.step().inStep);
  const before = rig.reconciler.step().since;
  await rig.clock.advance(5_000);
  t.is(rig.reconciler.step().since, before);
  let during: boolean | undefined;
  rig.kernel.meanwhile = () => {
    during ??= rig.reconciler.step().inStep;
  };
  rig.reconciler.update(changes(stored(2)), false);
  t.false(rig.reconciler.step().inStep);
  await rig.clock.advance(0);
  t.false(during);
  t.is(rig.reconciler.step().since, rig.clock.now());
});

test('networks that were widened make strays there ours', async (t) => {
  const rig = await rigOf(t, 2);
  rig.kernel.tables.set('set', route(9, { dst: prefix('10.6.9.0/24') }));
  await rig.clock.advance(WITHIN_MS);
  t.is(rig.kernel.operations.length, 0);
  rig.reconciler.setNetworks([NETWORK, prefix('10.6.0.0/16')]);
  await rig.clock.advance(0);
  t.deepEqual(
    rig.kernel.operations.map((text) => text.split(' ').slice(0, 4).join(' ')),
    ['ip route del 10.6.9.0/24'],
  );
});

test('a device that is wanted otherwise while running is changed', async (t) => {
  const rig = await rigOf(t, 2);
  const [link] = rig.backend.device(undefined, MACS);
  const moved: Link[] = link?.kind === 'link' ? [{ ...link, mtuBytes: 1300 }] : [];
  await Promise.all([rig.reconciler.setDevice(moved), rig.update(stored(3))]);
  await rig.clock.advance(WITHIN_MS);
  t.is(rig.reconciler.devices()[0]?.found?.mtuBytes, 1300);
  t.true(rig.reconciler.step().inStep);
  t.is(rig.reconciler.counters.repairs, 0);
});

test('the loop ends with its signal', async (t) => {
  const rig = await rigOf(t, 2);
  await rig.stop();
  t.is(rig.ended instanceof Error && rig.ended.message, 'stopped');
});

for (const call of ['lookup', 'fdb', 'apply'] as const) {
  test(`nothing is begun after the signal, aborted during ${call}, and the loop ends last`, async (t) => {
    const rig = await new Rig({ config: { DirectRouting: true } }).with(stored(2), stored(3));
    let callsAtAbort: number | undefined;
    rig.kernel.meanwhile = (now) => {
      if (now !== call || callsAtAbort !== undefined) return;
      callsAtAbort = rig.kernel.calls.length;
      t.is(rig.ended, undefined);
      rig.abort();
    };
    rig.kernel.tables.deleteLink(DEV);
    if (call === 'lookup') rig.reconciler.update(changes(stored(4)), false);
    await rig.clock.advance(WITHIN_MS);
    t.is(rig.ended instanceof Error && rig.ended.message, 'stopped');
    const later = rig.kernel.calls.slice(callsAtAbort);
    t.false(later.includes('apply'), later.join(' '));
    await t.throwsAsync(rig.reconciler.setDevice([]));
    t.false(rig.kernel.calls.slice(callsAtAbort).includes('apply'));
    t.deepEqual(
      rig.warnings.filter(({ message }) => message.startsWith('the kernel could not')),
      [],
    );
  });
}

test('a peer costs the same among many', async (t) => {
  const many = Array.from({ length: 3_000 }, (_, i) => {
    const subnet = prefix(`10.5.${i >> 4}.${(i & 15) * 16}/28`);
    const octets = [i >> 8, i & 255].map((octet) => octet.toString(16).padStart(2, '0')).join(':');
    const change = {
      subnet,
      publicIp: ip(`192.168.${i >> 8}.${i & 255}`),
      backendData: `{"VtepMAC":"02:00:00:05:${octets}"}`,
    };
    return { ...stored(1, change), key: `/n/subnets/${subnet}` };
  });
  const rig = await new Rig().start();
  t.teardown(() => rig.stop());
  rig.reconciler.update(changes(...many), true);
  await rig.clock.advance(0);
  t.is(rig.reconciler.counters.operations, 3_000 * 4 + 2);
  rig.kernel.forget();
  const [one] = many;
  if (!one) return;
  rig.reconciler.update([{ key: one.key, before: one, after: undefined }], false);
  await rig.clock.advance(0);
  t.deepEqual(rig.kernel.calls, ['apply']);
  t.is(rig.kernel.operations.length, 4);
  t.deepEqual(await rig.left(many.slice(1)), []);
});

test("a tap that another process's device keeps out is refused until that goes, and what stands on it waits", async (t) => {
  const kernel = hostKernel();
  const tun = { isTap: true, isPersistent: false, isMultiQueue: false };
  kernel.tables.addDevice(DEV, { mac: mac('02:00:00:00:00:99'), type: 'tun', tun });
  const rig = await new Rig({ kernel, config: { Mode: 'user' } }).with(stored(2));
  t.teardown(() => rig.stop());
  t.deepEqual(
    rig.reconciler.step().missing.map(({ object, error }) => `${object}: ${error}`),
    [`link ${DEV}: EBUSY: ${DEV} is held by another process: stop it`],
  );
  t.is(kernel.tables.links.get(DEV)?.mac, mac('02:00:00:00:00:99'), 'it is left alone');
  kernel.tables.deleteLink(DEV);
  await rig.clock.advance(WITHIN_MS);
  await inStep(t, rig, stored(2));
});

test('from the kernel to user space and back: nothing of the other mode is left', async (t) => {
  const kernel = hostKernel();
  for (const Mode of ['kernel', 'user', 'kernel']) {
    const rig = await new Rig({ kernel, config: { Mode } }).with(stored(2), stored(3));
    await inStep(t, rig, stored(2), stored(3));
    t.is(kernel.tables.links.get(DEV)?.type, Mode === 'user' ? 'tun' : 'vxlan');
    t.deepEqual([kernel.tables.fdb.length, kernel.tables.nexthops.size], Mode === 'user' ? [0, 0] : [2, 2]);
    await rig.stop();
  }
});
