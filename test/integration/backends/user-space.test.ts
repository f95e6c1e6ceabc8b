/** Devices whose packets a process of ours carries, kept in the real kernel by the reconciler. */
import { closeSync } from 'node:fs';
import test from 'ava';
import type { Backend } from '../../../backends/backend.ts';
import { createBackend } from '../../../backends/backends.ts';
import type { Kernel } from '../../../backends/kernel/kernel.ts';
import { openKernel } from '../../../backends/kernel/linux-kernel.ts';
import { openTun } from '../../../backends/kernel/tun.ts';
import { Reconciler } from '../../../backends/reconciler.ts';
import { shadowProblem } from '../../../backends/shadows.ts';
import type { JsonObject } from '../../../config/go-json.ts';
import { silentLog } from '../../../config/log.ts';
import type { StoredLease } from '../../../leases/lease.ts';
import { ip, mac, prefix } from '../../support/addresses.ts';
import { eventually } from '../../support/eventually.ts';
import { enterFreshNamespace, run } from '../../support/netns.ts';
import { realClock } from '../../support/real-clock.ts';
import { needs } from '../../support/require.ts';

const NETWORKS = [prefix('10.5.0.0/16')];
const OWN = { subnet: prefix('10.5.1.0/24'), subnet6: undefined, networks: NETWORKS };
const MACS = new Map([['flannel.1', mac('02:00:00:00:00:10')]]);
const UNDERLAY = {
  ...{ index: 2, dev: 'eth0', mtuBytes: 1500, ip: ip('192.168.77.10'), ip6: undefined },
  ...{ publicIp: ip('192.168.77.10'), publicIp6: undefined, hostAddresses: new Set([ip('192.168.77.10')]) },
};

function peer(n: number, change: Partial<StoredLease>): StoredLease {
  const subnet = prefix(`10.5.${n}.0/24`);
  return {
    ...{ subnet, subnet6: undefined, publicIp: ip(`192.168.77.${n}`), publicIp6: undefined, owner: undefined },
    ...{ backendType: '', backendData: undefined, backendV6Data: undefined },
    ...{ key: `/n/subnets/${subnet}`, createRevision: n, modRevision: n, etcdLease: '1', value: '', ...change },
  };
}

interface Agent {
  readonly reconciler: Reconciler;
  readonly kernel: Kernel;
  readonly stop: () => Promise<void>;
}

function backendOf(type: string, config: JsonObject = {}): Backend {
  const made = createBackend(type, config, { ipv4: true, ipv6: false }, UNDERLAY);
  if (!made.ok) throw new Error(made.problems.join('; '));
  return made.backend;
}

/** Without resync: what heals, heals because of events. */
async function start(backend: Backend, peers: readonly StoredLease[] = []): Promise<Agent> {
  const kernel = await openKernel(silentLog);
  const reconciler = await Reconciler.start({
    ...{ kernel, backend, underlay: 'eth0', networks: NETWORKS, ownSubnets: [OWN.subnet], nexthopObjects: true },
    ...{ resyncSeconds: 100_000, clock: realClock, log: silentLog },
  });
  await reconciler.setDevice(backend.device(OWN, MACS));
  const ending = new AbortController();
  const ended = reconciler.run(ending.signal).catch((reason: unknown) => reason);
  reconciler.update(
    peers.map((after) => ({ key: after.key, before: undefined, after })),
    true,
  );
  const stop = async (): Promise<void> => {
    if (ending.signal.aborted) return;
    ending.abort();
    await ended;
    kernel.close();
  };
  return { reconciler, kernel, stop };
}

async function settled({ reconciler }: Agent): Promise<void> {
  await eventually('in step', () => reconciler.step().inStep, { context: () => JSON.stringify(reconciler.step()) });
}

/** The device with what stands on it, without index and what the kernel invents. */
function picture(): string {
  const link = run('ip -o -d link show flannel0 2>/dev/null || true');
  const shown = [/<[^>]*>/, /mtu \d+/, /tun type \w+/, /persist \w+/].map((one) => one.exec(link)?.[0] ?? 'none');
  const addresses = run('ip -o -4 address show dev flannel0 2>/dev/null || true').replace(/^\d+: /gm, '');
  const routes = run('ip route show')
    .split('\n')
    .filter((line) => line.startsWith('10.5.') || /flannel/.test(line));
  return [...shown, addresses, ...routes].join('\n');
}

