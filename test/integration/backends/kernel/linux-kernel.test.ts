import { closeSync } from 'node:fs';
import { createRequire } from 'node:module';
import test from 'ava';
import type { Kernel } from '../../../../backends/kernel/kernel.ts';
import { openKernel } from '../../../../backends/kernel/linux-kernel.ts';
import { makeTun, openTun } from '../../../../backends/kernel/tun.ts';
import {
  BOOT_PROTOCOL,
  type KernelObject,
  type Link,
  type Operation,
  TARTAN_PROTOCOL,
  type VxlanLink,
  YIELDING_METRIC,
} from '../../../../backends/state.ts';
import { silentLog } from '../../../../config/log.ts';
import { ip, mac, prefix } from '../../../support/addresses.ts';
import { enterFreshNamespace, run } from '../../../support/netns.ts';

enterFreshNamespace();
run('ip link add tk0 type veth peer name tk1 && ip link set tk0 up && ip link set tk1 up');
run('ip addr add 192.0.2.1/24 dev tk0 && ip -6 addr add fd00::1/64 dev tk0 nodad');

let kernel: Kernel;
test.before(async () => {
  kernel = await openKernel(silentLog);
});
test.after.always(() => kernel.close());

/** What ip(8) and bridge(8) print, as far as it is named here. */
interface Shown {
  readonly mac?: string;
  readonly flags?: readonly string[];
  readonly linkinfo?: object;
}
const json = (command: string): Shown[] => JSON.parse(run(command) || '[]');
const operation = (verb: Operation['verb'], object: KernelObject): Operation => ({ verb, object, why: 'test' });
const refused = async (...operations: Operation[]): Promise<(string | undefined)[]> =>
  (await kernel.apply(operations)).map((refusal) => refusal?.errno);
const set = (...objects: KernelObject[]): Promise<(string | undefined)[]> =>
  refused(...objects.map((object) => operation('set', object)));
const remove = (...objects: KernelObject[]): Promise<(string | undefined)[]> =>
  refused(...objects.map((object) => operation('delete', object)));
const done = (count: number): undefined[] => Array<undefined>(count).fill(undefined);

const flannel: VxlanLink = {
  kind: 'link',
  name: 'flannel.1',
  mac: mac('02:42:00:00:00:01'),
  mtuBytes: 1450,
  up: true,
  vxlan: { vni: 1, port: 8472, local: ip('192.0.2.1'), lower: 'tk0', learning: false, gbp: false },
};
const flannelV6: VxlanLink = {
  ...flannel,
  name: 'flannel-v6.1',
  mac: mac('02:42:00:00:00:06'),
  mtuBytes: 1430,
  vxlan: { ...flannel.vxlan, local: ip('fd00::1') },
};

/** TUNSETPERSIST 0: the device goes with the descriptor, as that of a process that never asked for more. */
function giveUp(fd: number): number {
  const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi');
  const TUNSETPERSIST = 0x400454cb;
  return koffi.load(null).func('int ioctl(int fd, unsigned long request, unsigned long value)')(fd, TUNSETPERSIST, 0);
}

async function found(name: string): Promise<unknown> {
  const link = (await kernel.links()).find((candidate) => candidate.name === name);
  return link && { mac: link.mac, mtuBytes: link.mtuBytes, up: link.up, vxlan: link.vxlan };
}

const tap: Link = { ...flannel, vxlan: undefined };
const tun: Link = { ...tap, name: 'flannel0', mac: undefined, mtuBytes: 1472 };
const madeByUs = { isPersistent: true, isMultiQueue: false };

