import test from 'ava';
import { KernelView, KINDS } from '../../../backends/kernel-view.ts';
import { type KernelObject, keyOf, type Observed, type Route, YIELDING_METRIC } from '../../../backends/state.ts';
import type { FakeKernel } from '../../fakes/kernel.ts';
import { DEV, hostKernel } from './rig.ts';
import { ip, mac, prefix } from './values.ts';

const PLAIN = { metric: 0, protocol: 84, onlink: true, nexthopId: undefined, type: 1, dev: DEV } as const;
const NEIGHBOUR = { kind: 'neighbour', dev: DEV, ip: ip('10.5.2.0'), mac: mac('02:00:00:00:04:02') } as const;
const FDB = { kind: 'fdb', dev: DEV, mac: mac('02:00:00:00:04:02'), dst: ip('192.168.77.2') } as const;
const NEXTHOP = { kind: 'nexthop', id: 0x54000001, dev: DEV, gateway: ip('10.5.2.0'), onlink: true } as const;
const DST = prefix('10.5.2.0/24');
const HOP = { dev: DEV, gateway: ip('10.5.2.0'), onlink: true, nexthopId: NEXTHOP.id };
const ROUTE: Route = { kind: 'route', dst: DST, ...HOP };

function host(): FakeKernel {
  const kernel = hostKernel();
  const vxlan = { vni: 1, port: 8472, local: ip('192.168.77.10'), lower: 'eth0', learning: false, gbp: false };
  kernel.tables.addDevice(DEV, { mac: mac('02:00:00:00:00:10'), mtuBytes: 1450, type: 'vxlan', vxlan });
  return kernel;
}

async function seen(kernel: FakeKernel): Promise<KernelView> {
  const view = new KernelView(kernel, [DEV], [4, 6]);
  await view.read(KINDS);
  return view;
}

function find(view: KernelView, key: string): Observed | undefined {
  return view.objects.get(key);
}

test('it sees our devices and what is on them, and routes with a gateway', async (t) => {
  const kernel = host();
  const address = { kind: 'address', dev: DEV, ip: ip('10.5.1.0'), length: 32 } as const;
  const objects: KernelObject[] = [address, NEIGHBOUR, FDB, NEXTHOP, ROUTE];
  for (const object of objects) t.is(kernel.tables.set('set', object), undefined);
  const view = await seen(kernel);
  const keys = [`link ${DEV}`, ...objects.map(keyOf), 'route 0.0.0.0/0'];
  t.deepEqual([...view.objects.keys()].sort(), keys.sort());
  t.is(find(view, keyOf(ROUTE))?.protocol, 84);
  t.deepEqual([...view.routesOn(NEXTHOP.id)], [keyOf(ROUTE)]);
  t.deepEqual(
    view.nexthops().map(({ object }) => object),
    [NEXTHOP],
  );
  t.true(view.hasNexthops);
});

test('learnt neighbours are nobody’s; learnt FDB entries are seen for what they are', async (t) => {
  const kernel = host();
  kernel.tables.set('set', NEIGHBOUR, { permanent: false });
  kernel.tables.set('set', FDB, { permanent: false });
  const view = await seen(kernel);
  t.is(find(view, keyOf(NEIGHBOUR)), undefined);
  t.is(find(view, keyOf(FDB))?.permanent, false);
});

test('of several IPv4 routes of one key the first counts', async (t) => {
  const kernel = host();
  const dst = prefix('10.5.2.0/24');
  kernel.tables.addRoute({ ...PLAIN, dst, gateway: ip('10.5.2.0') });
  kernel.tables.addRoute({ ...PLAIN, dst, gateway: ip('10.5.3.0') });
  const object = find(await seen(kernel), `route ${dst}`)?.object;
  t.is(object?.kind === 'route' && object.gateway, ip('10.5.2.0'));
  kernel.tables.addRoute({ ...PLAIN, dst, dev: undefined, gateway: undefined, type: 6 }, true);
  t.is(find(await seen(kernel), `route ${dst}`), undefined, 'a blackhole before ours hides it');
});

test('other metrics, routes without gateway elsewhere than on our device and multipath ones are not at our keys', async (t) => {
  const kernel = host();
  kernel.tables.addRoute({ ...PLAIN, dst: prefix('10.5.3.0/24'), gateway: ip('10.5.3.0'), metric: 100 });
  kernel.tables.addRoute({ ...PLAIN, dst: prefix('10.5.4.0/24'), dev: 'eth0', gateway: undefined });
  kernel.tables.addRoute({ ...PLAIN, dst: prefix('10.5.0.0/16'), gateway: undefined, metric: YIELDING_METRIC });
  kernel.tables.addRoute({ ...PLAIN, dst: prefix('10.5.5.0/24'), dev: undefined, gateway: undefined });
  kernel.tables.addRoute({ ...PLAIN, dst: prefix('fd00:5::/64'), gateway: ip('fd00:5::'), metric: 1024 });
  kernel.tables.addRoute({ ...PLAIN, dst: prefix('fd00:6::/64'), gateway: ip('fd00:6::') });
  const view = await seen(kernel);
  t.deepEqual(
    [...view.objects.keys()].filter((key) => key.startsWith('route')),
    ['route 0.0.0.0/0', 'route 10.5.0.0/16 metric 84', 'route fd00:5::/64'],
  );
});

