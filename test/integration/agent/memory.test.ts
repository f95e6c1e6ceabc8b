/** A start without etcd: what an earlier run left is gone by, but only where it may still be believed. */
import test, { type ExecutionContext } from 'ava';
import type { Status } from '../../../agent/status.ts';
import { eventually } from '../../support/eventually.ts';
import type { Container, Host } from '../../support/host.ts';
import { createLab, type LabOptions } from '../../support/hosts.ts';
import { PacketStream } from '../../support/packet-stream.ts';
import type { LabProcess } from '../../support/process.ts';
import { needs } from '../../support/require.ts';
import { asSystemd, http, NOTIFY_SOCKET, Scene, SUBNET_ENV, VXLAN } from './scene.ts';

const PREFIX = '/coreos.com/network';
const STATE = `/var/lib/tartan${PREFIX}`;

/** etcd is stopped in each test: a lab for each. */
async function world(t: ExecutionContext, hosts: number, options: LabOptions = {}): Promise<Scene | undefined> {
  if (!needs(t, 'lab')) return undefined;
  t.timeout(180_000);
  const lab = await createLab({ hosts: 0, ...options });
  t.teardown(() => lab.destroy());
  const scene = new Scene(lab, PREFIX);
  for (let i = 0; i < hosts; i++) await scene.addHost();
  await scene.configure(VXLAN);
  return scene;
}

interface Member {
  readonly host: Host;
  readonly agent: LabProcess;
}

async function readyAll(scene: Scene, flags: readonly string[] = []): Promise<Member[]> {
  const members = await Promise.all(scene.hosts.map(async (host) => ({ host, agent: await scene.ready(host, flags) })));
  for (const { host, agent } of members) await inStep(scene, { host, agent }, members.length - 1);
  return members;
}

async function inStep(scene: Scene, { host, agent }: Member, peers: number): Promise<void> {
  const wanted = `has ${peers} peers in step`;
  await scene.status(host, agent, (status) => status.inStep && status.peers.length === peers, wanted);
}

async function container(host: Host): Promise<Container> {
  const env = await host.subnetEnv();
  if (!env) throw new Error(`${host.name} has no subnet file`);
  return host.bridge(env);
}

/** Waits until the leases of so many peers are on disk. */
async function remembers(host: Host, peers: number): Promise<void> {
  await eventually(`${host.name} has written ${peers} peers down`, async () => {
    const text = (await host.read(`${STATE}/cluster.jsonl`)) ?? '';
    return text.match(/"key"/g)?.length === peers + 1;
  });
}

/** A host that lost its power while etcd is away, booted again. */
async function rebooted(scene: Scene, { host }: Member, flags: readonly string[] = []): Promise<Member> {
  await scene.lab.etcd.stop();
  const booted = await scene.lab.reboot(host);
  return { host: booted, agent: scene.start(booted, flags) };
}

test('packets in user space move by the peers of memory, while etcd is away', async (t) => {
  const scene = await world(t, 2);
  if (!scene) return;
  await scene.configure('{"Network":"10.5.0.0/16"}');
  const members = await readyAll(scene);
  const [one, two] = members;
  if (!one || !two) return;
  await Promise.all(members.map(({ host }) => remembers(host, 1)));
  const [here, there] = await Promise.all([container(one.host), container(two.host)]);
  await scene.lab.etcd.stop();
  await one.agent.kill();
  const again = scene.start(one.host);
  t.truthy((await scene.isReady(one.host, again)).fromMemory?.leasesOf);
  await eventually('packets cross', async () => (await here.ping(there)).ok);
});

