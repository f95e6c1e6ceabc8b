/** Every line of the README's table of Dockers, on real hosts with a real dockerd. */
import { isDeepStrictEqual } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import { DockerCluster, type DockerNode } from '../support/docker-cluster.ts';
import { MATRIX, type MatrixLine } from '../support/docker-matrix.ts';
import { trafficBecomes } from '../support/docker-traffic.ts';
import { eventually } from '../support/eventually.ts';
import { needs } from '../support/require.ts';

function title({ docker, firewall, ipMasq, knowsDockerd }: MatrixLine): string {
  const flags = knowsDockerd ? '' : ', a dockerd that the agent knows nothing of';
  return `Docker ${docker} with ${firewall}, --ip-masq=${ipMasq}${flags}: what crosses, and from whom`;
}

/** `docker check` finds nothing where all crosses, and what drops packets where not. */
async function saysSo(t: ExecutionContext, node: DockerNode, { traffic }: MatrixLine): Promise<void> {
  const { status, stdout } = await node.check();
  const isOpen = traffic.toContainer !== 'blocked';
  t.is(status, isOpen ? 0 : 13, stdout);
  t.regex(stdout, isOpen ? /Nothing is in the way of packets/ : /STOPS PACKETS .* are dropped by .*DROP/);
}

/** The operator names the program, and restarts agent and Docker. */
async function helpsToName(t: ExecutionContext, cluster: DockerCluster, { docker, firewall, ipMasq }: MatrixLine) {
  for (const node of cluster.servers) {
    await node.agent.stop();
    node.launch([`--ip-masq=${ipMasq}`, `--dockerd=${node.docker.program}`]);
    const written = async () => (await node.docker.networkOptions()).includes('--allow-direct-routing');
    await eventually('the agent writes the flags', written, { context: () => node.agent.tail() });
    await node.docker.restart();
    await node.webStartedAgain();
  }
  const wanted = MATRIX.find((line) => line.knowsDockerd && isSetup(line, docker, firewall, ipMasq))?.traffic;
  t.truthy(wanted);
  if (wanted) t.deepEqual(await trafficBecomes(cluster, wanted), wanted);
}

function isSetup(line: MatrixLine, ...setup: readonly unknown[]): boolean {
  return isDeepStrictEqual([line.docker, line.firewall, line.ipMasq], setup);
}

for (const line of MATRIX) {
  test(title(line), async (t) => {
    if (!needs(t, 'lab', 'iptables', 'nft', `docker-${line.docker}`)) return;
    const cluster = await DockerCluster.start(line);
    t.teardown(() => cluster.lab.destroy());
    t.deepEqual(await trafficBecomes(cluster, line.traffic), line.traffic);
    for (const node of cluster.servers) await saysSo(t, node, line);
    if (line.ipMasq && !line.knowsDockerd) await helpsToName(t, cluster, line);
  });
}

const NFTABLES = { Network: '10.5.0.0/16', EnableNFTables: true, Backend: { Type: 'vxlan' } };

/** Who asks for nftables on both sides has nobody left who accepts in iptables: what drops there is final. */
async function dropsInIptables(t: ExecutionContext, cluster: DockerCluster): Promise<void> {
  for (const node of cluster.servers) {
    const { status, stdout } = await node.check();
    t.is(status, 13);
    t.regex(stdout, /FORWARD/);
    await node.host.run('iptables', ['-P', 'FORWARD', 'ACCEPT']);
  }
}

const COMBINED = MATRIX.filter(
  ({ firewall, ipMasq, knowsDockerd }) => firewall !== 'iptables-legacy' && ipMasq && knowsDockerd,
);

for (const line of COMBINED) {
  test(`${title(line)}: the same with EnableNFTables`, async (t) => {
    if (!needs(t, 'lab', 'iptables', 'nft', `docker-${line.docker}`)) return;
    const cluster = await DockerCluster.start({ ...line, config: NFTABLES });
    t.teardown(() => cluster.lab.destroy());
    if (line.firewall === 'nftables') await dropsInIptables(t, cluster);
    t.deepEqual(await trafficBecomes(cluster, line.traffic), line.traffic);
    for (const node of cluster.servers) await saysSo(t, node, line);
    const [one] = cluster.servers;
    t.regex(await one.host.run('nft', ['list', 'tables']), /^table ip flannel-ipv4$/m);
  });
}