test.serial('vxlan devices of both families are made as ip(8) shows them', async (t) => {
  t.deepEqual(await set(flannel, flannelV6), done(2));
  const [v4] = json('ip -d -j link show flannel.1');
  t.like(v4, { address: '02:42:00:00:00:01', mtu: 1450 });
  t.true(v4?.flags?.includes('UP'));
  t.like(v4?.linkinfo, {
    info_kind: 'vxlan',
    info_data: { id: 1, link: 'tk0', local: '192.0.2.1', port: 8472, learning: false, ttl: 0 },
  });
  const [v6] = json('ip -d -j link show flannel-v6.1');
  t.like(v6?.linkinfo, { info_data: { id: 1, link: 'tk0', local6: 'fd00::1', port: 8472 } });
  for (const { name, mac, mtuBytes, up, vxlan } of [flannel, flannelV6]) {
    t.deepEqual(await found(name), { mac, mtuBytes, up, vxlan });
  }
});

const indexOf = async (name: string): Promise<number | undefined> =>
  (await kernel.links()).find((link) => link.name === name)?.index;

test.serial('address, size and state of a device are adjusted in place', async (t) => {
  const before = await indexOf('flannel.1');
  const changed = { ...flannel, mac: mac('02:42:00:00:00:11'), mtuBytes: 1400 };
  t.deepEqual(await set(changed), done(1));
  t.like(json('ip -j link show flannel.1')[0], { address: '02:42:00:00:00:11', mtu: 1400 });
  run('ip link set flannel.1 down');
  t.deepEqual(await set(flannel), done(1));
  t.like(await found('flannel.1'), { mac: flannel.mac, mtuBytes: 1450, up: true });
  t.deepEqual(await set(flannel), done(1));
  t.is(await indexOf('flannel.1'), before);
});

test.serial('a device with another VNI, port or kind is made anew', async (t) => {
  const before = await indexOf('flannel.1');
  for (const difference of [{ vni: 7 }, { port: 4789 }, { gbp: true }]) {
    const other = { ...flannel, vxlan: { ...flannel.vxlan, ...difference } };
    t.deepEqual(await set(other), done(1));
    t.like(await found('flannel.1'), { vxlan: other.vxlan });
  }
  run('ip link del flannel.1 && ip link add flannel.1 type bridge');
  t.deepEqual(await set(flannel), done(1));
  t.like(await found('flannel.1'), { mac: flannel.mac, vxlan: flannel.vxlan });
  t.not(await indexOf('flannel.1'), before);
  t.deepEqual(await refused(operation('create', flannel)), ['EEXIST']);
});

test.serial('where a device sends from and by is changed in place: what stands on it stays', async (t) => {
  run('ip addr add 192.0.2.2/24 dev tk0 && ip link set tk1 name tk9');
  const neighbour = { kind: 'neighbour', dev: 'flannel.1', ip: ip('10.5.9.0'), mac: mac('02:42:00:00:00:09') } as const;
  const fdb = { kind: 'fdb', dev: 'flannel.1', mac: neighbour.mac, dst: ip('192.0.2.9') } as const;
  t.deepEqual(await set(flannel, flannelV6, neighbour, fdb), done(4));
  const before = await indexOf('flannel.1');
  const other = { ...flannel.vxlan, local: ip('192.0.2.2'), lower: 'tk9', learning: true };
  t.deepEqual(await set({ ...flannel, mtuBytes: 1300, vxlan: other }), done(1));
  t.like(await found('flannel.1'), { mtuBytes: 1300, vxlan: other });
  const other6 = { ...flannelV6.vxlan, local: ip('fd00::2'), lower: 'tk9' };
  t.deepEqual(await set({ ...flannelV6, vxlan: other6 }), done(1));
  t.like(await found('flannel-v6.1'), { vxlan: other6 });
  t.is(await indexOf('flannel.1'), before);
  t.regex(run('ip neigh show dev flannel.1 nud permanent'), /10\.5\.9\.0/);
  t.regex(run('bridge fdb show dev flannel.1'), /02:42:00:00:00:09 dst 192\.0\.2\.9/);
  // Renamed underneath it, by nobody whom we know: it stays, and so does what it can do.
  run('ip link set tk9 name tk1');
  t.deepEqual(await set({ ...flannel, vxlan: other }), ['ENODEV']);
  t.deepEqual(await set({ ...flannel, vxlan: { ...other, vni: 7 } }), ['ENODEV']);
  t.is(await indexOf('flannel.1'), before);
  t.deepEqual(await set(flannel, flannelV6), done(2));
  t.deepEqual(await remove(fdb, neighbour), done(2));
  t.is(await indexOf('flannel.1'), before);
  run('ip addr del 192.0.2.2/24 dev tk0');
});

