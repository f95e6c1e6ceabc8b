/** Docker and the agent, each while the other is away: containers do not notice. */
import test, { type ExecutionContext } from 'ava';
import { DockerCluster, type DockerNode } from '../support/docker-cluster.ts';
import { MATRIX, type MatrixLine } from '../support/docker-matrix.ts';
import { trafficBecomes } from '../support/docker-traffic.ts';
import { PacketStream } from '../support/packet-stream.ts';
import { needs } from '../support/require.ts';

const LINES = MATRIX.filter(({ ipMasq, knowsDockerd }) => ipMasq && knowsDockerd);

async function losesNothing(t: ExecutionContext, cluster: DockerCluster, tamper: () => Promise<void>): Promise<void> {
  const [one, two] = cluster.servers;
  const streams = await Promise.all([PacketStream.start(one.web, two.web), PacketStream.start(two.web, one.web)]);
  await tamper();
  for (const { lost, oddities } of await Promise.all(streams.map((stream) => stream.stop()))) {
    t.deepEqual(lost, []);
    t.deepEqual(oddities, []);
  }
}

async function killAndStartAgain(node: DockerNode, flags: readonly string[]): Promise<void> {
  await node.agent.kill();
  await node.launch(flags).until(/holding a lease/);
}

async function startsWithoutAgent(t: ExecutionContext, cluster: DockerCluster, { traffic }: MatrixLine): Promise<void> {
  const [one] = cluster.servers;
  await one.agent.stop();
  await one.docker.restart();
  await one.webStartedAgain();
  const more = await one.docker.run('more');
  t.true((await more.ping(cluster.servers[1].web)).ok);
  t.deepEqual(await trafficBecomes(cluster, traffic), traffic);
}

for (const line of LINES) {
  test(`Docker ${line.docker} with ${line.firewall}: an agent killed under traffic, and one that stays away`, async (t) => {
    if (!needs(t, 'lab', 'iptables', 'nft', `docker-${line.docker}`)) return;
    const cluster = await DockerCluster.start(line);
    t.teardown(() => cluster.lab.destroy());
    const [one] = cluster.servers;
    const before = { docker: one.docker.process.running, web: one.web.id };
    await losesNothing(t, cluster, () => killAndStartAgain(one, [`--ip-masq=${line.ipMasq}`, ...one.dockerdFlags]));
    const after = { docker: one.docker.process.running, web: (await one.docker.container('web')).id };
    t.deepEqual(after, before);
    await startsWithoutAgent(t, cluster, line);
  });
}