test('a host that boots while etcd is away runs from memory, and is in step when etcd is back', async (t) => {
  const scene = await world(t, 3);
  if (!scene) return;
  const members = await readyAll(scene);
  const [one, two, three] = members;
  if (!one || !two || !three) return;
  await Promise.all(members.map(({ host }) => remembers(host, 2)));
  const env = await one.host.read(SUBNET_ENV);
  const leases = await scene.leases();
  const away = await Promise.all([container(two.host), container(three.host)]);

  await scene.lab.etcd.stop();
  const booted = await scene.lab.reboot(one.host);
  const systemd = await asSystemd(booted);
  const again = { host: booted, agent: scene.start(booted, ['--healthz-port=8471'], { NOTIFY_SOCKET }) };
  const status = await scene.isReady(again.host, again.agent);
  t.truthy(status.fromMemory?.leasesOf);
  const { since, leasesOf } = status.fromMemory ?? {};
  t.true(
    status.problems.some((one) => one.startsWith(`running from memory since ${since}, by the leases of ${leasesOf}`)),
  );
  t.true(again.agent.lines.some((line) => /warn .*running from memory/.test(line)));
  t.regex(await systemd.until(/^STATUS=lease/), new RegExp(`; running from memory since ${since}, by the leases of `));
  t.is((await http(again.host, 'http://127.0.0.1:8471/readyz')).status, 200);
  t.regex((await http(again.host, 'http://127.0.0.1:8471/metrics')).body, /^tartan_from_memory 1$/m);
  t.is(await again.host.read(SUBNET_ENV), env);
  const here = await container(again.host);
  const streams = await Promise.all(away.map((there) => PacketStream.start(here, there)));

  await scene.lab.etcd.start();
  const back = await scene.status(
    ...([again.host, again.agent] as const),
    ({ fromMemory, etcd, problems, inStep: isInStep }) =>
      fromMemory === undefined && etcd.connected && problems.length === 0 && isInStep,
  );
  t.is(back.peers.length, 2);
  t.true(again.agent.lines.some((line) => /the lease is renewed again/.test(line)));
  await systemd.until(/^STATUS=lease [\d./]+, backend vxlan on eth0\|$/);
  // Nothing was written that peers would have to look at.
  t.deepEqual(await scene.leases(), leases);
  for (const stream of streams) {
    const { lost, oddities } = await stream.stop();
    t.deepEqual([lost, oddities], [[], []], stream.title);
  }
});

test('what the host becomes while it runs from memory is published at once', async (t) => {
  const scene = await world(t, 1);
  if (!scene) return;
  const [member] = await readyAll(scene);
  if (!member) return t.fail();
  await remembers(member.host, 0);
  const again = await rebooted(scene, member);
  const isFromMemory = ({ ready, fromMemory }: Status): boolean => ready && fromMemory !== undefined;
  await scene.status(again.host, again.agent, isFromMemory, 'runs from memory');
  await again.host.configure('link set eth0 mtu 1400');
  await eventually('the new MTU is published', async () =>
    /^FLANNEL_MTU=1350$/m.test((await again.host.read(SUBNET_ENV)) ?? ''),
  );
  t.truthy((await scene.status(again.host, again.agent)).fromMemory);
});

test('an etcd that hangs is no other: the memory is gone by', async (t) => {
  const scene = await world(t, 2);
  if (!scene) return;
  const [one] = await readyAll(scene);
  if (!one) return;
  await remembers(one.host, 1);
  scene.lab.etcd.freeze();
  await one.agent.kill();
  await one.host.run('ip', ['link', 'del', 'flannel.1']);
  await one.host.run('rm', ['-r', '/run/flannel']);
  const agent = scene.start(one.host);
  t.truthy((await scene.isReady(one.host, agent)).fromMemory);
  await inStep(scene, { host: one.host, agent }, 1);
  scene.lab.etcd.thaw();
  await scene.status(one.host, agent, ({ fromMemory, problems }) => !fromMemory && problems.length === 0);
});

test('who came and who left meanwhile is known as soon as etcd is', async (t) => {
  const scene = await world(t, 3);
  if (!scene) return;
  const [, leaving, staying] = scene.hosts;
  const coming = scene.hosts.pop();
  if (!leaving || !coming || !staying) return;
  const [one, other] = await readyAll(scene);
  if (!one || !other) return;
  await remembers(one.host, 1);
  await one.agent.stop();
  await other.agent.stop();
  await scene.lab.etcd.ctl(['del', (await scene.lease(other.host.ip)).key]);
  const third = await scene.ready(coming);
  const again = await rebooted(scene, one);
  await inStep(scene, again, 1);
  t.regex(await again.host.run('bridge', ['fdb', 'show', 'dev', 'flannel.1']), new RegExp(`dst ${leaving.ip} `));
  await scene.lab.etcd.start();
  await scene.status(
    ...([again.host, again.agent] as const),
    ({ peers, inStep: isInStep }) => isInStep && peers.map(({ publicIp }) => publicIp).join() === coming.ip,
  );
  const fdb = await again.host.run('bridge', ['fdb', 'show', 'dev', 'flannel.1']);
  t.notRegex(fdb, new RegExp(`dst ${leaving.ip} `));
  t.regex(fdb, new RegExp(`dst ${coming.ip} `));
  t.true(third.running);
});

test('a lease that ran out meanwhile and is free is claimed again; nothing here changes', async (t) => {
  const scene = await world(t, 1);
  if (!scene) return;
  const [one] = await readyAll(scene);
  if (!one) return;
  await remembers(one.host, 0);
  const lease = await scene.lease(one.host.ip);
  await scene.lab.etcd.ctl(['lease', 'revoke', lease.lease]);
  await one.agent.kill();
  const again = await rebooted(scene, one);
  await scene.isReady(again.host, again.agent);
  await scene.lab.etcd.start();
  await scene.leaseIs(again.host.ip, 'there');
  const claimed = await scene.lease(again.host.ip);
  t.deepEqual([claimed.key, claimed.value], [lease.key, lease.value]);
  await scene.status(again.host, again.agent, ({ fromMemory, problems }) => !fromMemory && problems.length === 0);
});

