/** The reconciler against the real kernel, in a namespace of its own: what others do to our things, and what they keep. */
import { deepEqual } from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import test from 'ava';
import { createHostGw } from '../../../backends/host-gw/host-gw.ts';
import type { Kernel } from '../../../backends/kernel/kernel.ts';
import { openKernel } from '../../../backends/kernel/linux-kernel.ts';
import { type Move, Reconciler } from '../../../backends/reconciler.ts';
import { shadowProblem } from '../../../backends/shadows.ts';
import { createVxlan } from '../../../backends/vxlan/vxlan.ts';
import type { Family, Ip, Mac } from '../../../config/address.ts';
import type { JsonObject } from '../../../config/go-json.ts';
import { silentLog } from '../../../config/log.ts';
import type { PeerChange } from '../../../leases/directory.ts';
import type { StoredLease } from '../../../leases/lease.ts';
import { ip, mac, prefix } from '../../support/addresses.ts';
import { eventually } from '../../support/eventually.ts';
import { enterFreshNamespace, run } from '../../support/netns.ts';
import { realClock } from '../../support/real-clock.ts';
import { needs } from '../../support/require.ts';

const DEV = 'flannel.1';
const DEV6 = 'flannel-v6.1';
const MAC = mac('02:00:00:00:00:10');
const MAC6 = mac('02:00:00:00:06:10');
const OWN = {
  subnet: prefix('10.5.0.0/28'),
  subnet6: prefix('fd00:5::/64'),
  networks: [prefix('10.5.0.0/16'), prefix('fd00:5::/32')],
};
const UNDERLAY = {
  ...{ index: 2, dev: 'eth0', mtuBytes: 1500, ip: ip('192.168.77.10'), ip6: ip('fd77::10') },
  ...{ publicIp: ip('192.168.77.10'), publicIp6: ip('fd77::10') },
  hostAddresses: new Set([ip('192.168.77.10'), ip('fd77::10')]),
};

/** Peer `i` of many: a /28 of 10.5.0.0/16 (the first sixteen are ours) and a /64 of fd00:5::/32. */
function peer(i: number): StoredLease {
  const subnet = prefix(`10.5.${i >> 4}.${(i & 15) * 16}/28`);
  const octets = [i >> 8, i & 255].map((octet) => octet.toString(16).padStart(2, '0')).join(':');
  return {
    ...{ subnet, subnet6: prefix(`fd00:5:0:${i.toString(16)}::/64`) },
    ...{ publicIp: ip(`192.168.${i >> 8}.${i & 255}`), publicIp6: ip(`fd77::${i.toString(16)}`) },
    ...{ backendType: 'vxlan', backendData: `{"VNI":1,"VtepMAC":"02:00:00:05:${octets}"}` },
    backendV6Data: `{"VNI":1,"VtepMAC":"02:00:00:06:${octets}"}`,
    ...{ owner: undefined, key: `/n/subnets/${subnet}`, createRevision: i, modRevision: i, etcdLease: '1', value: '' },
  };
}

/** The peer as one on our link that speaks host-gw. */
function near(lease: StoredLease): StoredLease {
  const publicIp = ip(`192.168.77.${100 + lease.modRevision / 16}`);
  return { ...lease, publicIp, backendType: 'host-gw', backendData: undefined, backendV6Data: undefined };
}

function come(...leases: readonly StoredLease[]): PeerChange[] {
  return leases.map((after) => ({ key: after.key, before: undefined, after }));
}

function go(...leases: readonly StoredLease[]): PeerChange[] {
  return leases.map((before) => ({ key: before.key, before, after: undefined }));
}

interface Agent {
  readonly reconciler: Reconciler;
  readonly kernel: Kernel;
  readonly stop: () => Promise<void>;
}

interface Options {
  readonly nexthopObjects?: boolean;
  readonly mac?: Mac;
  readonly families?: readonly Family[];
  readonly isHostGw?: boolean;
  readonly config?: JsonObject;
  /** The kernel tells no event; there is a resync instead. */
  readonly isDeaf?: boolean;
}

