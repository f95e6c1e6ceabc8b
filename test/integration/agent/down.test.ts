/** `tartan down`: nothing of ours is left, whatever else is going on. */
import test from 'ava';
import type { Host } from '../../support/host.ts';
import { filesUnder, kernelDump, type Scene, scenesOn } from './scene.ts';

const scenes = scenesOn();

async function picture(host: Host): Promise<unknown> {
  return [await kernelDump(host), await filesUnder(host, '/run/flannel')];
}

/** Two hosts in step, and how the first was before. */
async function inStep(scene: Scene): Promise<{ before: unknown; agent: ReturnType<Scene['start']> }> {
  const [host, peer] = [scene.host(1), scene.host(2)];
  // Switched on by the agent, and left so.
  await host.run('sh', ['-c', 'echo 1 >/proc/sys/net/ipv4/ip_forward']);
  // Somebody else's: to be left alone.
  await host.configure(
    'link add wire7 type veth peer name end7',
    'link set end7 up',
    'link set wire7 up',
    'addr add 172.30.0.1/24 dev wire7',
    'route add 172.31.0.0/24 via 172.30.0.9',
    'route add 10.5.0.0/24 via 172.30.0.9 proto static',
    'neigh add 172.30.0.9 lladdr 4e:00:00:00:00:07 dev wire7 nud permanent',
    'nexthop add id 7 via 172.30.0.9 dev wire7',
  );
  await host.run('sh', ['-c', 'mkdir -p /run/flannel; echo mine >/run/flannel/mine']);
  const before = await picture(host);
  const agent = await scene.ready(host);
  await scene.ready(peer);
  await scene.status(host, agent, ({ peers, inStep }) => inStep && peers.length === 1);
  return { before, agent };
}

test('with the agent running: it is stopped, all is as before, the lease stays; a second time there is nothing to do', async (t) => {
  const scene = await scenes(t, { hosts: 2 });
  if (!scene) return;
  const host = scene.host(1);
  const { before, agent } = await inStep(scene);
  const lease = await scene.lease(host.ip);
  const { status, stdout, stderr } = await scene.run(host, ['down']);
  t.is(status, 0, stderr);
  t.regex(stdout, new RegExp(`stopped the agent \\(pid ${agent.pid}\\)`));
  t.regex(
    stdout,
    /removed \d+ kernel objects[\s\S]*removed \/run\/flannel\/subnet\.env[\s\S]*removed \/run\/flannel\/docker/,
  );
  t.regex(stdout, /lease of 10\.5\.\d+\.0\/24 stays/);
  t.is((await agent.exited).status, 0);
  t.deepEqual(await picture(host), before);
  t.deepEqual(await scene.lease(host.ip), lease);
  const again = await scene.run(host, ['down']);
  t.is(again.status, 0);
  t.regex(again.stdout, /nothing of ours/);
  t.deepEqual(await picture(host), before);
  // And up again, as if nothing had been.
  await scene.ready(host);
  t.is((await scene.lease(host.ip)).key, lease.key);
});

test('with the agent dead and etcd away', async (t) => {
  const scene = await scenes(t, { hosts: 2 });
  if (!scene) return;
  const host = scene.host(1);
  const { before, agent } = await inStep(scene);
  await agent.kill();
  scene.lab.etcd.freeze();
  t.teardown(() => scene.lab.etcd.thaw());
  const { status, stderr } = await scene.run(host, ['down']);
  t.is(status, 0, stderr);
  t.deepEqual(await picture(host), before);
  const release = await scene.run(host, ['down', '--release']);
  t.is(release.status, 6);
  t.regex(release.stderr, /etcd at .* did not answer/);
});

test('--release gives the lease back, with what stands beside it; twice is no failure', async (t) => {
  const scene = await scenes(t, { hosts: 2 });
  if (!scene) return;
  const host = scene.host(1);
  const { before } = await inStep(scene);
  const { status, stdout, stderr } = await scene.run(host, ['down', '--release']);
  t.is(status, 0, stderr);
  t.regex(stdout, /released the lease of 10\.5\.\d+\.0\/24/);
  t.deepEqual(await picture(host), before);
  t.is((await scene.leases()).length, 1);
  const side = await scene.lab.etcd.list(`${scene.prefix}/tartan/`);
  t.deepEqual(
    side.filter(({ value }) => value.includes(`"name":"${host.name}"`)),
    [],
  );
  const again = await scene.run(host, ['down', '--release']);
  t.is(again.status, 0);
  t.regex(again.stdout, /holds no lease/);
});

test('host-gw: the routes go, nothing else', async (t) => {
  const scene = await scenes(t, { hosts: 2, config: '{"Network":"10.5.0.0/16","Backend":{"Type":"host-gw"}}' });
  if (!scene) return;
  const host = scene.host(1);
  const { before } = await inStep(scene);
  const { status, stderr } = await scene.run(host, ['down']);
  t.is(status, 0, stderr);
  t.deepEqual(await picture(host), before);
});

test('where no agent ever ran nothing is done, and no directory made', async (t) => {
  const scene = await scenes(t);
  if (!scene) return;
  const host = scene.host(1);
  await host.run('sh', ['-c', 'mkdir -p /run/flannel; echo FLANNEL_MTU=1450 >/run/flannel/subnet.env']);
  const before = await filesUnder(host, '/run/flannel', '/var/lib/tartan');
  const { status, stdout } = await scene.run(host, ['down']);
  t.is(status, 0);
  t.regex(stdout, /no state directory/);
  t.is(await filesUnder(host, '/run/flannel', '/var/lib/tartan'), before);
});

test('a lease that a flanneld on this host took over meanwhile: refused, and nothing touched, unless forced', async (t) => {
  const scene = await scenes(t);
  if (!scene) return;
  const host = scene.host(1);
  await (await scene.ready(host)).stop();
  const lease = await scene.lease(host.ip);
  const { Tartan: _, ...flannels } = JSON.parse(lease.value);
  await scene.lab.etcd.put(lease.key, JSON.stringify(flannels));
  const before = await picture(host);
  const { status, stderr } = await scene.run(host, ['down']);
  t.is(status, 8, stderr);
  t.deepEqual(await picture(host), before);
  const forced = await scene.run(host, ['down', '--force']);
  t.is(forced.status, 0, forced.stderr);
  t.notDeepEqual(await picture(host), before);
});

test('a damaged state file: told, and the files go all the same', async (t) => {
  const scene = await scenes(t);
  if (!scene) return;
  const host = scene.host(1);
  await (await scene.ready(host)).stop();
  await host.run('sh', ['-c', `echo half >/var/lib/tartan${scene.prefix}/state.json`]);
  const { status, stdout } = await scene.run(host, ['down']);
  t.is(status, 0);
  t.regex(stdout, /state file .* damaged[\s\S]*removed \/run\/flannel\/subnet\.env/);
});

test('a pid in the lock file that is another process (a container wrote it) is never signalled', async (t) => {
  const scene = await scenes(t);
  if (!scene) return;
  const host = scene.host(1);
  const agent = await scene.ready(host);
  const bystander = host.spawn('sleep', ['60']);
  await host.run('sh', ['-c', `echo ${bystander.pid} >/var/lib/tartan${scene.prefix}/lock`]);
  const { status, stderr } = await scene.run(host, ['down']);
  t.is(status, 11);
  t.regex(stderr, /container/);
  t.true(bystander.running);
  t.true((await scene.status(host, agent)).ready);
});