test.serial('a device on one that is unknown is refused; deleting one that is absent is done', async (t) => {
  const odd = { ...flannel, name: 'tk-odd', vxlan: { ...flannel.vxlan, vni: 99, lower: 'nowhere' } };
  t.deepEqual(await set(odd), ['ENODEV']);
  t.deepEqual(await remove(odd), done(1));
  t.deepEqual(await set({ ...odd, vxlan: { ...odd.vxlan, lower: 'tk0' } }), done(1));
  t.deepEqual(await remove(odd), done(1));
  t.is(await indexOf('tk-odd'), undefined);
});

test.serial('addresses are set once and again, and removed once and again', async (t) => {
  const v4 = { kind: 'address', dev: 'flannel.1', ip: ip('10.5.1.0'), length: 32 } as const;
  const v6 = { kind: 'address', dev: 'flannel-v6.1', ip: ip('fd05:0:0:1::'), length: 128 } as const;
  t.deepEqual(await set(v4, v6, v4, v6), done(4));
  t.deepEqual(await refused(operation('create', v4)), ['EEXIST']);
  const flags = { permanent: true, temporary: false, deprecated: false };
  t.deepEqual(
    (await kernel.addresses(4)).filter(({ dev }) => dev === 'flannel.1'),
    [{ dev: 'flannel.1', ip: v4.ip, length: 32, ...flags }],
  );
  t.true((await kernel.addresses(6)).some(({ ip: found, length }) => found === v6.ip && length === 128));
  t.false(run('ip -6 addr show dev flannel-v6.1').includes('tentative fd05'));
  t.deepEqual(await remove(v4, v4, v6, v6), done(4));
  t.is((await kernel.addresses(4)).filter(({ dev }) => dev === 'flannel.1').length, 0);
  t.deepEqual(await set(v4, v6), done(2));
});

test.serial('neighbours of both families stand as permanent and change by being set again', async (t) => {
  const v4 = { kind: 'neighbour', dev: 'flannel.1', ip: ip('10.5.2.0'), mac: mac('02:42:00:00:00:02') } as const;
  const v6 = { ...v4, dev: 'flannel-v6.1', ip: ip('fd05:0:0:2::') } as const;
  t.deepEqual(await set(v4, v6), done(2));
  t.deepEqual(await set({ ...v4, mac: mac('02:42:00:00:00:22') }), done(1));
  t.like(json('ip -j neigh show 10.5.2.0 dev flannel.1')[0], { lladdr: '02:42:00:00:00:22', state: ['PERMANENT'] });
  t.like(json('ip -6 -j neigh show fd05:0:0:2:: dev flannel-v6.1')[0], { lladdr: '02:42:00:00:00:02' });
  run('ip neigh add 10.5.2.9 lladdr 02:42:00:00:00:09 dev flannel.1 nud stale');
  run('ip neigh add 192.0.2.77 lladdr 02:42:00:00:00:09 dev tk0 nud permanent');
  const listed = (await kernel.neighbours('flannel.1', 4)).map(({ object, permanent }) => [object.ip, permanent]);
  t.deepEqual(listed.sort(), [
    [ip('10.5.2.0'), true],
    [ip('10.5.2.9'), false],
  ]);
  t.deepEqual(await kernel.neighbours('nowhere', 4), []);
  t.deepEqual(await remove(v4, v4, v6, v6), done(4));
  t.deepEqual(
    (await kernel.neighbours('flannel-v6.1', 6)).filter(({ permanent }) => permanent),
    [],
  );
});