/** Without resync: what heals, heals because of events. */
async function start(config: JsonObject = {}, options: Options = {}): Promise<Agent> {
  const { nexthopObjects = true, families = [4], isHostGw = false, isDeaf = false } = options;
  const create = isHostGw ? createHostGw : createVxlan;
  const made = create(config, { ipv4: families.includes(4), ipv6: families.includes(6) }, UNDERLAY);
  if (!made.ok) throw new Error(made.problems.join('; '));
  const kernel = await openKernel(silentLog);
  if (isDeaf) kernel.monitor = () => Promise.resolve();
  const networks = families.map((family) => prefix(family === 4 ? '10.5.0.0/16' : 'fd00:5::/32'));
  const reconciler = await Reconciler.start({
    ...{ kernel, backend: made.backend, underlay: 'eth0', networks, nexthopObjects },
    ...{ resyncSeconds: isDeaf ? 1 : 100_000, clock: realClock, log: silentLog },
  });
  await reconciler.setDevice(made.backend.device(OWN, macs(options.mac)));
  const ending = new AbortController();
  const ended = reconciler.run(ending.signal).catch((reason: unknown) => reason);
  const stop = async (): Promise<void> => {
    ending.abort();
    await ended;
    kernel.close();
  };
  return { reconciler, kernel, stop };
}

function macs(mac4 = MAC): Map<string, Mac> {
  return new Map([
    [DEV, mac4],
    [DEV6, MAC6],
  ]);
}

/** The host with another address. */
function moved(address: Ip): Move {
  const underlay = { ...UNDERLAY, ip: address, publicIp: address, hostAddresses: new Set([address]) };
  const made = createVxlan({}, { ipv4: true, ipv6: false }, underlay);
  if (!made.ok) throw new Error(made.problems.join('; '));
  return { backend: made.backend, underlay: 'eth0', device: made.backend.device(OWN, macs()) };
}

function lines(command: string): string[] {
  return sorted(run(command));
}

function sorted(text: string): string[] {
  return text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '')
    .sort();
}

/** The metrics that the tests give to routes that are to stay. */
const OF_OTHERS = /metric (50|2000)\b/;

/** Everything of a family that is ours, as iproute2 shows it, without indexes, counters and link-local addresses. */
function ours(family: Family = 4): Record<string, string[]> {
  const dev = family === 4 ? DEV : DEV6;
  // One shell for all: tests ask often.
  const commands = [
    `ip -o -d link show ${dev}`,
    `ip -o -${family} address show dev ${dev} scope global`,
    `ip -${family} neighbour show dev ${dev} nud permanent`,
    `bridge fdb show dev ${dev}`,
    'ip nexthop show proto 84',
    `ip -${family} route show`,
  ];
  const all = run(commands.map((command) => `${command} 2>/dev/null; echo =`).join(';')).split('=\n');
  const [link = '', addresses = '', neighbours = '', fdb = '', nexthops = '', routes = ''] = all;
  return {
    link: [/link\/ether \S+/, /mtu \d+/, /[<,]UP[,>]/, /vxlan id .*? nolearning/, /NOARP/, /master \S+/].map(
      (one) => one.exec(link)?.[0] ?? '',
    ),
    addresses: sorted(addresses).map((line) => line.replace(/^\d+: /, '')),
    neighbours: sorted(neighbours),
    fdb: sorted(fdb),
    nexthops: sorted(nexthops),
    routes: sorted(routes).filter((line) => /^(blackhole )?(10\.5\.|fd00:5:)/.test(line) && !OF_OTHERS.test(line)),
  };
}

function picture(families: readonly Family[]): string {
  return JSON.stringify(families.map(ours), undefined, 1);
}

async function settled({ reconciler }: Agent): Promise<void> {
  await eventually('in step', () => reconciler.step().inStep, {
    everyMs: 5,
    context: () => JSON.stringify(reconciler.step()),
  });
}

const PEERS = [peer(2 * 16), peer(3 * 16), peer(4 * 16)] as const;
const NEWCOMER = peer(5 * 16);
const DST = PEERS[0].subnet;
const GATEWAY = '10.5.2.0';
const PEER_MAC = '02:00:00:05:00:20';

const DST6 = 'fd00:5:0:20::/64';
const GATEWAY6 = 'fd00:5:0:20::';
const PEER_MAC6 = '02:00:00:06:00:20';

function nexthopId(dst: string = DST): string {
  const family = dst.includes(':') ? 6 : 4;
  return /nhid (\d+)/.exec(run(`ip -${family} route show ${dst}`))?.[1] ?? 'none';
}