test('of routes only those in the networks are kept, and those on a nexthop object of our range', async (t) => {
  const kernel = host();
  kernel.tables.set('set', NEXTHOP);
  kernel.tables.set('set', { ...NEXTHOP, id: 7 });
  const others = { ...PLAIN, protocol: 186, gateway: NEXTHOP.gateway };
  kernel.tables.addRoute({ ...others, dst: prefix('198.51.100.0/24') });
  kernel.tables.addRoute({ ...others, dst: prefix('198.51.101.0/24'), nexthopId: 7 });
  kernel.tables.addRoute({ ...others, dst: prefix('198.51.102.0/24'), nexthopId: NEXTHOP.id });
  kernel.tables.addRoute({ ...others, dst: prefix('10.5.9.0/24') });
  const view = new KernelView(kernel, [DEV], [4], [prefix('10.5.0.0/16')]);
  const routes = async (): Promise<string[]> => {
    await view.read(KINDS);
    return [...view.objects.keys()].filter((key) => key.startsWith('route')).sort();
  };
  t.deepEqual(await routes(), ['route 10.5.9.0/24', 'route 198.51.102.0/24']);
  view.networks = [prefix('198.51.100.0/23')];
  t.deepEqual(await routes(), ['route 198.51.100.0/24', 'route 198.51.101.0/24', 'route 198.51.102.0/24']);
});

test('a route that names its nexthop only gets gateway and device from there', async (t) => {
  const kernel = host();
  kernel.tables.set('set', NEXTHOP);
  kernel.tables.addRoute({
    ...PLAIN,
    dst: ROUTE.dst,
    dev: undefined,
    gateway: undefined,
    onlink: false,
    nexthopId: NEXTHOP.id,
  });
  t.deepEqual(find(await seen(kernel), keyOf(ROUTE))?.object, ROUTE);
});

test('only the kinds asked for are read, and what went since is gone', async (t) => {
  const kernel = host();
  for (const object of [NEIGHBOUR, FDB, NEXTHOP, ROUTE]) kernel.tables.set('set', object);
  const view = await seen(kernel);
  kernel.tables.deleteNexthop(NEXTHOP.id);
  kernel.tables.delete(FDB);
  kernel.forget();
  await view.read(new Set(['route'] as const));
  t.deepEqual(kernel.calls, ['routes', 'routes']);
  t.is(find(view, keyOf(ROUTE)), undefined);
  t.deepEqual([...view.routesOn(NEXTHOP.id)], []);
  t.not(find(view, keyOf(FDB)), undefined, 'not read');
});

test('what was confirmed is believed', async (t) => {
  const view = await seen(host());
  for (const object of [NEXTHOP, ROUTE]) view.applied({ key: keyOf(object), verb: 'set', object, why: '' });
  t.deepEqual(find(view, keyOf(ROUTE))?.object, ROUTE);
  t.deepEqual([...view.routesOn(NEXTHOP.id)], [keyOf(ROUTE)]);
  view.applied({ key: keyOf(ROUTE), verb: 'set', object: { ...ROUTE, nexthopId: 0x54000002 }, why: '' });
  t.deepEqual([...view.routesOn(NEXTHOP.id)], []);
  t.deepEqual([...view.routesOn(0x54000002)], [keyOf(ROUTE)]);
  view.applied({ key: keyOf(ROUTE), verb: 'delete', object: ROUTE, why: '' });
  t.deepEqual([...view.routesOn(0x54000002)], []);
  t.is(find(view, keyOf(ROUTE)), undefined);
});

test('what is as it is wanted is held by the object that is wanted, also when it is read again', async (t) => {
  const kernel = host();
  for (const object of [NEIGHBOUR, FDB, NEXTHOP, ROUTE]) kernel.tables.set('set', object);
  const view = await seen(kernel);
  const wanted = [{ ...NEIGHBOUR }, { ...FDB, dst: ip('192.0.2.99') }, { ...NEXTHOP }, { ...ROUTE }];
  view.adopt(new Map(wanted.map((object) => [keyOf(object), object])));
  await view.read(KINDS);
  const isHeld = wanted.map((object) => find(view, keyOf(object))?.object === object);
  t.deepEqual(isHeld, [true, false, true, true]);
});

test('a kernel without nexthop objects, and a device of our name that is no vxlan', async (t) => {
  const kernel = hostKernel();
  kernel.hasNexthops = false;
  kernel.tables.addDevice(DEV, { mac: mac('02:00:00:00:00:10'), type: 'dummy' });
  const view = await seen(kernel);
  t.false(view.hasNexthops);
  t.is(find(view, `link ${DEV}`), undefined);
});