test.serial('a forwarding entry changes its destination by being set again', async (t) => {
  const v4 = { kind: 'fdb', dev: 'flannel.1', mac: mac('02:42:00:00:00:02'), dst: ip('192.0.2.2') } as const;
  const v6 = { ...v4, dev: 'flannel-v6.1', dst: ip('fd00::2') } as const;
  t.deepEqual(await set(v4, v6), done(2));
  t.deepEqual(await set({ ...v4, dst: ip('192.0.2.3') }), done(1));
  const shown = json('bridge -j fdb show dev flannel.1').filter((entry) => entry.mac === v4.mac);
  t.is(shown.length, 1);
  t.like(shown[0], { dst: '192.0.2.3', state: 'permanent' });
  t.deepEqual(await kernel.fdb('flannel.1'), [
    { object: { ...v4, dst: ip('192.0.2.3') }, protocol: 0, permanent: true },
  ]);
  t.deepEqual(await kernel.fdb('flannel-v6.1'), [{ object: v6, protocol: 0, permanent: true }]);
  t.deepEqual(await kernel.fdb('tk0'), []);
  t.deepEqual(await remove(v4, v4, v6), done(3));
  t.deepEqual(await kernel.fdb('flannel.1'), []);
});

test.serial('an entry that leads to another port is not taken for a good one, and is put right', async (t) => {
  run('bridge fdb replace 02:42:00:00:00:05 dev flannel.1 dst 192.0.2.5 port 4789 self permanent');
  t.like((await kernel.fdb('flannel.1'))[0], { permanent: false });
  const good = { kind: 'fdb', dev: 'flannel.1', mac: mac('02:42:00:00:00:05'), dst: ip('192.0.2.5') } as const;
  t.deepEqual(await set(good), done(1));
  t.deepEqual(await kernel.fdb('flannel.1'), [{ object: good, protocol: 0, permanent: true }]);
  t.deepEqual(await remove(good), done(1));
});

const nexthop4 = { kind: 'nexthop', id: 0x54000001, dev: 'flannel.1', gateway: ip('10.5.2.0'), onlink: true } as const;
const nexthop6 = { ...nexthop4, id: 0x54000002, dev: 'flannel-v6.1', gateway: ip('fd05:0:0:2::') } as const;

test.serial('a nexthop is not made over a foreign one', async (t) => {
  run(`ip nexthop add id ${nexthop4.id} via 192.0.2.9 dev tk0 protocol 99`);
  run('ip nexthop add id 3 blackhole');
  t.deepEqual(await refused(operation('create', nexthop4), operation('create', nexthop6)), ['EEXIST', undefined]);
  const all = (await kernel.nexthops()) ?? [];
  t.deepEqual(
    all.map(({ object, protocol }) => [object.id, protocol]),
    [
      [nexthop4.id, 99],
      [nexthop6.id, TARTAN_PROTOCOL],
    ],
  );
  t.deepEqual([...(await kernel.nexthopIds())], [3, nexthop4.id, nexthop6.id]);
  run(`ip nexthop del id ${nexthop4.id}`);
  t.deepEqual(await refused(operation('create', nexthop4), operation('set', nexthop4)), done(2));
  t.deepEqual(
    (await kernel.nexthops())?.map(({ object }) => object),
    [nexthop4, nexthop6],
  );
});

const route4 = {
  kind: 'route',
  dst: prefix('10.5.2.0/24'),
  dev: 'flannel.1',
  gateway: ip('10.5.2.0'),
  onlink: true,
  nexthopId: nexthop4.id,
} as const;
const route6 = {
  ...route4,
  dst: prefix('fd05:0:0:2::/64'),
  dev: 'flannel-v6.1',
  gateway: ip('fd05:0:0:2::'),
  nexthopId: nexthop6.id,
} as const;