/** Issue by issue what an operator, a script or another daemon does; each must be as if it had not been. */
const DRIFT: readonly (() => string)[] = [
  () => `ip route del ${DST}`,
  () => `ip route replace ${DST} via 192.168.77.1`,
  () => `ip route replace ${DST} dev eth0`,
  () => `ip route replace blackhole ${DST}`,
  () => `ip route prepend blackhole ${DST}`,
  () =>
    'ip -4 route flush table main proto 84; ip route show proto 84 | while read -r dst rest; do ip route del $dst; done',
  () => `ip route add 10.5.99.0/28 via 10.5.99.0 dev ${DEV} onlink proto 84`,
  () => `ip route add 10.5.99.0/28 via 10.5.99.0 dev ${DEV} onlink`,
  () => `ip neighbour del ${GATEWAY} dev ${DEV}`,
  () => `ip neighbour replace ${GATEWAY} lladdr 02:00:00:00:00:99 dev ${DEV} nud permanent`,
  () => `ip neighbour replace ${GATEWAY} lladdr ${PEER_MAC} dev ${DEV} nud stale`,
  () => `ip neighbour flush dev ${DEV} nud permanent`,
  () => `ip neighbour add 10.5.99.0 lladdr 02:00:00:00:00:99 dev ${DEV} nud permanent`,
  () => `bridge fdb del ${PEER_MAC} dev ${DEV}`,
  () => `bridge fdb replace ${PEER_MAC} dev ${DEV} dst 192.168.77.99`,
  () => `bridge fdb add 02:00:00:00:00:99 dev ${DEV} dst 192.168.77.99`,
  () => `ip nexthop del id ${nexthopId()}`,
  () => 'ip nexthop flush',
  () => `ip nexthop replace id ${nexthopId()} via 10.5.99.0 dev ${DEV} onlink proto 84`,
  () => `ip nexthop add id 1426063359 via 10.5.99.0 dev ${DEV} onlink proto 84`,
  () => `ip link del ${DEV}`,
  () => `ip link set ${DEV} down`,
  () => `ip link set ${DEV} down; ip link set ${DEV} up`,
  () => `ip link set ${DEV} address 02:00:00:00:00:99`,
  () => `ip link set ${DEV} mtu 1300`,
  () => `ip link del ${DEV}; ip link add ${DEV} type vxlan id 1 dev eth0 dstport 8472; ip link set ${DEV} up`,
  () => `ip address flush dev ${DEV}`,
  () => `ip address add 10.5.44.4/32 dev ${DEV}`,
  () => `ip address del 10.5.0.0/32 dev ${DEV}; ip address add 10.5.0.0/16 dev ${DEV}`,
  () => `ip link set ${DEV} arp off`,
  () => `ip link set ${DEV} name other0`,
  () => `ip link set ${DEV} type vxlan learning`,
  () => `ip link add br7 type bridge; ip link set ${DEV} master br7`,
  () => `ip link set ${DEV} address 02:00:00:00:00:99; ip link set ${DEV} down`,
  () => `ip route del ${DST}; ip route add ${DST} via ${GATEWAY} dev ${DEV} onlink proto 84 mtu 600`,
  () => `ip route del ${DST}; ip route add ${DST} via ${GATEWAY} dev ${DEV} onlink proto 84 src 192.168.77.10`,
  () => `ip route replace ${DST} nhid ${nexthopId()} proto 84 mtu 600`,
];

/** Of a tap: the kernel has no forwarding entries for it, and knows other devices that may have its name. */
const DRIFT_TAP: readonly (() => string)[] = [
  ...DRIFT.filter((fault) => !/bridge fdb|learning/.test(String(fault))),
  () => `ip link del ${DEV}; ip link add ${DEV} type bridge; ip link set ${DEV} up`,
  () => `ip link del ${DEV}; ip link add ${DEV} type veth peer name other0`,
  () => `ip link del ${DEV}; ip tuntap add mode tun name ${DEV}; ip link set ${DEV} up`,
  () => `ip link del ${DEV}; ip tuntap add mode tap multi_queue name ${DEV}`,
  () => `ip tuntap del mode tap name ${DEV}`,
];

