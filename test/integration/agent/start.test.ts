/** From nothing to ready: what is written, in which order, and who is told. */
import { readFileSync } from 'node:fs';
import test from 'ava';
import { eventually } from '../../support/eventually.ts';
import {
  asSystemd,
  DOCKER_FILE,
  filesUnder,
  http,
  modeOf,
  NOTIFY_SOCKET,
  narrow,
  SUBNET_ENV,
  scenesOn,
} from './scene.ts';

const scenes = scenesOn();

const ONE = narrow(66);

test('subnet.env and the docker options, byte for byte; directories are made, and readable by all', async (t) => {
  const scene = await scenes(t, { config: ONE });
  if (!scene) return;
  const host = scene.host(1);
  await scene.ready(host);
  t.is(await host.read(SUBNET_ENV), readFileSync('test/golden/agent/subnet.env', 'utf8'));
  t.is(await host.read(DOCKER_FILE), readFileSync('test/golden/agent/docker', 'utf8'));
  t.deepEqual(
    [SUBNET_ENV, DOCKER_FILE, '/run/flannel'].map((path) => modeOf(host, path)),
    [0o644, 0o644, 0o755],
  );
  const state = `/var/lib/tartan${scene.prefix}`;
  t.deepEqual(
    [state, `${state}/state.json`].map((path) => modeOf(host, path)),
    [0o700, 0o600],
  );
  t.is(modeOf(host, '/run/flannel/subnet.sock'), 0o660);
  t.deepEqual((await filesUnder(host, '/run/flannel')).match(/[^/\s]+$/gm), ['subnet.sock', 'docker', 'subnet.env']);
});

test('files elsewhere, none for Docker, another key; an existing file keeps its permission bits', async (t) => {
  const scene = await scenes(t, { hosts: 2, config: narrow(66, 67) });
  if (!scene) return;
  const [first, second] = [scene.host(1), scene.host(2)];
  await first.run('sh', ['-c', 'mkdir /run/x; echo old >/run/x/env; chmod 600 /run/x/env']);
  const agent = scene.start(first, ['--subnet-file=/run/x/env', '--docker-opts-file=']);
  await agent.until(/ready/);
  t.regex((await first.read('/run/x/env')) ?? '', /^FLANNEL_NETWORK=/);
  t.is(modeOf(first, '/run/x/env'), 0o600);
  t.is(await first.read(DOCKER_FILE), undefined);
  await scene.ready(second, ['--docker-opts-key=DOCKER_OPTS', '--docker-opts-file=/run/deep/er/docker']);
  t.regex((await second.read('/run/deep/er/docker')) ?? '', /^DOCKER_OPTS=" --bip=/);
});

test('the device has its address before subnet.env is there', async (t) => {
  const scene = await scenes(t);
  if (!scene) return;
  const host = scene.host(1);
  // Each look is one shell: file first, then device; so a device that comes later would be missed.
  const script = `while [ ! -e ${SUBNET_ENV} ]; do sleep 0.01; done; ip -br addr show flannel.1; cat ${SUBNET_ENV}`;
  const looker = host.spawn('sh', ['-c', script]);
  await scene.ready(host);
  await looker.exited;
  const subnet = /FLANNEL_SUBNET=([\d.]+)\.1\/24/.exec(looker.lines.join('\n'))?.[1];
  t.regex(looker.lines[0] ?? '', new RegExp(`^flannel\\.1 .* ${subnet}\\.0/32`));
});

test('systemd is told: status, readiness after the files, watchdog, stopping', async (t) => {
  const scene = await scenes(t, { config: undefined });
  if (!scene) return;
  const host = scene.host(1);
  const listener = await asSystemd(host);
  const agent = scene.start(host, [], { NOTIFY_SOCKET, WATCHDOG_USEC: '400000' });
  await listener.until(/^STATUS=waiting for the network config.*config set/);
  t.false(listener.lines.includes('READY=1|'));
  await scene.configure(ONE);
  await listener.until(/^READY=1\|$/);
  t.regex((await host.read(SUBNET_ENV)) ?? '', /FLANNEL_SUBNET=10\.5\.66\.1/);
  t.true(listener.lines.some((line) => /^STATUS=lease 10\.5\.66\.0\/24, backend vxlan on eth0\|$/.test(line)));
  const beats = (): number => listener.lines.filter((line) => line === 'WATCHDOG=1|').length;
  const before = beats();
  await eventually('the watchdog is fed', () => beats() > before + 2);
  await agent.stop();
  await listener.until(/^STOPPING=1/);
});

test('health: alive at once, ready later, metrics', async (t) => {
  const scene = await scenes(t, { config: undefined });
  if (!scene) return;
  const host = scene.host(1);
  const agent = scene.start(host, ['--healthz-ip=127.0.0.1', '--healthz-port=8471']);
  const at = (path: string) => http(host, `http://127.0.0.1:8471${path}`);
  await scene.status(host, agent, ({ phase }) => phase.includes('config'));
  t.is((await at('/healthz')).status, 200);
  const waiting = await at('/readyz');
  t.is(waiting.status, 503);
  t.regex(waiting.body, /network config/);
  t.is((await at('/metrics')).status, 200);
  t.is((await at('/else')).status, 404);
  await scene.configure(ONE);
  await scene.isReady(host, agent);
  t.is((await at('/readyz')).status, 200);
  const { body } = await at('/metrics');
  const samples = body.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  for (const line of samples) t.regex(line, /^[a-zA-Z_:][\w:]*(\{[^}]*\})? (NaN|[-+]?(Inf|[\d.e+-]+))$/);
  for (const wanted of [
    'tartan_ready 1',
    'tartan_etcd_connected 1',
    'tartan_peers 0',
    'tartan_claim_transactions_total 1',
  ]) {
    t.true(samples.includes(wanted), wanted);
  }
  t.regex(body, /^tartan_lease_seconds_left 86\d{3}$/m);
});