test.serial('routes go through a nexthop object or by themselves', async (t) => {
  t.deepEqual(await set(route4, route6), done(2));
  t.like(json('ip -j route show 10.5.2.0/24')[0], { nhid: nexthop4.id, gateway: '10.5.2.0', protocol: '84' });
  t.like(json('ip -6 -j route show fd05:0:0:2::/64')[0], { nhid: nexthop6.id });
  const plain4 = { ...route4, dst: prefix('10.5.3.0/24'), gateway: ip('10.5.3.0'), nexthopId: undefined };
  const plain6 = { ...route6, dst: prefix('fd05:0:0:3::/64'), gateway: ip('fd05:0:0:3::'), nexthopId: undefined };
  t.deepEqual(await set(plain4, plain6), done(2));
  t.like(json('ip -j route show 10.5.3.0/24')[0], { gateway: '10.5.3.0', dev: 'flannel.1', flags: ['onlink'] });
  const routes = [...(await kernel.routes(4)), ...(await kernel.routes(6))];
  for (const wanted of [route4, route6, plain4, plain6]) {
    const { dst, dev, gateway, onlink, nexthopId } = wanted;
    t.like(
      routes.find((route) => route.dst === dst),
      { dev, gateway, onlink, nexthopId, protocol: TARTAN_PROTOCOL, type: 1 },
    );
  }
  t.deepEqual(await remove(plain4, plain4, plain6, plain6, route4, route6), done(6));
  t.false((await kernel.routes(4)).some((route) => route.dst.startsWith('10.5.')));
});

test.serial('a route that flannel left is replaced in place, or deleted by its protocol', async (t) => {
  for (const wanted of [route4, { ...route4, nexthopId: undefined }, route6, { ...route6, nexthopId: undefined }]) {
    const options = wanted.dst.includes(':') ? '-6' : '-4';
    run(`ip ${options} route add ${wanted.dst} via ${wanted.gateway} dev ${wanted.dev} onlink`);
    t.deepEqual(await remove(wanted), done(1));
    t.is(json(`ip ${options} -j route show ${wanted.dst}`).length, 1, 'not ours by protocol: it stays');
    t.deepEqual(await set(wanted), done(1));
    const shown = json(`ip ${options} -j route show ${wanted.dst}`);
    t.is(shown.length, 1);
    t.like(shown[0], { protocol: '84' });
    t.deepEqual(await remove(wanted), done(1));
    t.deepEqual(json(`ip ${options} -j route show ${wanted.dst}`), []);
    run(`ip ${options} route add ${wanted.dst} via ${wanted.gateway} dev ${wanted.dev} onlink`);
    t.deepEqual(await refused({ ...operation('delete', wanted), protocol: BOOT_PROTOCOL }), done(1));
    t.deepEqual(json(`ip ${options} -j route show ${wanted.dst}`), []);
  }
});

test.serial('routes of every type are read, of the main table alone', async (t) => {
  run(
    'ip route add blackhole 10.9.0.0/16 && ip route add 10.8.0.0/16 via 192.0.2.9 table 77 && ip route add default via 192.0.2.9 metric 50',
  );
  run('ip route add 10.7.0.0/16 nexthop via 192.0.2.9 nexthop via 192.0.2.8');
  const routes = await kernel.routes(4);
  t.like(
    routes.find(({ dst }) => dst === prefix('10.9.0.0/16')),
    { type: 6, dev: undefined, gateway: undefined },
  );
  t.like(
    routes.find(({ dst }) => dst === prefix('10.7.0.0/16')),
    { type: 1, dev: undefined, gateway: undefined },
  );
  t.like(
    routes.find(({ dst }) => dst === prefix('0.0.0.0/0')),
    { metric: 50, gateway: '192.0.2.9', protocol: BOOT_PROTOCOL },
  );
  t.is(routes.length, json('ip -j route show table main').length);
  t.is((await kernel.routes(6)).length, json('ip -6 -j route show table main').length);
  const within = async (...networks: readonly string[]): Promise<string[]> =>
    (await kernel.routes(4, networks.map(prefix))).map(({ dst }) => dst).sort();
  t.deepEqual(await within('10.7.0.0/16', '10.9.0.0/17', 'fd00::/8'), ['10.7.0.0/16']);
  t.deepEqual(await within('10.0.0.0/8'), ['10.7.0.0/16', '10.9.0.0/16']);
  t.deepEqual(await within(), []);
  run('ip route del default && ip route del 10.7.0.0/16 && ip route del 10.9.0.0/16');
});