/** Of the IPv6 side: what makes routes go or go elsewhere. The kernel forgets more by itself than it does of IPv4. */
const ROUTE_DRIFT6: readonly (() => string)[] = [
  () => `ip -6 route del ${DST6}`,
  () => `ip -6 route replace ${DST6} via fd77::1 dev eth0`,
  () => `ip -6 route replace ${DST6} via fd00:5:0:99:: dev ${DEV6} onlink proto 84`,
  () => `ip -6 route replace blackhole ${DST6}`,
  () => `ip -6 route replace ${DST6} nexthop via ${GATEWAY6} dev ${DEV6} onlink nexthop via fd77::1 dev eth0`,
  () => 'ip -6 route show proto 84 | while read -r dst rest; do ip -6 route del $dst; done',
  () => `ip -6 route add fd00:5:0:99::/64 via fd00:5:0:99:: dev ${DEV6} onlink proto 84`,
  () => `ip -6 route add fd00:5:0:99::/64 via fd00:5:0:99:: dev ${DEV6} onlink`,
  () => `ip -6 route del ${DST6}; ip -6 route add ${DST6} via ${GATEWAY6} dev ${DEV6} onlink proto 84 mtu 1300`,
  () => `ip link set ${DEV6} down`,
  () => `${keepAddresses(0)}; ip link set ${DEV6} down; ip link set ${DEV6} up`,
  () => `${keepAddresses(1)}; ip link set ${DEV6} down; ip link set ${DEV6} up`,
  // Below 1280 the kernel takes IPv6 off the device.
  () => `ip link set ${DEV6} mtu 1200`,
  () => `sysctl -qw net/ipv6/conf/${DEV6}/disable_ipv6=1; sysctl -qw net/ipv6/conf/${DEV6}/disable_ipv6=0`,
  () => 'ip link set eth0 down; ip link set eth0 up; ip address replace fd77::10/64 dev eth0 nodad',
];

const DRIFT6: readonly (() => string)[] = [
  ...ROUTE_DRIFT6,
  () => `ip -6 neighbour del ${GATEWAY6} dev ${DEV6}`,
  () => `ip -6 neighbour replace ${GATEWAY6} lladdr 02:00:00:00:00:99 dev ${DEV6} nud permanent`,
  () => `ip -6 neighbour replace ${GATEWAY6} lladdr ${PEER_MAC6} dev ${DEV6} nud stale`,
  () => `ip -6 neighbour add fd00:5:0:99:: lladdr 02:00:00:00:00:99 dev ${DEV6} nud permanent`,
  () => `bridge fdb del ${PEER_MAC6} dev ${DEV6}`,
  () => `bridge fdb replace ${PEER_MAC6} dev ${DEV6} dst fd77::99`,
  () => `bridge fdb add 02:00:00:00:00:99 dev ${DEV6} dst fd77::99`,
  () => `ip nexthop del id ${nexthopId(DST6)}`,
  () => 'ip nexthop flush',
  () => `ip nexthop replace id ${nexthopId(DST6)} via fd00:5:0:99:: dev ${DEV6} onlink proto 84`,
  () => `ip -6 addr flush dev ${DEV6}`,
  () => `ip -6 addr flush dev ${DEV6} scope global`,
  () => `ip -6 addr add fd00:5:0:44::4/128 dev ${DEV6}`,
  () => `ip link del ${DEV}; ip link del ${DEV6}`,
  () => `ip link set ${DEV6} address 02:00:00:00:00:99`,
];

/** Without nexthop objects the kernel makes one route of several. */
const PLAIN_DRIFT6: readonly (() => string)[] = [
  ...ROUTE_DRIFT6,
  () => `ip -6 route append ${DST6} via fd77::1 dev eth0`,
  () => `ip -6 route append ${DST6} via fd00:5:0:30:: dev ${DEV6} onlink proto 84`,
];

const DRIFT_TAP6 = DRIFT6.filter((fault) => !/bridge fdb/.test(String(fault)));

function keepAddresses(value: 0 | 1): string {
  return ['all', DEV6].map((name) => `sysctl -qw net/ipv6/conf/${name}/keep_addr_on_down=${value}`).join('; ');
}

