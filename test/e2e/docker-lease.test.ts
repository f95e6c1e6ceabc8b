/** How docker0 comes to the lease: by daemon.json instead of flags, and to another lease. */
import { rm } from 'node:fs/promises';
import test from 'ava';
import { tartanOn } from '../support/agent.ts';
import { DockerCluster, type DockerNode } from '../support/docker-cluster.ts';
import { DAEMON_JSON } from '../support/docker-daemon.ts';
import { MATRIX } from '../support/docker-matrix.ts';
import { trafficBecomes } from '../support/docker-traffic.ts';
import { eventually } from '../support/eventually.ts';
import { needs } from '../support/require.ts';

const LINES = MATRIX.filter(({ firewall, ipMasq }) => firewall === 'iptables-nft' && ipMasq);

async function writeDaemonJson({ lab, host }: DockerNode): Promise<void> {
  const { status, stderr } = await tartanOn(lab, host, ['docker', 'opts', '--format', 'daemon.json']);
  if (status !== 0) throw new Error(stderr);
}

for (const line of LINES) {
  test(`Docker ${line.docker}: daemon.json instead of flags`, async (t) => {
    if (!needs(t, 'lab', 'iptables', 'nft', `docker-${line.docker}`)) return;
    const cluster = await DockerCluster.start({ ...line, beforeDocker: writeDaemonJson });
    t.teardown(() => cluster.lab.destroy());
    for (const { host, env } of cluster.servers) {
      const written = JSON.parse((await host.read(DAEMON_JSON)) ?? '');
      t.deepEqual(written, { 'log-level': 'info', bip: env.subnet, mtu: env.mtu, 'ip-masq': false });
    }
    t.deepEqual(await trafficBecomes(cluster, line.traffic), line.traffic);
  });
}

/** While the agent is away its subnet becomes another host's. */
async function loseLease(node: DockerNode): Promise<void> {
  await node.agent.stop();
  const { key, value } = await node.lease();
  await node.lab.etcd.put(key, value.replace(node.host.ip, '192.168.77.99').replace(/"Tartan":\{[^}]*\},?/, ''));
  for (const file of ['subnet.env', 'docker']) await rm(node.host.path(`/run/flannel/${file}`));
}

for (const line of LINES) {
  test(`Docker ${line.docker}: on another lease, status says what to restart, and that helps`, async (t) => {
    if (!needs(t, 'lab', 'iptables', 'nft', `docker-${line.docker}`)) return;
    const cluster = await DockerCluster.start(line);
    t.teardown(() => cluster.lab.destroy());
    const [one] = cluster.servers;
    const before = one.env.subnet;
    await loseLease(one);
    await one.start(['--ip-masq', ...one.dockerdFlags]);
    t.not(one.env.subnet, before);
    const says = async (text: RegExp) => text.test((await tartanOn(cluster.lab, one.host, ['status'])).stdout);
    const wanted = new RegExp(`docker0 has ${before}, which is not in this host's lease .*restart Docker`);
    await eventually('status tells that docker0 is not on the lease', () => says(wanted));
    await one.docker.restart();
    await one.webStartedAgain();
    t.deepEqual(await trafficBecomes(cluster, line.traffic), line.traffic);
    await eventually('status tells of docker0 no more', async () => !(await says(/docker0/)));
  });
}