function cleaned(): void {
  for (const dev of ['flannel0', 'flannel.1', 'other0']) run(`ip link del ${dev} 2>/dev/null || true`);
  run('ip nexthop flush 2>/dev/null || true; ip route flush root 10.5.0.0/16');
}

test.before((t) => {
  if (!needs(t, 'root', 'namespaces', 'ip')) return;
  enterFreshNamespace();
  run('ip link add eth0 type veth peer name far; ip link set far up; ip link set eth0 up');
  run('ip address add 192.168.77.10/24 dev eth0');
});

/** What an operator, a script or another daemon does; each must be as if it had not been. */
const DRIFT = [
  'ip route del 10.5.0.0/16 metric 84',
  'ip route replace 10.5.0.0/16 dev flannel0 metric 84',
  'ip route replace 10.5.0.0/16 via 192.168.77.1 metric 84',
  'ip route replace blackhole 10.5.0.0/16 metric 84',
  'ip route del 10.5.0.0/16 metric 84; ip route add 10.5.0.0/16 dev flannel0 metric 84 proto 84 mtu 600',
  'ip route add 10.5.99.0/24 dev flannel0 proto 84',
  'ip route add 10.5.99.0/24 dev flannel0',
  'ip -4 route flush proto 84',
  'ip link del flannel0',
  'ip tuntap del mode tun name flannel0',
  'ip link set flannel0 down',
  'ip link set flannel0 down; ip link set flannel0 up',
  'ip link set flannel0 mtu 1300',
  'ip address flush dev flannel0',
  'ip address add 10.5.44.4/32 dev flannel0',
  'ip link set flannel0 name other0',
  'ip link del flannel0; ip link add flannel0 type bridge; ip link set flannel0 up',
  'ip link del flannel0; ip link add flannel0 type veth peer name other0',
  'ip link del flannel0; ip tuntap add mode tap name flannel0; ip link set flannel0 up',
  'ip link del flannel0; ip tuntap add mode tun multi_queue name flannel0; ip link set flannel0 up',
  'ip link del flannel0; ip tuntap add mode tun name flannel0; ip address add 10.5.1.0/32 dev flannel0',
];

for (const command of DRIFT) {
  test.serial(`udp: heals without waiting for the resync: ${command}`, async (t) => {
    if (!needs(t, 'root', 'namespaces', 'ip')) return;
    t.teardown(cleaned);
    const agent = await start(backendOf('udp'), [peer(2, {})]);
    t.teardown(agent.stop);
    await settled(agent);
    const before = picture();
    t.regex(before, /UP/);
    t.regex(before, /mtu 1472\ntun type tun\npersist on\nflannel0 +inet 10\.5\.1\.0\/32 /);
    t.regex(before, /\n10\.5\.0\.0\/16 dev flannel0 proto 84 metric 84/);
    run(command);
    await eventually(`healed: ${command}`, () => picture() === before, {
      context: () => `before ${before}\nnow ${picture()}\n${JSON.stringify(agent.reconciler.step())}`,
    });
    await settled(agent);
  });
}

test.serial('udp: what stands is found by a second run, which writes nothing', async (t) => {
  if (!needs(t, 'root', 'namespaces', 'ip')) return;
  t.teardown(cleaned);
  const first = await start(backendOf('udp'));
  t.teardown(first.stop);
  await settled(first);
  await first.stop();
  const second = await start(backendOf('udp'));
  t.teardown(second.stop);
  await settled(second);
  t.is(second.reconciler.counters.operations, 0);
});