/** Of host-gw, where nothing is ours but routes on the underlay. Others' routes of other metrics are theirs. */
const DRIFT_HOST_GW: readonly string[] = [
  `ip route del ${DST}`,
  `ip route replace ${DST} via 192.168.77.1`,
  `ip route replace ${DST} dev eth0`,
  `ip route replace blackhole ${DST}`,
  `ip route prepend blackhole ${DST}`,
  `ip route prepend ${DST} via 192.168.77.1`,
  `ip route del ${DST}; ip route add ${DST} via 192.168.77.1 metric 50`,
  `ip route del ${DST}; ip route add ${DST} via 192.168.77.102 dev eth0 proto 84 metric 50`,
  `ip route add ${DST} via 192.168.77.1 proto 84 metric 50`,
  `ip route del ${DST}; ip route add ${DST} via 192.168.77.102 dev eth0 proto 84 mtu 600`,
  `ip route del ${DST}; ip route add ${DST} via 192.168.77.102 dev eth0 proto 84 onlink`,
  `ip route del ${DST}; ip route add ${DST} via 192.168.77.102 dev eth0`,
  'ip route add 10.5.99.0/28 via 192.168.77.99 proto 84',
  'ip -4 route flush proto 84',
  'ip link set eth0 down; ip link set eth0 up; ip address replace fd77::10/64 dev eth0 nodad',
  'ip -4 address flush dev eth0; ip address add 192.168.77.10/24 dev eth0',
  `ip -6 route del ${DST6}`,
  `ip -6 route replace ${DST6} via fd77::1 dev eth0`,
  `ip -6 route replace ${DST6} dev eth0`,
  `ip -6 route replace blackhole ${DST6}`,
  `ip -6 route append ${DST6} via fd77::1 dev eth0`,
  `ip -6 route append ${DST6} via fd77::1 dev eth0 proto 84`,
  `ip -6 route replace ${DST6} nexthop via fd77::20 dev eth0 nexthop via fd77::1 dev eth0`,
  `ip -6 route del ${DST6}; ip -6 route add ${DST6} via fd77::1 dev eth0 metric 50`,
  `ip -6 route del ${DST6}; ip -6 route add ${DST6} via fd77::20 dev eth0 proto 84 metric 50`,
  `ip -6 route add ${DST6} via fd77::1 dev eth0 proto 84 metric 2000`,
  `ip -6 route del ${DST6}; ip -6 route add ${DST6} via fd77::20 dev eth0 proto 84 mtu 1300`,
  `ip -6 route del ${DST6}; ip -6 route add ${DST6} via fd77::20 dev eth0`,
  'ip -6 route add fd00:5:0:99::/64 via fd77::99 dev eth0 proto 84',
  'ip -6 route flush proto 84',
  'ip -6 addr flush dev eth0 scope global; ip address add fd77::10/64 dev eth0 nodad',
];

test.before((t) => {
  if (!needs(t, 'root', 'namespaces', 'ip')) return;
  enterFreshNamespace();
  run('ip link add eth0 type veth peer name far; ip link set far up; ip link set eth0 up');
  run('ip address add 192.168.77.10/24 dev eth0; ip address add fd77::10/64 dev eth0 nodad');
});

function cleaned(): void {
  run('ip link del other0 2>/dev/null || true; ip link del br7 2>/dev/null || true');
  for (const dev of [DEV, DEV6]) run(`ip link del ${dev} 2>/dev/null || true`);
  run('ip nexthop flush 2>/dev/null || true; ip route flush root 10.5.0.0/16; ip -6 route flush root fd00:5::/32');
}

/** An agent whose peers are all in place, then the fault: all is as before, and peers that come and go are still followed. */
async function heals(fault: () => string, options: Options): Promise<void> {
  const { families = [4], isHostGw = false } = options;
  const as = isHostGw ? near : (lease: StoredLease): StoredLease => lease;
  const agent = await start(options.config, options);
  try {
    agent.reconciler.update(come(...PEERS.map(as)), true);
    await settled(agent);
    const before = picture(families);
    const command = fault();
    if (options.nexthopObjects === false && /ip nexthop|nhid/.test(command)) return;
    run(command);
    await eventually(`healed: ${command}`, () => picture(families) === before, {
      everyMs: 20,
      context: () => `before ${before}, now ${picture(families)}, ${JSON.stringify(agent.reconciler.step())}`,
    });
    await settled(agent);
    agent.reconciler.update([...go(as(PEERS[2])), ...come(as(NEWCOMER))], false);
    await settled(agent);
    for (const family of families) {
      const left = [PEERS[0], PEERS[1], NEWCOMER].map((one) => String(family === 4 ? one.subnet : one.subnet6));
      const routes = ours(family)['routes']?.filter((line) => line.includes('proto 84'));
      deepEqual(
        routes?.map((line) => line.split(' ')[0]),
        left,
        command,
      );
    }
  } finally {
    await agent.stop();
    cleaned();
  }
}

const VARIANTS: Record<string, readonly [readonly (() => string)[], Options]> = {
  'vxlan, IPv4': [DRIFT, {}],
  'vxlan, IPv4, plain routes': [DRIFT, { nexthopObjects: false }],
  'vxlan, both families': [DRIFT6, { families: [4, 6] }],
  'vxlan, both families, plain routes': [PLAIN_DRIFT6, { families: [4, 6], nexthopObjects: false }],
  'vxlan in user space, IPv4': [DRIFT_TAP, { config: { Mode: 'user' }, nexthopObjects: false }],
  'vxlan in user space, both families': [
    DRIFT_TAP6,
    { config: { Mode: 'user' }, nexthopObjects: false, families: [4, 6] },
  ],
  'host-gw, both families': [DRIFT_HOST_GW.map((command) => () => command), { families: [4, 6], isHostGw: true }],
};

