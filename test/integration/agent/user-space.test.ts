/** An agent whose packets a process of its own carries: its device comes, stays and goes as a kernel's does. */
import test from 'ava';
import type { Status } from '../../../agent/status.ts';
import { eventually } from '../../support/eventually.ts';
import type { Host } from '../../support/host.ts';
import type { LabProcess } from '../../support/process.ts';
import { missing } from '../../support/require.ts';
import { SUBNET_ENV, scenesOn, VXLAN } from './scene.ts';

const scenes = scenesOn();

/** A config without Backend is udp, as flannel has it. */
const UDP = '{"Network":"10.5.0.0/16"}';
const USER = '{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan","Mode":"user"}}';

const isInStep = ({ inStep }: Status): boolean => inStep;

/** Opens a tun of that name and holds it, as a flanneld does: it goes with the process. */
const HOLD = `open(T, "+<", "/dev/net/tun") or die; my $r = pack("Z16 S x22", $ARGV[0], 0x1001);
ioctl(T, 0x400454ca, $r) or die; $| = 1; print "holding\\n"; sleep 600`;

async function hold(host: Host, name: string): Promise<LabProcess> {
  const holder = host.spawn('perl', ['-e', HOLD, name]);
  await holder.until(/holding/);
  return holder;
}

const links = (host: Host): Promise<string> => host.run('ip', ['-d', 'link']);
const networkRoute = (host: Host): Promise<string> => host.run('ip', ['route', 'show', '10.5.0.0/16']);

test('udp: device, route and lease are as flannel has them, but that they stay', async (t) => {
  const scene = await scenes(t, { config: UDP });
  if (!scene) return;
  const host = scene.host(1);
  const agent = await scene.ready(host);
  await scene.status(host, agent, isInStep);
  const { value } = await scene.lease(host.ip);
  t.regex(value, new RegExp(`^{"PublicIP":"${host.ip}","PublicIPv6":null`));
  t.notRegex(value, /BackendType|BackendData/);
  t.regex((await host.read(SUBNET_ENV)) ?? '', /^FLANNEL_MTU=1472$/m);
  t.regex(await networkRoute(host), /^10\.5\.0\.0\/16 dev flannel0 proto 84 metric 84 /);
  await agent.kill();
  t.regex(await links(host), /flannel0: .*\n.*\n +tun type tun .*persist on/);
  t.regex(await networkRoute(host), /dev flannel0 proto 84/, 'packets meanwhile do not leave by the default route');
});

test('from udp to vxlan and back: each leaves nothing of the other', async (t) => {
  const scene = await scenes(t, { config: UDP });
  if (!scene) return;
  const host = scene.host(1);
  const first = await scene.ready(host);
  await scene.status(host, first, isInStep);
  await scene.configure(VXLAN);
  const asked = ({ problems }: Status): boolean => problems.some((one) => /restart the agent to follow/.test(one));
  await scene.status(host, first, asked, 'asks for a restart');
  t.is((await first.stop()).status, 0);
  const second = await scene.ready(host);
  await eventually('the tun is swept', async () => !/flannel0/.test(await links(host)));
  t.regex(await links(host), /flannel\.1: .*\n.*\n +vxlan id 1 /);
  t.is((await networkRoute(host)).trim(), '');
  t.is((await second.stop()).status, 0);
  await scene.configure(UDP);
  const third = await scene.ready(host);
  await eventually('the vxlan is swept', async () => !/flannel\.1/.test(await links(host)));
  await scene.status(host, third, isInStep);
  t.regex(await networkRoute(host), /dev flannel0/);
});

test('from the kernel to user space and back: the lease stays as it is', async (t) => {
  const scene = await scenes(t);
  if (!scene) return;
  const host = scene.host(1);
  const agent = await scene.ready(host);
  await scene.status(host, agent, isInStep);
  const { key, value } = await scene.lease(host.ip);
  if (missing('nft').length === 0) {
    await eventually('there is a peer filter', async () =>
      /tartan-flannel/.test(await host.run('nft', ['list', 'tables'])),
    );
  }
  let running = agent;
  for (const [config, kind] of [
    [USER, /flannel\.1: .*\n.*\n +tun type tap /],
    [VXLAN, /flannel\.1: .*\n.*\n +vxlan id 1 /],
  ] as const) {
    t.is((await running.stop()).status, 0);
    await scene.configure(config);
    running = await scene.ready(host);
    await scene.status(host, running, isInStep);
    t.regex(await links(host), kind);
    t.like(await scene.lease(host.ip), { key, value });
    if (missing('nft').length > 0) continue;
    const isGuarded = async (): Promise<boolean> =>
      /inet tartan-flannel\.1/.test(await host.run('nft', ['list', 'tables']));
    await eventually('the kernel alone has a peer filter', async () => (await isGuarded()) === (config === VXLAN));
  }
});