test.serial('udp: routes of others that go before ours are named, this host’s own are not', async (t) => {
  if (!needs(t, 'root', 'namespaces', 'ip')) return;
  t.teardown(cleaned);
  const agent = await start(backendOf('udp'));
  t.teardown(agent.stop);
  await settled(agent);
  run('ip route add 10.5.1.0/24 dev eth0; ip route add 10.5.1.7/32 via 192.168.77.1');
  run('ip route add 10.5.0.0/16 dev eth0; ip route add 10.5.7.0/24 via 192.168.77.1');
  const named = (): string[] => agent.reconciler.shadows().map(({ route, peer }) => `${route.dst} before ${peer}`);
  const all = ['10.5.0.0/16 before 10.5.0.0/16', '10.5.7.0/24 before 10.5.0.0/16'];
  await eventually('both are named', () => JSON.stringify(named().sort()) === JSON.stringify(all), {
    context: () => named().join(),
  });
  t.true(agent.reconciler.step().inStep, 'ours is in place');
  t.regex(shadowProblem(agent.reconciler.shadows()) ?? '', /10\.5\.0\.0\/16 dev eth0, protocol 3 /);
  run('ip route del 10.5.0.0/16 dev eth0; ip route del 10.5.7.0/24');
  await eventually('none is named', () => named().length === 0, { context: () => named().join() });
});

test.serial('a device in the hand of another process is said, and taken over when that lets go', async (t) => {
  if (!needs(t, 'root', 'namespaces', 'ip')) return;
  t.teardown(cleaned);
  const holder = await start(backendOf('udp'));
  t.teardown(holder.stop);
  await settled(holder);
  await holder.stop();
  const opened = openTun('flannel0', 3, false);
  if (!('fd' in opened)) return t.fail(opened.detail);
  // Its data path holds it: to the reconciler that is all the same.
  const agent = await start(backendOf('udp'));
  t.teardown(agent.stop);
  await settled(agent);
  t.is(agent.reconciler.counters.operations, 0);
  run('ip link del flannel0');
  await eventually('made again', () => picture().includes('proto 84 metric 84'));
  await settled(agent);
  closeSync(opened.fd);
  t.true(agent.reconciler.step().inStep);
});

const vxlanPeer = peer(2, { backendType: 'vxlan', backendData: '{"VNI":1,"VtepMAC":"02:00:00:00:04:02"}' });
const shownKind = (): string => /(vxlan id 1|tun type tap)/.exec(run('ip -d link show flannel.1'))?.[0] ?? 'none';

test.serial('vxlan goes from the kernel to user space and back: the device is another one each time', async (t) => {
  if (!needs(t, 'root', 'namespaces', 'ip')) return;
  t.teardown(cleaned);
  for (const [mode, kind] of [
    ['kernel', 'vxlan id 1'],
    ['user', 'tun type tap'],
    ['kernel', 'vxlan id 1'],
    ['USER', 'tun type tap'],
  ] as const) {
    const agent = await start(backendOf('vxlan', { Mode: mode }), [vxlanPeer]);
    t.teardown(agent.stop);
    await settled(agent);
    t.is(shownKind(), kind);
    t.regex(run('ip link show flannel.1'), /02:00:00:00:00:10/);
    t.regex(run('ip route get 10.5.2.9'), /dev flannel\.1/);
    t.regex(run('ip neigh show dev flannel.1 nud permanent'), /10\.5\.2\.0 lladdr 02:00:00:00:04:02/);
    t.is(/dst 192\.168\.77\.2/.test(run('bridge fdb show dev flannel.1')), mode === 'kernel');
    await agent.stop();
  }
});

test.serial('networks that leave one backend for another leave nothing of it', async (t) => {
  if (!needs(t, 'root', 'namespaces', 'ip')) return;
  t.teardown(cleaned);
  const udp = await start(backendOf('udp'));
  t.teardown(udp.stop);
  await settled(udp);
  await udp.stop();
  const vxlan = await start(backendOf('vxlan'), [vxlanPeer]);
  t.teardown(vxlan.stop);
  await settled(vxlan);
  t.regex(run('ip route get 10.5.2.9'), /dev flannel\.1/);
  t.regex(run('ip route show dev flannel0'), /metric 84/, 'the device of before is for the sweep, with its route');
  await vxlan.stop();
  const again = await start(backendOf('udp'), [peer(2, {})]);
  t.teardown(again.stop);
  await settled(again);
  t.regex(run('ip route get 10.5.2.9'), /dev flannel0/);
  t.is(run('ip route show proto 84').trim().split('\n').length, 1);
});