for (const [name, [faults, options]] of Object.entries(VARIANTS)) {
  test.serial(`every drift heals without waiting for the resync: ${name}`, async (t) => {
    if (!needs(t, 'root', 'namespaces', 'ip')) return;
    for (const fault of faults) await t.notThrowsAsync(heals(fault, options), String(fault));
  });
}

test.serial('drift heals by the resync alone, where no event is told', async (t) => {
  if (!needs(t, 'root', 'namespaces', 'ip')) return;
  // Some of each kind: each waits for the resync.
  const some = DRIFT.filter((_, place) => place % 5 < 2);
  for (const fault of some) await t.notThrowsAsync(heals(fault, { isDeaf: true }), String(fault));
});

test.serial("flannel's device, MAC and routes are taken over without a deletion", async (t) => {
  if (!needs(t, 'root', 'namespaces', 'ip')) return;
  t.teardown(cleaned);
  run(
    `ip link add ${DEV} address 02:00:00:00:00:77 mtu 1450 type vxlan id 1 dev eth0 local 192.168.77.10 dstport 8472 nolearning`,
  );
  run(`ip address add 10.5.0.0/32 dev ${DEV}; ip link set ${DEV} up`);
  const stale = peer(9 * 16);
  for (const one of [...PEERS, stale]) {
    const gateway = one.subnet.replace(/\/.*/, '');
    const lladdr = /02:[0-9a-f:]+/.exec(one.backendData ?? '')?.[0];
    run(`ip neighbour add ${gateway} lladdr ${lladdr} dev ${DEV} nud permanent`);
    run(`bridge fdb add ${lladdr} dev ${DEV} dst ${one.publicIp}`);
    run(`ip route add ${one.subnet} via ${gateway} dev ${DEV} onlink`);
  }
  const index = run(`ip -o link show ${DEV}`).split(':')[0];
  const events = await follow();
  const agent = await start({}, { mac: mac('02:00:00:00:00:77') });
  t.teardown(agent.stop);
  agent.reconciler.update(come(...PEERS), false);
  await settled(agent);
  t.deepEqual(
    (await events.so()).filter((line) => line.includes('Deleted')),
    [],
  );
  t.is(lines(`ip route show proto 84`).length, 3);
  t.is(ours()['neighbours']?.length, 4, 'not before all peers are known');
  agent.reconciler.update([], true);
  await eventually('swept', () => ours()['neighbours']?.length === 3);
  await settled(agent);
  const deleted = (await events.so()).filter((line) => line.includes('Deleted'));
  t.is(deleted.length, 3, deleted.join('\n'));
  t.true(
    deleted.every((line) => line.includes('10.5.9.0') || line.includes('02:00:00:05:00:90')),
    deleted.join('\n'),
  );
  t.is(run(`ip -o link show ${DEV}`).split(':')[0], index);
  t.true(run(`ip link show ${DEV}`).includes('02:00:00:00:00:77'));
  await events.stop();
});