test.serial('lookups tell on-link from behind a gateway from nowhere', async (t) => {
  run('ip route add 198.51.100.0/24 via 192.0.2.254 && ip route add unreachable 203.0.113.0/24');
  const asked = ['192.0.2.7', '198.51.100.7', '203.0.113.7', '8.8.8.8', '192.0.2.1', 'fd00::7', 'fd99::1'].map(ip);
  const answers = await kernel.lookup(asked);
  t.deepEqual(answers, [
    { dev: 'tk0', gateway: undefined, source: ip('192.0.2.1') },
    { dev: 'tk0', gateway: ip('192.0.2.254'), source: ip('192.0.2.1') },
    undefined,
    undefined,
    { dev: 'lo', gateway: undefined, source: ip('192.0.2.1') },
    { dev: 'tk0', gateway: undefined, source: ip('fd00::1') },
    undefined,
  ]);
  const many = Array.from({ length: 500 }, (_, i) => ip(`192.0.2.${2 + (i % 200)}`));
  t.true((await kernel.lookup(many)).every((answer) => answer?.dev === 'tk0'));
  t.deepEqual(await kernel.lookup([]), []);
});

test.serial('a refusal carries the words of the kernel', async (t) => {
  const [refusal] = await kernel.apply([operation('set', { ...route4, nexthopId: 4711 })]);
  t.is(refusal?.errno, 'EINVAL');
  t.not(refusal?.detail, '');
});

test.serial('a device that is unknown is looked for once and then refused', async (t) => {
  const entry = { kind: 'neighbour', dev: 'tk-late', ip: ip('10.5.2.0'), mac: mac('02:42:00:00:00:02') } as const;
  t.deepEqual(await set(entry, entry), ['ENODEV', 'ENODEV']);
  t.deepEqual(await remove(entry), done(1));
  run('ip link add tk-late type bridge && ip link set tk-late up');
  t.deepEqual(await set(entry), done(1));
  run('ip link del tk-late && ip link add tk-late type bridge && ip link set tk-late up');
  t.deepEqual(await set(entry), ['ENODEV'], 'the index that was known is gone');
  t.deepEqual(await set(entry), done(1));
});

test.serial('a device made, used and removed in one go', async (t) => {
  const link = { ...flannel, name: 'tk-go', vxlan: { ...flannel.vxlan, vni: 42 } };
  const entry = { kind: 'neighbour', dev: 'tk-go', ip: ip('10.5.2.0'), mac: mac('02:42:00:00:00:02') } as const;
  const operations = [
    operation('set', link),
    operation('set', entry),
    operation('delete', link),
    operation('set', entry),
  ];
  t.deepEqual(await refused(...operations), [undefined, undefined, undefined, 'ENODEV']);
});

test.serial('one refused operation among a thousand fails alone', async (t) => {
  const entries = Array.from(
    { length: 1000 },
    (_, i): Operation =>
      operation('set', {
        kind: 'neighbour',
        dev: 'flannel.1',
        ip: ip(`10.6.${i >> 8}.${i & 255}`),
        mac: mac('02:42:00:00:00:02'),
      }),
  );
  entries[500] = operation('set', { ...route4, dst: prefix('10.66.0.0/24'), nexthopId: 4711 });
  const results = await kernel.apply(entries);
  t.is(results.length, 1000);
  t.deepEqual(
    results.flatMap((refusal, place) => (refusal === undefined ? [] : [place])),
    [500],
  );
  const standing = (await kernel.neighbours('flannel.1', 4)).filter(({ object }) => object.ip.startsWith('10.6.'));
  t.is(standing.length, 999);
  t.deepEqual(await kernel.apply(entries.map((entry) => ({ ...entry, verb: 'delete' }) as const)), done(1000));
});

