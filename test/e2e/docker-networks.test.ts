/** A network of the user's own on a part of the lease: docker0 has the lower half, it has the upper one. */
import test, { type ExecutionContext } from 'ava';
import type { DockerContainer } from '../support/docker-client.ts';
import { DockerCluster, type DockerNode } from '../support/docker-cluster.ts';
import { MATRIX } from '../support/docker-matrix.ts';
import { fetchPage } from '../support/docker-traffic.ts';
import { eventually } from '../support/eventually.ts';
import { needs } from '../support/require.ts';

const LINES = MATRIX.filter(
  ({ firewall, ipMasq, knowsDockerd }) => firewall !== 'iptables-legacy' && ipMasq && knowsDockerd,
);

function half(node: DockerNode, first: number): string {
  return node.env.subnet.replace(/\.1\/24$/, `.${first}/25`);
}

async function runOnUpperHalf(node: DockerNode): Promise<DockerContainer> {
  const options = {
    'com.docker.network.driver.mtu': String(node.mtu),
    // The agent masquerades what leaves the network; Docker would masquerade what stays in it too.
    'com.docker.network.bridge.enable_ip_masquerade': 'false',
  };
  const given = Object.entries(options).map(([name, value]) => `--opt=${name}=${value}`);
  await node.docker.docker('network', 'create', `--subnet=${half(node, 128)}`, ...given, 'upper');
  return await node.docker.run('second', { options: ['--network=upper'] });
}

async function reachEachOther(t: ExecutionContext, one: DockerContainer, two: DockerContainer): Promise<void> {
  for (const [from, to] of [
    [one, two],
    [two, one],
  ] as const) {
    const what = `${to.name} of ${to.host.name} sees ${from.name} of ${from.host.name}`;
    t.is(await eventually(what, () => fetchPage(from, to.ip, 80)), from.ip, what);
    t.true((await from.ping(to, { packetBytes: 1450 })).ok, `full-sized: ${what}`);
  }
}

for (const line of LINES) {
  test(`Docker ${line.docker} with ${line.firewall}: a user's network on half of the lease reaches every container of another host`, async (t) => {
    if (!needs(t, 'lab', 'iptables', 'nft', `docker-${line.docker}`)) return;
    const cluster = await DockerCluster.start({ ...line, dockerFlags: (node) => [`--bip=${half(node, 1)}`] });
    t.teardown(() => cluster.lab.destroy());
    const [one, two] = cluster.servers;
    const [first, second] = await Promise.all([runOnUpperHalf(one), runOnUpperHalf(two)]);
    await reachEachOther(t, first, two.web);
    await reachEachOther(t, first, second);
  });
}