/** What `ip monitor` prints, up to a mark that the caller makes. */
async function follow(): Promise<{ so: () => Promise<string[]>; stop: () => Promise<void> }> {
  const child = spawn('ip', ['-o', 'monitor', 'all'], { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  let marks = 0;
  let tries = 0;
  child.stdout.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  const so = async (): Promise<string[]> => {
    marks += 1;
    const mark = `198.51.100.${marks}`;
    await eventually('ip monitor has caught up', () => {
      // Another MAC each time: the kernel does not tell of what stays the same, and `ip` may not listen yet.
      tries = (tries + 1) % 100;
      run(
        `ip neighbour replace ${mark} lladdr 02:00:00:00:00:${String(tries).padStart(2, '0')} dev eth0 nud permanent`,
      );
      return text.includes(mark);
    });
    return text.split('\n');
  };
  await so();
  const stop = async (): Promise<void> => {
    child.kill();
    await once(child, 'exit');
  };
  return { so, stop };
}

test.serial('routes of others that shadow a peer are named, and left alone', async (t) => {
  if (!needs(t, 'root', 'namespaces', 'ip')) return;
  t.teardown(cleaned);
  run('ip route add 10.5.4.5/32 via 192.168.77.1');
  const agent = await start();
  t.teardown(agent.stop);
  agent.reconciler.update(come(...PEERS), true);
  await settled(agent);
  const named = (): string[] => agent.reconciler.shadows().map(({ route, peer }) => `${route.dst} of ${peer}`);
  t.deepEqual(named(), ['10.5.4.5/32 of 10.5.4.0/28']);
  // Only the kernel's event tells of these; the resync is far away.
  run(
    'ip route add 10.5.2.3/32 via 192.168.77.1; ip route add 10.5.2.8/29 dev eth0; ip route add blackhole 10.5.3.8/29',
  );
  run(
    'ip route add 10.5.77.7/32 dev eth0; ip route add 10.5.0.0/16 dev eth0; ip route add 10.5.2.0/28 dev eth0 metric 9',
  );
  const all = ['10.5.2.3/32 of 10.5.2.0/28', '10.5.2.8/29 of 10.5.2.0/28', '10.5.3.8/29 of 10.5.3.0/28', ...named()];
  await eventually('all are named', () => JSON.stringify(named().sort()) === JSON.stringify(all), {
    context: () => named().join(),
  });
  t.true(agent.reconciler.step().inStep, 'ours are in place');
  t.regex(
    shadowProblem(agent.reconciler.shadows()) ?? '',
    /10\.5\.2\.8\/29 dev eth0, protocol 3 \(before 10\.5\.2\.0\/28\)/,
  );
  run('ip route del 10.5.2.3/32; ip route del 10.5.2.8/29; ip route del 10.5.3.8/29; ip route del 10.5.4.5/32');
  await eventually('none is named', () => named().length === 0, { context: () => named().join() });
  // A peer that comes to where a route of others is.
  agent.reconciler.update(come(peer(77 * 16)), false);
  await eventually('the newcomer too', () => named().join() === '10.5.77.7/32 of 10.5.77.0/28', {
    context: () => named().join(),
  });
  run('ip route del 10.5.77.7/32; ip route del 10.5.0.0/16; ip route del 10.5.2.0/28 metric 9');
});

for (const nexthopObjects of [true, false]) {
  test.serial(
    `IPv6 routes of others to where peers are keep none out; nexthop objects: ${nexthopObjects}`,
    async (t) => {
      if (!needs(t, 'root', 'namespaces', 'ip')) return;
      t.teardown(cleaned);
      run(`ip -6 route add fd00:5::/32 via fd77::1; ip -6 route add ${DST6} via fd77::1`);
      const agent = await start({}, { families: [4, 6], nexthopObjects });
      t.teardown(agent.stop);
      agent.reconciler.update(come(...PEERS), true);
      await settled(agent);
      const routes = (): string[] => lines('ip -6 route show proto 84').map((line) => line.split(' ')[0] ?? '');
      t.deepEqual(
        routes(),
        PEERS.map(({ subnet6 }) => String(subnet6)),
      );
      run(`ip -6 route replace ${DST6} via fd77::1; ip -6 route del ${PEERS[1].subnet6}`);
      await eventually('both are ours again', () => routes().length === 3, { context: () => routes().join() });
      await settled(agent);
      t.true(run(`ip -6 route get ${GATEWAY6}1`).includes(DEV6));
      t.true(run('ip -6 route show fd00:5::/32').includes('via fd77::1 dev eth0'), 'it is left to them');
    },
  );
}

test.serial('foreign objects stay as they are', async (t) => {
  if (!needs(t, 'root', 'namespaces', 'ip')) return;
  t.teardown(cleaned);
  run('ip nexthop add id 7 via 192.168.77.1 dev eth0');
  run('ip nexthop add id 1409286150 via 192.168.77.1 dev eth0 proto 84');
  run('ip nexthop add id 1409286151 blackhole proto 84');
  run('ip route add 10.5.200.0/24 via 192.168.77.1 proto 16');
  run('ip route add 10.5.201.0/24 nhid 7');
  run('ip route add 10.6.0.0/16 via 192.168.77.1 proto 84');
  run('ip route add blackhole 10.5.0.0/16');
  run('ip neighbour add 10.5.2.0 lladdr 02:00:00:00:00:55 dev eth0 nud permanent');
  const foreign = (): string[] => [
    ...lines('ip nexthop').filter((line) => !line.includes(DEV)),
    ...lines('ip route').filter((line) => !line.includes(DEV)),
    ...lines('ip neighbour show dev eth0 nud permanent'),
    ...lines('ip address show dev eth0'),
  ];
  const before = foreign();
  const agent = await start();
  t.teardown(agent.stop);
  agent.reconciler.update(come(...PEERS), true);
  await settled(agent);
  agent.reconciler.update(go(...PEERS), false);
  await settled(agent);
  run(`ip link del ${DEV}`);
  await eventually('the device is back', () => run(`ip link show ${DEV}`).includes('UP'));
  await settled(agent);
  t.deepEqual(foreign(), before);
  t.deepEqual(ours()['neighbours'], []);
  run('ip route del blackhole 10.5.0.0/16; ip route del 10.6.0.0/16; ip route del 10.5.200.0/24');
  run('ip nexthop flush; ip neighbour del 10.5.2.0 dev eth0');
});

test.serial(
  "a nexthop that others put in the place of ours is left to them, and the peer's route goes on",
  async (t) => {
    if (!needs(t, 'root', 'namespaces', 'ip')) return;
    t.teardown(cleaned);
    const agent = await start();
    t.teardown(agent.stop);
    agent.reconciler.update(come(...PEERS), true);
    await settled(agent);
    for (const what of ['via 192.168.77.1 dev eth0', 'blackhole']) {
      const id = nexthopId();
      run(`ip nexthop replace id ${id} ${what}`);
      await eventually(
        'the route is on another nexthop',
        () => nexthopId() !== id && run(`ip route get 10.5.2.1`).includes(DEV),
      );
      await settled(agent);
      t.true(run(`ip nexthop show id ${id}`).includes(what));
    }
  },
);

test.serial('DirectRouting follows the underlay', async (t) => {
  if (!needs(t, 'root', 'namespaces', 'ip')) return;
  t.teardown(cleaned);
  const agent = await start({ DirectRouting: true });
  t.teardown(agent.stop);
  const near = { ...PEERS[0], publicIp: ip('192.168.77.2') };
  agent.reconciler.update(come(near, PEERS[1]), true);
  await settled(agent);
  const way = (): string => run(`ip route show ${DST}`);
  t.true(way().includes('via 192.168.77.2 dev eth0'), way());
  run('ip route add 192.168.77.2/32 via 192.168.77.1');
  await eventually('behind a router: encapsulated', () => way().includes(DEV));
  run('ip route del 192.168.77.2/32');
  await eventually('a neighbour again: direct', () => way().includes('dev eth0'));
  run('ip link set eth0 down');
  run('ip link set eth0 up');
  await eventually('direct again', () => way().includes('via 192.168.77.2 dev eth0'));
  await settled(agent);
  t.deepEqual(ours()['nexthops']?.length, 1);
});

test.serial('2,000 peers come and go, and a restart among them changes nothing', async (t) => {
  if (!needs(t, 'root', 'namespaces', 'ip')) return;
  t.teardown(cleaned);
  const many = Array.from({ length: 2_000 }, (_, i) => peer(i + 16));
  const first = await start();
  first.reconciler.update(come(...many), true);
  await settled(first);
  t.is(first.reconciler.counters.refusals, 0);
  t.is(first.reconciler.counters.repairs, 0);
  const count = (): number[] => Object.values(ours()).map((all) => all.length);
  t.deepEqual(count(), [6, 1, 2_000, 2_000, 2_000, 2_000]);
  const before = ours();
  await first.stop();
  const second = await start();
  t.teardown(second.stop);
  second.reconciler.update(come(...many), true);
  await settled(second);
  t.is(second.reconciler.counters.operations, 0);
  t.deepEqual(ours(), before);
  // The host gets another address and back: two changes of the device, none of a peer.
  run('ip addr add 192.168.77.99/24 dev eth0');
  for (const address of ['192.168.77.99', '192.168.77.10']) {
    await second.reconciler.moveTo(moved(ip(address)));
    await settled(second);
    t.regex(run(`ip -d link show ${DEV}`), new RegExp(`local ${address} `));
  }
  run('ip addr del 192.168.77.99/24 dev eth0');
  await settled(second);
  t.is(second.reconciler.counters.operations, 2);
  t.deepEqual(ours(), before);
  const deletedAt = performance.now();
  run(`ip link del ${DEV}`);
  // Device, address, and four objects of each peer, all of them once.
  const done = (): boolean => second.reconciler.counters.operations === 2 + 2 + 4 * 2_000;
  await eventually('all are programmed again', done, { everyMs: 5 });
  t.log(`the device deleted: 2,000 peers are programmed again after ${Math.round(performance.now() - deletedAt)} ms`);
  await eventually('all are back', () => JSON.stringify(ours()) === JSON.stringify(before));
  await settled(second);
  second.reconciler.update(go(...many), false);
  await settled(second);
  t.deepEqual(count(), [6, 1, 0, 0, 0, 0]);
});