test.serial('reads and changes at the same time do not mix', async (t) => {
  const entries = Array.from(
    { length: 300 },
    (_, i): KernelObject => ({
      kind: 'fdb',
      dev: 'flannel.1',
      mac: mac(`02:42:00:00:${(i >> 8).toString(16).padStart(2, '0')}:${(i & 255).toString(16).padStart(2, '0')}`),
      dst: ip('192.0.2.2'),
    }),
  );
  const [links, routes, first, second, fdb] = await Promise.all([
    kernel.links(),
    kernel.routes(4),
    set(...entries),
    remove(...entries),
    kernel.fdb('flannel.1'),
    kernel.lookup([ip('192.0.2.7')]),
    kernel.addresses(4),
  ]);
  t.true(links.length >= 5 && routes.length >= 1 && Array.isArray(fdb));
  t.deepEqual([first, second], [done(300), done(300)]);
  t.deepEqual(await kernel.fdb('flannel.1'), []);
});

test.serial('a closed kernel refuses with its code', async (t) => {
  const other = await openKernel(silentLog);
  other.close();
  other.close();
  await t.throwsAsync(other.links(), { code: 'KERNEL' });
  await t.throwsAsync(other.apply([operation('set', route4)]), { code: 'KERNEL' });
});

test.serial('the kernel is asked whether it makes vxlan devices, and makes none for it', async (t) => {
  const before = (await kernel.links()).length;
  t.true(await kernel.knowsVxlan());
  t.is((await kernel.links()).length, before);
});

test.serial('a tun is made persistent, without a MAC, up, with its MTU, and takes no advertisements', async (t) => {
  t.deepEqual(await set(tun), done(1));
  const link = (await kernel.links()).find(({ name }) => name === 'flannel0');
  t.like(link, { mac: undefined, mtuBytes: 1472, up: true, type: 'tun', tun: { ...madeByUs, isTap: false } });
  const [shown] = json('ip -d -j link show flannel0');
  t.true(shown?.flags?.includes('NOARP'), 'no ARP goes through it');
  t.like(shown?.linkinfo, { info_kind: 'tun', info_data: { type: 'tun', persist: true, multi_queue: false } });
  t.is(run('cat /proc/sys/net/ipv6/conf/flannel0/accept_ra').trim(), '0');
  const before = await indexOf('flannel0');
  run('ip link set flannel0 mtu 1300 && ip link set flannel0 down');
  t.deepEqual(await set(tun), done(1));
  t.like(await found('flannel0'), { mtuBytes: 1472, up: true });
  t.true(json('ip -j link show flannel0')[0]?.flags?.includes('NOARP'));
  t.is(await indexOf('flannel0'), before);
});

test.serial('a tap has the MAC, and a device of another kind gives way to it and comes back', async (t) => {
  run('ip link del flannel.1 2>/dev/null || true');
  t.deepEqual(await set(flannel), done(1));
  t.deepEqual(await set(tap), done(1));
  t.like(await found('flannel.1'), { mac: flannel.mac, mtuBytes: 1450, up: true, vxlan: undefined });
  t.like(json('ip -d -j link show flannel.1')[0]?.linkinfo, { info_kind: 'tun', info_data: { type: 'tap' } });
  const before = await indexOf('flannel.1');
  const changed = { ...tap, mac: mac('02:42:00:00:00:11') };
  t.deepEqual(await set(changed), done(1));
  t.like(await found('flannel.1'), { mac: changed.mac });
  t.deepEqual(await set(tap), done(1));
  run('ip link set flannel.1 arp off');
  t.like(await found('flannel.1'), { up: false }, 'without ARP it carries nothing');
  t.deepEqual(await set(tap), done(1));
  t.like(await found('flannel.1'), { up: true });
  run('ip link set flannel.1 name mine0');
  t.deepEqual(await set(tap), done(1));
  t.is(await indexOf('flannel.1'), before, 'a renamed one has its name again');
  t.is(await indexOf('mine0'), undefined);
  t.deepEqual(await set(flannel), done(1));
  t.like(await found('flannel.1'), { mac: flannel.mac, vxlan: flannel.vxlan });
  t.deepEqual(await refused(operation('create', tap)), ['EEXIST']);
});