test('from the kernel to user space with another VNI: the device before, which holds the port, makes room', async (t) => {
  const scene = await scenes(t);
  if (!scene) return;
  const host = scene.host(1);
  const agent = await scene.ready(host);
  await scene.status(host, agent, isInStep);
  t.is((await agent.stop()).status, 0);
  await scene.configure('{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan","VNI":2,"Mode":"user"}}');
  const next = await scene.ready(host);
  await scene.status(host, next, isInStep);
  t.regex(await links(host), /flannel\.2: .*\n.*\n +tun type tap /);
  t.notRegex(await links(host), /flannel\.1:/);
});

test('udp: a network that is widened is followed by its route', async (t) => {
  const scene = await scenes(t, { config: UDP });
  if (!scene) return;
  const host = scene.host(1);
  const agent = await scene.ready(host);
  await scene.status(host, agent, isInStep);
  await scene.configure('{"Network":"10.4.0.0/15"}');
  const routes = (): Promise<string> => host.run('ip', ['route', 'show', 'dev', 'flannel0']);
  await eventually(
    'one route, to all of it',
    async () => /^10\.4\.0\.0\/15 proto 84 metric 84 *$/.test((await routes()).trim()),
    {
      context: () => agent.tail(),
    },
  );
  await scene.status(host, agent, isInStep);
  t.is((await networkRoute(host)).trim(), '', 'and the one before is gone');
});

for (const [what, config, name] of [
  ['udp', UDP, 'flannel0'],
  ['vxlan in user space', USER, 'flannel.1'],
] as const) {
  test(`${what}: a flanneld of this host at our key gets it, and our device goes: nobody carries its packets`, async (t) => {
    const scene = await scenes(t, { config });
    if (!scene) return;
    const host = scene.host(1);
    const agent = await scene.ready(host);
    await scene.status(host, agent, isInStep);
    const { key, value } = await scene.lease(host.ip);
    const theirs = JSON.stringify({ ...JSON.parse(value), Tartan: undefined });
    await scene.takeKey(key, theirs);
    t.is((await agent.exited).status, 8);
    t.notRegex(await links(host), new RegExp(`${name.replace('.', '\\.')}:`));
    t.is((await networkRoute(host)).trim(), '');
    t.truthy(await host.read(SUBNET_ENV), 'the files are its own now');
    const down = await scene.run(host, ['down']);
    t.is(down.status, 0, down.stderr);
    await scene.ready(host);
    t.is((await scene.lease(host.ip)).key, key);
  });

  test(`${what}: a state directory that is gone: the device bears tartan's mark, and goes`, async (t) => {
    const scene = await scenes(t, { config, hosts: 2 });
    if (!scene) return;
    const host = scene.host(1);
    const agent = await scene.ready(host);
    await scene.ready(scene.host(2));
    await scene.status(host, agent, ({ inStep, peers }) => inStep && peers.length === 1);
    await agent.kill();
    await host.run('rm', ['-r', '/var/lib/tartan']);
    const { status, stdout, stderr } = await scene.run(host, ['down', '--purge']);
    t.is(status, 0, stderr);
    t.regex(stdout, /going by what the kernel and the subnet file show/);
    t.notRegex(await links(host), /flannel/);
    t.is((await host.run('ip', ['route', 'show', 'proto', '84'])).trim(), '');
  });
}

test('udp: a device that another process holds is waited for, not taken away, and said', async (t) => {
  const scene = await scenes(t, { config: UDP });
  if (!scene) return;
  const host = scene.host(1);
  const holder = await hold(host, 'flannel0');
  const agent = scene.start(host);
  const isSaid = ({ problems }: Status): boolean =>
    problems.some((one) => /flannel0 is held by another process/.test(one));
  const { ready } = await scene.status(host, agent, isSaid, 'says who is in its way');
  t.false(ready);
  t.true(holder.running);
  t.deepEqual(await scene.leases(), [], 'no lease before there is a device');
  await holder.kill();
  await scene.isReady(host, agent);
  t.regex(await links(host), /flannel0: .*\n.*\n +tun type tun .*persist on/);
});
