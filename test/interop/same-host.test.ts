/** Both agents on one host, by mistake or in the wrong order. */
import test, { type ExecutionContext } from 'ava';
import { tartanOn } from '../support/agent.ts';
import type { Member } from '../support/member.ts';
import { complaintsOf, endOf, flannelPartOf, MixedCluster, type Network } from '../support/mixed-cluster.ts';
import { PacketStream } from '../support/packet-stream.ts';
import type { LabProcess } from '../support/process.ts';

const NETWORKS: readonly (Network & { readonly title: string })[] = [
  { title: 'vxlan', type: 'vxlan' },
  { title: 'host-gw', type: 'host-gw' },
];

/** `lease taken over` in the README's table of exit statuses. */
const TAKEN_OVER = 8;

interface Scene {
  readonly cluster: MixedCluster;
  readonly one: Member;
  readonly two: Member;
  readonly streams: readonly PacketStream[];
}

/** Two hosts whose containers talk both ways. */
async function makeScene(
  t: ExecutionContext,
  network: Network,
  first: 'tartan' | 'flanneld',
): Promise<Scene | undefined> {
  const cluster = await MixedCluster.create(t, network, { hosts: 2 });
  if (cluster === undefined) return undefined;
  const [one, two] = [cluster.member(1, first), cluster.member(2, 'tartan')];
  await one.start();
  await two.start();
  const [here, there] = await Promise.all([one.addContainer(), two.addContainer()]);
  await cluster.settled(one.host, one.agent, first, 1);
  await cluster.settled(two.host, two.agent, 'tartan', 1);
  const streams = await Promise.all([PacketStream.start(here, there), PacketStream.start(there, here)]);
  return { cluster, one, two, streams };
}

async function checkStreams(t: ExecutionContext, { streams }: Scene, agents: readonly LabProcess[]): Promise<void> {
  for (const report of await Promise.all(streams.map((stream) => stream.stop()))) {
    t.deepEqual(report.lost, [], `${report.title}\n${agents.map((agent) => agent.tail(30)).join('\n')}`);
    t.deepEqual(report.oddities, [], report.title);
  }
}

/** The peer leaves, and its traces go from the first host, whose agent is named. */
async function checkLeaving(t: ExecutionContext, { cluster, one, two }: Scene, agent: LabProcess): Promise<void> {
  const gone = await cluster.lease(two.host);
  const { status, stderr } = await tartanOn(cluster.lab, two.host, ['down', '--release']);
  t.is(status, 0, stderr);
  await cluster.forgotten(one.host, gone, two.host, agent);
}

for (const { title, ...network } of NETWORKS) {
  test(`${title}: tartan steps aside for a flanneld that is started on its host, and no packet is lost`, async (t) => {
    const scene = await makeScene(t, network, 'tartan');
    if (scene === undefined) return;
    const { cluster, one } = scene;
    const before = await cluster.lease(one.host);
    // It finds its lease by the public IP alone.
    await one.host.run('rm', ['/run/flannel/subnet.env']);
    const flanneld = cluster.start(one.host, 'flanneld');
    t.is(await endOf(one.agent), TAKEN_OVER, one.agent.tail());
    await flanneld.until(/Found lease .* reusing/);
    await cluster.settled(one.host, flanneld, 'flanneld', 1);
    const after = await cluster.lease(one.host);
    t.is(after.key, before.key);
    t.is(after.value, flannelPartOf(before.value));
    t.is(await one.host.read('/run/flannel/subnet.env'), one.env.text);
    await checkStreams(t, scene, [one.agent, flanneld]);
    await checkLeaving(t, scene, flanneld);
    t.deepEqual(complaintsOf(flanneld), []);
  });

  test(`${title}: tartan started beside a flanneld takes the lease over and keeps every packet, until flanneld writes again`, async (t) => {
    const scene = await makeScene(t, network, 'flanneld');
    if (scene === undefined) return;
    const { cluster, one } = scene;
    const before = await cluster.lease(one.host);
    const tartan = cluster.start(one.host, 'tartan');
    await cluster.settled(one.host, tartan, 'tartan', 1);
    const taken = await cluster.lease(one.host);
    t.is(taken.key, before.key);
    t.is(flannelPartOf(taken.value), before.value);
    t.regex(taken.value, /,"Tartan":/);
    t.true(one.agent.running, 'flanneld does not notice');
    // flannel's renewal, once a day: its own value, put unconditionally.
    await cluster.lab.etcd.put(taken.key, before.value);
    t.is(await endOf(tartan), TAKEN_OVER, tartan.tail());
    t.is((await cluster.lease(one.host)).value, before.value);
    // The flanneld that ran all the time believes that the routes are its own: it must be able to delete them.
    await checkStreams(t, scene, [one.agent, tartan]);
    await checkLeaving(t, scene, one.agent);
  });
}