for (const [what, make] of [
  ['a bridge', 'ip link add flannel0 type bridge'],
  ['a veth', 'ip link add flannel0 type veth peer name other9'],
  ['a tap', 'ip tuntap add mode tap name flannel0'],
  ['a tun of several queues', 'ip tuntap add mode tun multi_queue name flannel0'],
] as const) {
  test.serial(`${what} of that name gives way to a tun`, async (t) => {
    run(`ip link del flannel0 2>/dev/null || true; ${make}`);
    t.deepEqual(await set(tun), done(1));
    t.like(await found('flannel0'), { mac: undefined, mtuBytes: 1472, up: true });
    const opened = openTun('flannel0', 3, false);
    t.true('fd' in opened);
    if ('fd' in opened) closeSync(opened.fd);
  });
}

test.serial("another process's device is waited for, and not touched", async (t) => {
  run('ip link del flannel0 2>/dev/null || true');
  t.is(makeTun('flannel0', 3), undefined);
  const opened = openTun('flannel0', 3, false);
  if (!('fd' in opened)) return t.fail(opened.errno);
  const before = await indexOf('flannel0');
  // As a flanneld's: it goes with the descriptor.
  t.is(giveUp(opened.fd), 0);
  t.like((await kernel.links()).find(({ name }) => name === 'flannel0')?.tun, { isPersistent: false });
  t.deepEqual(await set(tun), ['EBUSY']);
  t.is(await indexOf('flannel0'), before);
  closeSync(opened.fd);
  t.deepEqual(await set(tun), done(1));
  t.not(await indexOf('flannel0'), before);
});

test.serial('a route to a device alone, which gives way to one of a lower metric', async (t) => {
  const dst = prefix('10.9.0.0/16');
  const hop = { dev: 'flannel0', gateway: undefined, onlink: false, nexthopId: undefined };
  const network: KernelObject = { kind: 'route', dst, metric: YIELDING_METRIC, ...hop };
  t.deepEqual(await set(tun, network, network), done(3));
  t.is(run('ip route show 10.9.0.0/16').trim(), '10.9.0.0/16 dev flannel0 proto 84 metric 84 linkdown'.trim());
  run('ip route add 10.9.0.0/16 dev tk0');
  t.regex(run('ip route get 10.9.1.1'), /dev tk0/);
  const found = await kernel.routes(4, [dst]);
  t.like(
    found.find(({ metric }) => metric === YIELDING_METRIC),
    { dev: 'flannel0', gateway: undefined, protocol: 84 },
  );
  t.deepEqual(await remove(network), done(1));
  t.is(run('ip route show 10.9.0.0/16').trim(), '10.9.0.0/16 dev tk0 scope link');
  run('ip route del 10.9.0.0/16 dev tk0');
});

test.serial('what stands on a tun or a tap is listed like that of any device', async (t) => {
  t.deepEqual(await set(tun, tap), done(2));
  const neighbour = { kind: 'neighbour', dev: 'flannel.1', ip: ip('10.5.8.0'), mac: mac('02:42:00:00:00:08') } as const;
  t.deepEqual(await set(neighbour), done(1));
  const seen = await kernel.neighbours('flannel.1', 4);
  t.deepEqual(
    seen.filter(({ permanent }) => permanent).map(({ object }) => object),
    [neighbour],
  );
  t.deepEqual(await kernel.fdb('flannel.1'), []);
  t.deepEqual(await kernel.fdb('flannel0'), []);
  t.deepEqual(
    (await kernel.neighbours('flannel0', 4)).filter(({ permanent }) => permanent),
    [],
  );
  t.deepEqual(await remove(tap, tun), done(2));
  t.is(await indexOf('flannel0'), undefined);
});
