/** A restart is invisible: the lease, the files, the kernel here and the peers' kernels stay as they are. */
import test from 'ava';
import { filesUnder, kernelDump, monitor, narrow, type Scene, scenesOn } from './scene.ts';

const scenes = scenesOn();

async function inStep(scene: Scene, agent: ReturnType<Scene['start']>, number: number, peers: number): Promise<void> {
  const host = scene.host(number);
  await scene.status(host, agent, (status) => status.inStep && status.peers.length === peers, 'is in step');
}

const ENDS = [
  ['SIGTERM', { status: 0, signal: null }],
  ['SIGINT', { status: 0, signal: null }],
  ['SIGKILL', { status: null, signal: 'SIGKILL' }],
] as const;

for (const [signal, exit] of ENDS) {
  test(`${signal} leaves everything in place, and the next start touches nothing`, async (t) => {
    const scene = await scenes(t, { hosts: 2 });
    if (!scene) return;
    const [host, peer] = [scene.host(1), scene.host(2)];
    const agent = await scene.ready(host);
    const other = await scene.ready(peer);
    await inStep(scene, agent, 1, 1);
    await inStep(scene, other, 2, 1);
    const leases = await scene.leases();
    const files = await filesUnder(host, '/run/flannel');
    const kernel = await kernelDump(host);
    const here = await monitor(host);
    const there = await monitor(peer);

    t.deepEqual(await agent.stop(signal), exit);
    t.deepEqual(await kernelDump(host), kernel);
    t.is((await filesUnder(host, '/run/flannel')).replace(/.*\.sock\n/, ''), files.replace(/.*\.sock\n/, ''));
    t.deepEqual(await scene.leases(), leases);

    const again = await scene.ready(host);
    await inStep(scene, again, 1, 1);
    t.deepEqual(await kernelDump(host), kernel);
    t.is(await filesUnder(host, '/run/flannel'), files);
    // Not even its revision: no PUT, for which every peer would have been woken.
    t.deepEqual(await scene.leases(), leases);
    t.deepEqual(await here.events(), []);
    t.deepEqual(await there.events(), []);
  });
}

test("a host that lost its memory and leased what it knew as a peer's: nothing leads its own subnet away", async (t) => {
  const scene = await scenes(t, { hosts: 1, config: narrow(7) });
  if (!scene) return;
  const host = scene.host(1);
  const agent = await scene.ready(host);
  await agent.kill();
  await host.run('sh', ['-c', 'rm -rf /var/lib/tartan /run/flannel']);
  await host.run('ip', ['route', 'add', '10.5.7.0/24', 'via', '10.5.7.9', 'dev', 'flannel.1', 'onlink', 'proto', '84']);
  await scene.ready(host);
  t.is((await host.run('ip', ['route', 'show', '10.5.7.0/24'])).trim(), '');
});

test('a peer that left meanwhile is forgotten at the next start, one that came is known', async (t) => {
  const scene = await scenes(t, { hosts: 3 });
  if (!scene) return;
  const [host, leaving, coming] = [scene.host(1), scene.host(2), scene.host(3)];
  const agent = await scene.ready(host);
  const other = await scene.ready(leaving);
  await inStep(scene, agent, 1, 1);
  const gone = await scene.lease(leaving.ip);
  const subnet = /subnets\/([\d.]+)-24/.exec(gone.key)?.[1] ?? '';
  t.regex(await host.run('ip', ['route']), new RegExp(`${subnet}/24`));
  await agent.stop();
  await other.stop();
  await scene.lab.etcd.ctl(['del', gone.key]);
  await scene.ready(coming);
  const again = await scene.ready(host);
  await inStep(scene, again, 1, 1);
  const routes = await host.run('ip', ['route']);
  t.notRegex(routes, new RegExp(`${subnet}/24`));
  t.is(routes.match(/dev flannel\.1/g)?.length, 1);
});
