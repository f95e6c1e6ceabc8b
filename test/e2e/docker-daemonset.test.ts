/** The DaemonSet's pod on nodes whose containers Docker makes: as the manifest says, translated to `docker run`. */
import test, { type ExecutionContext } from 'ava';
import { PREFIX } from '../support/agent.ts';
import { DockerDaemon } from '../support/docker-daemon.ts';
import { engine } from '../support/docker-engine.ts';
import { eventually } from '../support/eventually.ts';
import type { Container, Host } from '../support/host.ts';
import { createLab, type Lab } from '../support/hosts.ts';
import { kubernetesContainer } from '../support/kubernetes-container.ts';
import { at, ofKind } from '../support/kubernetes-manifest.ts';
import { Member } from '../support/member.ts';
import { PacketStream } from '../support/packet-stream.ts';
import { needs } from '../support/require.ts';
import type { SubnetEnv } from '../support/subnet-env.ts';
import { tartanImageTar } from '../support/tartan-image.ts';

/** As kubelets ran it: the pods' network is not Docker's business. */
const KUBERNETES = ['--bridge=none', '--iptables=false'];

/** Of the ConfigMap, for an etcd without TLS, and what the kubelet adds. */
function environment(lab: Lab, host: Host): Readonly<Record<string, string>> {
  const data = Object.entries(at(ofKind('ConfigMap'), 'data') ?? {});
  const kept = data
    .filter(([name]) => !/^TARTAN_ETCD_\w+FILE$/.test(name))
    .map(([name, value]) => [name, String(value)]);
  return { ...Object.fromEntries(kept), TARTAN_ETCD_ENDPOINTS: lab.etcd.endpoint, NODE_NAME: host.name };
}

async function makeHostPath(
  host: Host,
  { path, type }: { readonly path: string; readonly type: string },
): Promise<void> {
  if (type === 'DirectoryOrCreate') await host.run('mkdir', ['-p', path]);
  if (type === 'FileOrCreate') await host.run('touch', [path]);
}

async function startPod(lab: Lab, docker: DockerDaemon): Promise<void> {
  for (const role of ['initContainers', 'containers'] as const) {
    const { image, options, command, hostPaths } = kubernetesContainer(role, environment(lab, docker.host));
    for (const hostPath of hostPaths) await makeHostPath(docker.host, hostPath);
    if (role === 'initContainers') await docker.docker('run', '--rm', ...options, image, ...command);
    else await docker.docker('run', '--detach', '--name=agent', '--restart=always', ...options, image, ...command);
  }
}

/** Docker and the agent's pod on a host, and another container, whose network is no business of Docker's. */
interface Node {
  readonly docker: DockerDaemon;
  readonly env: SubnetEnv;
  readonly container: Container;
}

async function startNode(lab: Lab, host: Host): Promise<Node> {
  const docker = await DockerDaemon.install(lab, host, engine('20.10'));
  await docker.start(KUBERNETES);
  const { image } = kubernetesContainer('containers', {});
  await docker.import(image, tartanImageTar(), ['ENTRYPOINT ["tartan"]']);
  await startPod(lab, docker);
  const env = await eventually(`${host.name} publishes its subnet`, () => host.subnetEnv());
  return { docker, env, container: await host.bridge(env) };
}

/** By the readiness probe's own path, on the node's loopback. */
async function isReady(host: Host): Promise<boolean> {
  const script = `exec 3<>/dev/tcp/127.0.0.1/8081 && printf 'GET /readyz HTTP/1.0\\r\\n\\r\\n' >&3 && head -n 1 <&3`;
  return (await host.exec('timeout', ['2', 'bash', '-c', script])).stdout.includes(' 200 ');
}

async function hasAll(t: ExecutionContext, { docker: { host }, env }: Node): Promise<void> {
  t.is((await host.read('/run/flannel/docker'))?.includes(` --bip=${env.subnet} `), true);
  t.not(await host.run('find', ['/var/lib/tartan', '-name', 'state.json']), '');
  t.is(await host.run('cat', ['/proc/sys/net/ipv4/ip_forward']), '1\n');
  const forwards = async () => /^-A FORWARD .* -j FLANNEL-FWD$/m.test(await host.run('iptables-save'));
  await eventually('forwarding is accepted', forwards);
  const filters = async () => (await host.run('nft', ['list', 'tables'])).includes('table inet tartan-flannel.1\n');
  await eventually('the peer filter is there', filters);
}

async function isNotMissed(
  t: ExecutionContext,
  { docker, container }: Node,
  peer: Container,
  verbs: readonly string[],
) {
  const streams = await Promise.all([PacketStream.start(container, peer), PacketStream.start(peer, container)]);
  for (const verb of verbs) await docker.docker(...verb.split(' '), 'agent');
  await eventually('the agent is ready again', () => isReady(docker.host));
  for (const { lost, oddities } of await Promise.all(streams.map((stream) => stream.stop()))) {
    t.deepEqual({ lost, oddities }, { lost: [], oddities: [] }, verbs.join());
  }
}

test('the pod writes the files of its node, programs it, and is restarted and killed without loss', async (t) => {
  if (!needs(t, 'lab', 'docker-20.10', 'nft', 'iptables', 'tun')) return;
  const lab = await createLab();
  t.teardown(() => lab.destroy());
  await lab.etcd.put(`${PREFIX}/config`, '{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"}}');
  const peer = new Member(lab, lab.host(2));
  const [node] = await Promise.all([startNode(lab, lab.host(1)), peer.start()]);
  await peer.addContainer();
  await eventually('the agent is ready', () => isReady(node.docker.host));
  await hasAll(t, node);
  const crosses = async () => (await node.container.ping(peer.container, { packetBytes: node.env.mtu })).ok;
  await eventually('containers reach each other', crosses);
  await isNotMissed(t, node, peer.container, ['restart']);
  await isNotMissed(t, node, peer.container, ['kill --signal=KILL', 'start']);
});