test('a health port that is taken: said before anything is done', async (t) => {
  const scene = await scenes(t);
  if (!scene) return;
  const host = scene.host(1);
  const squatter = host.spawn(process.execPath, [
    '-e',
    'require("net").createServer().listen(8471, () => console.log("up"))',
  ]);
  await squatter.until(/up/);
  const agent = scene.start(host, ['--healthz-port=8471']);
  t.is((await agent.exited).status, 5);
  t.regex(agent.lines.join('\n'), /8471.*--healthz-port/);
  t.is((await scene.leases()).length, 0);
  t.is(await host.read(SUBNET_ENV), undefined);
});

const IP_FORWARD = '/proc/sys/net/ipv4/ip_forward';

test('forwarding is switched on, and on again where somebody switches it off, at once', async (t) => {
  const scene = await scenes(t);
  if (!scene) return;
  const host = scene.host(1);
  const read = (name: string): Promise<string> => host.run('cat', [`/proc/sys/${name}`]);
  const write = (name: string, value: string): Promise<string> =>
    host.run('sh', ['-c', `echo ${value} >/proc/sys/${name}`]);
  await write('net/ipv4/ip_forward', '0');
  const agent = await scene.ready(host, ['--resync=100000']);
  t.is(await host.run('cat', [IP_FORWARD]), '1\n');
  for (const [name, others] of [
    ['net/ipv4/ip_forward', '0'],
    ['net/ipv4/conf/flannel.1/forwarding', '0'],
  ] as const) {
    await write(name, others);
    await eventually(`${name} is put right`, async () => (await read(name)) === '1\n');
  }
  await agent.until(/somebody changed a sysctl.*net\.ipv4\.ip_forward/);
  await scene.status(host, agent, ({ problems }) => problems.length === 0);
});

test('a sysctl of which the kernel tells nothing is put right by the resync', async (t) => {
  const scene = await scenes(t);
  if (!scene) return;
  const host = scene.host(1);
  await scene.ready(host, ['--resync=1']);
  const name = '/proc/sys/net/ipv6/conf/flannel.1/accept_ra';
  t.is(await host.run('cat', [name]), '0\n');
  await host.run('sh', ['-c', `echo 2 >${name}`]);
  await eventually('it is put right', async () => (await host.run('cat', [name])) === '0\n');
});

test('who switches forwarding off again and again is named, and not fought for ever', async (t) => {
  const scene = await scenes(t);
  if (!scene) return;
  const host = scene.host(1);
  const agent = await scene.ready(host);
  const script = `while :; do grep -q 1 ${IP_FORWARD} && echo 0 >${IP_FORWARD}; sleep 0.05; done`;
  const foe = host.spawn('sh', ['-c', script]);
  const named = /sysctl net\.ipv4\.ip_forward: another program keeps changing it/;
  await scene.status(host, agent, ({ problems }) => named.test(problems.join()));
  await foe.stop('SIGKILL');
  await scene.status(host, agent, ({ problems }) => problems.length === 0, 'has won in the end', { timeoutMs: 60_000 });
  t.is(await host.run('cat', [IP_FORWARD]), '1\n');
});

test('where forwarding cannot be set it is said, and all else goes on', async (t) => {
  const scene = await scenes(t);
  if (!scene) return;
  const host = scene.host(1);
  await host.run('sh', ['-c', `echo 0 >${IP_FORWARD}`]);
  await host.run('sh', ['-c', 'mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys']);
  const agent = await scene.ready(host);
  const { problems } = await scene.status(host, agent);
  t.regex(problems.join(), /net\.ipv4\.ip_forward is off; set it by: sysctl -w net\.ipv4\.ip_forward=1/);
});
