/** What befalls a lease and its holder: deleted under it, and processes that sleep for longer than it lives. */
import test from 'ava';
import { eventually } from '../../support/eventually.ts';
import type { Container, Host } from '../../support/host.ts';
import { PacketStream } from '../../support/packet-stream.ts';
import type { LabProcess } from '../../support/process.ts';
import { DOCKER_FILE, kernelDump, monitor, narrow, type Scene, SUBNET_ENV, scenesOn } from './scene.ts';

const scenes = scenesOn();

/** As short as a test can wait for it to run out. */
const SHORT = ['--lease-ttl=6'];

async function container(host: Host): Promise<Container> {
  const env = await host.subnetEnv();
  if (!env) throw new Error(`${host.name} has no subnet`);
  return await host.bridge(env);
}

/** Resolves when the agents have that many peers each, in the kernel. */
async function meet(scene: Scene, agents: readonly (readonly [Host, LabProcess])[], peers: number): Promise<void> {
  for (const [host, agent] of agents)
    await scene.status(host, agent, (status) => status.inStep && status.peers.length === peers, `has ${peers} peers`);
}

test('the own key deleted, time and again: nothing changes on this host, and every peer has its route again', async (t) => {
  const scene = await scenes(t, { hosts: 2 });
  if (!scene) return;
  const [host, peer] = [scene.host(1), scene.host(2)];
  const [agent, other] = [await scene.ready(host), await scene.ready(peer)];
  await meet(
    scene,
    [
      [host, agent],
      [peer, other],
    ],
    1,
  );
  const before = await scene.lease(host.ip);
  const route = (await peer.run('ip', ['route', 'show', 'dev', 'flannel.1'])).trim();
  const { events } = await monitor(host);
  for (let i = 0; i < 5; i++) {
    await scene.lab.etcd.ctl(['del', before.key]);
    await scene.leaseIs(host.ip, 'there');
  }
  t.deepEqual(await events(), []);
  t.is((await scene.lease(host.ip)).value, before.value);
  await meet(scene, [[peer, other]], 1);
  await eventually('the route is there again', async () => {
    return (await peer.run('ip', ['route', 'show', 'dev', 'flannel.1'])).trim() === route;
  });
});

test('asleep for longer than its lease, which nobody took: claimed again, the same, and the kernel never changed', async (t) => {
  const scene = await scenes(t);
  if (!scene) return;
  const host = scene.host(1);
  const agent = await scene.ready(host, SHORT);
  await scene.status(host, agent, ({ inStep }) => inStep);
  const before = await scene.lease(host.ip);
  const { events } = await monitor(host);
  agent.signal('SIGSTOP');
  await scene.leaseIs(host.ip, 'gone');
  agent.signal('SIGCONT');
  await scene.leaseIs(host.ip, 'there');
  const after = await scene.lease(host.ip);
  t.deepEqual([after.key, after.value], [before.key, before.value]);
  t.deepEqual(await events(), []);
  await scene.isReady(host, agent);
});

test('asleep while another host took its lease: it says nothing in its name, and withdraws; the newcomer loses no packet', async (t) => {
  const scene = await scenes(t, { hosts: 3, config: narrow(1, 2) });
  if (!scene) return;
  const [host, newcomer, peer] = [scene.host(1), scene.host(2), scene.host(3)];
  const clean = await kernelDump(host);
  const agent = await scene.ready(host, SHORT);
  const third = await scene.ready(peer);
  await meet(
    scene,
    [
      [host, agent],
      [peer, third],
    ],
    1,
  );
  const { key } = await scene.lease(host.ip);

  agent.signal('SIGSTOP');
  await scene.leaseIs(host.ip, 'gone');
  const second = await scene.ready(newcomer);
  const taken = await scene.lease(newcomer.ip);
  t.is(taken.key, key);
  await meet(
    scene,
    [
      [newcomer, second],
      [peer, third],
    ],
    1,
  );
  const [here, there] = await Promise.all([container(newcomer), container(peer)]);
  const streams = await Promise.all([PacketStream.start(here, there), PacketStream.start(there, here)]);

  // Somebody asks whose the lease is, and its holder can't answer: the sleeper must not.
  second.signal('SIGSTOP');
  const challenge = key.replace('/subnets/', '/tartan/challenges/');
  const question = '{"by":{"node":"asker","name":"asker","claim":"ffffffffffffffffffffffffffffffff"}}';
  await scene.lab.etcd.put(challenge, question);
  agent.signal('SIGCONT');
  t.is((await agent.exited).status, 7, agent.tail());
  t.false(agent.lines.some((line) => line.includes('telling it that we live')));
  const [asked] = await scene.lab.etcd.list(challenge);
  t.is(asked?.value, question);
  second.signal('SIGCONT');

  t.is(await host.read(SUBNET_ENV), undefined);
  t.is(await host.read(DOCKER_FILE), undefined);
  t.deepEqual(await kernelDump(host), clean);
  t.deepEqual(await scene.lease(newcomer.ip), taken);
  for (const report of await Promise.all(streams.map((stream) => stream.stop()))) {
    t.deepEqual(report.lost, [], report.title);
    t.deepEqual(report.oddities, [], report.title);
  }
  await scene.isReady(newcomer, second);
});
