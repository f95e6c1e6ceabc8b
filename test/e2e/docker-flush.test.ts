/** Somebody flushes the firewall under agent and Docker: what is the agent's comes back, Docker's with its restart. */
import test, { type ExecutionContext } from 'ava';
import { DockerCluster, type DockerNode } from '../support/docker-cluster.ts';
import { type Firewall, MATRIX, type MatrixLine, type Traffic } from '../support/docker-matrix.ts';
import { trafficBecomes } from '../support/docker-traffic.ts';
import { eventually } from '../support/eventually.ts';
import type { Host } from '../support/host.ts';
import { needs } from '../support/require.ts';

const LINES = MATRIX.filter(
  ({ docker, firewall, ipMasq, knowsDockerd }) =>
    ipMasq && knowsDockerd && !(docker === '29' && firewall === 'iptables-legacy'),
);

const BY_TABLE = ['iptables -F', 'iptables -t nat -F', 'iptables -t raw -F'];
const AT_ONCE = ['iptables -F; iptables -X; iptables -t nat -F; iptables -t nat -X; iptables -t raw -F'];
const RULESET = ['nft flush ruleset'];
const FLUSHES: Readonly<Record<Firewall, readonly string[]>> = {
  'iptables-nft': [...BY_TABLE, ...RULESET],
  'iptables-legacy': [...BY_TABLE, ...AT_ONCE],
  nftables: RULESET,
};

/** Docker's own, which it makes when it starts. */
const UNPUBLISHED: Partial<Traffic> = {
  publishedToHost: 'blocked',
  publishedToContainer: 'blocked',
  publishedToOutside: 'blocked',
};

/** Every rule and table that has flannel's names or ours, in both kinds of firewall. */
async function ours(host: Host): Promise<string> {
  const listed = await host.run('sh', [
    '-c',
    'for table in nat filter raw; do iptables-save -t $table; done; nft list tables | sort',
  ]);
  const lines = listed.split('\n').filter((line) => /flannel|tartan/i.test(line));
  return lines.map((line) => line.replace(/\[\d+:\d+\]/, '')).join('\n');
}

async function comesBack({ host, agent }: DockerNode, flush: string): Promise<void> {
  const before = await eventually(`${host.name} has rules and peer filter`, async () => {
    const now = await ours(host);
    return /FLANNEL-POSTRTG/.test(now) && /tartan-flannel/.test(now) && now;
  });
  await host.run('sh', ['-c', flush]);
  await eventually(
    `the agent's rules of ${host.name} are back after ${flush}`,
    async () => (await ours(host)) === before,
    {
      context: () => agent.tail(),
    },
  );
}

async function comesBackWithDockers(t: ExecutionContext, line: MatrixLine): Promise<void> {
  const { firewall, traffic } = line;
  const cluster = await DockerCluster.start(line);
  t.teardown(() => cluster.lab.destroy());
  const [one, two] = cluster.servers;
  t.deepEqual(await trafficBecomes(cluster, traffic), traffic, title(line));
  const both = (work: (node: DockerNode) => Promise<unknown>) => Promise.all([work(one), work(two)]);
  for (const flush of FLUSHES[firewall]) await both((node) => comesBack(node, flush));
  const without = { ...traffic, ...UNPUBLISHED };
  t.deepEqual(await trafficBecomes(cluster, without), without, `${title(line)}: flushed`);
  await both(async (node) => {
    const { status, stdout } = await node.check();
    t.is(status, 13);
    t.regex(stdout, /Published ports have no rule any more: web \(8080\)\..*Restart Docker/);
  });
  await both(async (node) => {
    await node.docker.restart();
    await node.webStartedAgain();
  });
  t.deepEqual(await trafficBecomes(cluster, traffic), traffic, `${title(line)}: Docker restarted`);
  await both(async (node) => t.is((await node.check()).status, 0));
}

function title({ docker, firewall }: MatrixLine): string {
  return `Docker ${docker} with ${firewall}`;
}

// All at once: most of it is waiting for the agents' next look.
test(`flushed rules come back, Docker's own when it is restarted: ${LINES.map(title).join('; ')}`, async (t) => {
  if (!needs(t, 'lab', 'iptables', 'nft', 'docker-20.10', 'docker-29')) return;
  await Promise.all(LINES.map((line) => comesBackWithDockers(t, line)));
});