test('a lease that another host has meanwhile is withdrawn in order', async (t) => {
  const scene = await world(t, 1);
  if (!scene) return;
  const [one] = await readyAll(scene);
  if (!one) return;
  await remembers(one.host, 0);
  await one.agent.kill();
  const { key, value } = await scene.lease(one.host.ip);
  const other = { ...JSON.parse(value), PublicIP: '192.168.77.99', Tartan: { node: 'n', name: 'other', claim: 'c' } };
  await scene.takeKey(key, JSON.stringify(other));
  const again = await rebooted(scene, one);
  await scene.isReady(again.host, again.agent);
  t.truthy(await again.host.subnetEnv());
  await scene.lab.etcd.start();
  t.deepEqual(await again.agent.exited, { status: 7, signal: null });
  t.is(await again.host.subnetEnv(), undefined);
  t.not((await again.host.exec('ip', ['link', 'show', 'flannel.1'])).status, 0);
});

test('past its expiry it goes on, not ready and loud', async (t) => {
  const scene = await world(t, 1);
  if (!scene) return;
  const flags = ['--lease-ttl=45'];
  const [one] = await readyAll(scene, flags);
  if (!one) return;
  await remembers(one.host, 0);
  const again = await rebooted(scene, one, flags);
  await scene.isReady(again.host, again.agent);
  const late = await scene.status(
    ...([again.host, again.agent] as const),
    ({ ready }) => !ready,
    'has run out of time',
    { timeoutMs: 90_000 },
  );
  t.true(late.problems.some((one) => /another host may take the subnet/.test(one)));
  t.truthy(late.fromMemory);
  t.truthy(await again.host.subnetEnv());
  t.is((await again.host.exec('ip', ['link', 'show', 'flannel.1'])).status, 0);
});

const MISFITS: readonly [string, (host: Host) => Promise<unknown>, RegExp][] = [
  [
    'the state file damaged',
    (host) => host.run('sh', ['-c', `echo half >${STATE}/state.json`]),
    /state\.json was not believed \(it is no JSON\); look at .*state\.json\.damaged/,
  ],
  [
    'a directory in place of the state file',
    (host) => host.run('sh', ['-c', `rm ${STATE}/state.json; mkdir ${STATE}/state.json`]),
    /state\.json was not believed \(it is no file\)/,
  ],
  [
    'the leases cut off',
    (host) => host.run('truncate', ['-s', '-3', `${STATE}/cluster.jsonl`]),
    /not running from memory: the leases of the others: it is cut off .*cluster\.jsonl\.damaged/s,
  ],
  [
    'the leases gone',
    (host) => host.run('rm', [`${STATE}/cluster.jsonl`]),
    /not running from memory: the leases of the others: there is no .*cluster\.jsonl yet/,
  ],
  [
    'another machine',
    (host) => host.run('sh', ['-c', 'rm -f /etc/machine-id; echo 00112233445566778899aabbccddeeff >/etc/machine-id']),
    /not running from memory: the lease remembered is of another host/,
  ],
  [
    'another address',
    async (host) => {
      await host.configure(`addr del ${host.ip}/24 dev eth0`, 'addr add 192.168.77.222/24 dev eth0');
      await host.configure('route replace default via 192.168.77.1');
    },
    /not running from memory: the lease remembered is of the public IP 192\.168\.77\.\d+, this host has 192\.168\.77\.222/,
  ],
];
for (const [what, spoil, problem] of MISFITS) {
  test(`not believed, and said: ${what}; when etcd is back, so is the lease`, async (t) => {
    const scene = await world(t, 1);
    if (!scene) return;
    const [one] = await readyAll(scene);
    if (!one) return;
    await remembers(one.host, 0);
    const env = await one.host.read(SUBNET_ENV);
    await scene.lab.etcd.stop();
    const host = await scene.lab.reboot(one.host);
    await spoil(host);
    const agent = scene.start(host);
    const { ready } = await scene.status(
      ...([host, agent] as const),
      ({ phase, problems }) => phase === 'waiting for etcd' && problem.test(problems.join('\n')),
      `says ${problem}`,
    );
    t.false(ready);
    t.is(await host.subnetEnv(), undefined);
    await scene.lab.etcd.start();
    await scene.isReady(host, agent);
    // At another address or as another machine it may have to wait for an answer of who it was, but not for long.
    if (!what.startsWith('another')) t.is(await host.read(SUBNET_ENV), env);
  });
}
