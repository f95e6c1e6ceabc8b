/** What happens to a host under a running agent: the network follows, or it is said why it can't. */
import test from 'ava';
import type { Status } from '../../../agent/status.ts';
import { TARTAN } from '../../support/agent.ts';
import { eventually } from '../../support/eventually.ts';
import type { Container, Host } from '../../support/host.ts';
import type { EtcdEntry } from '../../support/lab-etcd.ts';
import { PacketStream } from '../../support/packet-stream.ts';
import type { LabProcess } from '../../support/process.ts';
import { DOCKER_FILE, type Scene, scenesOn, VXLAN } from './scene.ts';

const HOST_GW = '{"Network":"10.5.0.0/16","Backend":{"Type":"host-gw"}}';
const DUAL = '{"EnableIPv6":true,"Network":"10.5.0.0/16","IPv6Network":"fd00:5::/48","Backend":{"Type":"vxlan"}}';

const scenes = scenesOn({ ipv6: true });

interface Node {
  readonly host: Host;
  readonly agent: LabProcess;
  readonly container: Container;
  readonly lease: EtcdEntry;
}

/** Two hosts in step, with a container each. `flags`: how the first one is told its interface. */
async function pair(scene: Scene, flags: readonly string[] = ['--iface=eth0']): Promise<readonly [Node, Node]> {
  const [a, b] = await everybody(scene, flags);
  if (!a || !b) throw new Error('two hosts are needed');
  return [a, b];
}

/** All hosts of the scene, as in `pair`. */
async function everybody(scene: Scene, flags: readonly string[] = []): Promise<readonly Node[]> {
  const [command, ...main] = TARTAN;
  const common = [`--etcd-endpoints=${scene.lab.etcd.endpoint}`, `--etcd-prefix=${scene.prefix}`];
  const args = [...main, 'run', ...common, '--log-format=human', `--docker-opts-file=${DOCKER_FILE}`];
  const agents = scene.hosts.map((host, i) => host.spawn(command, [...args, ...(i === 0 ? flags : [])]));
  const nodes: Node[] = [];
  for (const [i, host] of scene.hosts.entries()) {
    const agent = agents[i];
    if (!agent) throw new Error(`${host.name} has no agent`);
    await scene.isReady(host, agent);
    const env = await host.subnetEnv();
    if (!env) throw new Error(`${host.name} has no subnet`);
    nodes.push({ host, agent, container: await host.bridge(env), lease: await scene.lease(host.ip) });
  }
  await Promise.all(nodes.map((one) => inStep(scene, one)));
  for (const [i, one] of nodes.entries()) await reaches(one, nodes[i + 1] ?? one);
  return nodes;
}

function inStep(scene: Scene, { host, agent }: Node, more: (status: Status) => boolean = () => true): Promise<Status> {
  const count = scene.hosts.length - 1;
  const wanted = (status: Status): boolean =>
    status.ready && status.inStep && status.peers.length === count && more(status);
  return scene.status(host, agent, wanted, 'is in step');
}

async function reaches(from: Node, to: Node): Promise<void> {
  const context = (): string => `${from.agent.tail(6)}\n${to.agent.tail(6)}`;
  await eventually(
    `${from.container.ip} reaches ${to.container.ip}`,
    async () => (await from.container.ping(to.container, { waitSeconds: 1 })).ok,
    { context },
  );
}

/** What nothing but the change itself may touch. */
async function device(host: Host): Promise<{ readonly index: string; readonly mac: string; readonly text: string }> {
  const text = await host.run('ip', ['-d', '-o', 'link', 'show', 'dev', 'flannel.1']);
  return { index: /^(\d+):/.exec(text)?.[1] ?? '', mac: /ether (\S+)/.exec(text)?.[1] ?? '', text };
}

/** The lease's public IPv4, once it is that. */
async function leaseSays(scene: Scene, node: Node, publicIp: string): Promise<EtcdEntry> {
  await scene.leaseIs(publicIp, 'there');
  const lease = await scene.lease(publicIp);
  if (lease.key !== node.lease.key) throw new Error(`${lease.key} instead of ${node.lease.key}`);
  return lease;
}

function addressKeys(scene: Scene): Promise<readonly string[]> {
  return scene.lab.etcd
    .list(`${scene.prefix}/tartan/addresses/`)
    .then((all) => all.map(({ key }) => key.replace(/.*\//, '')));
}

async function publishedMtu(host: Host): Promise<string> {
  const env = await host.subnetEnv();
  const docker = /--mtu=(\d+)/.exec((await host.read(DOCKER_FILE)) ?? '')?.[1];
  return `${env?.mtu} ${docker}`;
}

/** A second interface on the switch, and what to do with it. */
async function secondInterface(scene: Scene, host: Host, address: string): Promise<void> {
  await scene.lab.switch.configure(
    `link add b${host.port} type veth peer name eth1 netns ${host.pid}`,
    `link set b${host.port} master br0 up`,
  );
  await host.configure('link set eth1 up', `addr add ${address}/24 dev eth1 noprefixroute`);
}

test('another address: device, lease and peers follow; nothing is made anew', async (t) => {
  const scene = await scenes(t, { hosts: 2 });
  if (!scene) return;
  const [a, b] = await pair(scene);
  const before = await device(a.host);
  const stream = await PacketStream.start(b.container, a.container);
  await a.host.configure(
    `addr del ${a.host.ip}/24 dev eth0`,
    'addr add 192.168.77.211/24 dev eth0',
    'route add default via 192.168.77.1',
  );
  await leaseSays(scene, a, '192.168.77.211');
  await inStep(scene, b, ({ peers }) => peers[0]?.publicIp === '192.168.77.211');
  await inStep(scene, a, ({ underlay }) => underlay?.ip === '192.168.77.211');
  await reaches(a, b);
  const { lost } = await stream.stop();
  t.log(`lost: ${lost.join('; ')}`);
  t.true(lost.length <= 1, `one gap, not: ${lost.join('; ')}`);
  const after = await device(a.host);
  t.regex(after.text, /local 192\.168\.77\.211 /);
  t.is(after.index, before.index);
  t.is(after.mac, before.mac);
  t.deepEqual(await addressKeys(scene), [b.host.ip, '192.168.77.211']);
  // The next start finds everything as it wants it.
  const { modRevision } = await leaseSays(scene, a, '192.168.77.211');
  await a.agent.stop('SIGTERM');
  const again = await scene.ready(a.host);
  t.is((await leaseSays(scene, a, '192.168.77.211')).modRevision, modRevision);
  t.false(again.lines.some((line) => /asking its holder/.test(line)));
});

test('the address is lost and comes back: said, and nothing else', async (t) => {
  const scene = await scenes(t, { hosts: 2 });
  if (!scene) return;
  const [a, b] = await pair(scene);
  const before = await device(a.host);
  await a.host.configure(`addr del ${a.host.ip}/24 dev eth0`);
  const isSaid = ({ problems }: Status): boolean =>
    problems.some((one) => /^eth0 has lost its address 192.* \[INTERFACE_NOT_FOUND\]$/.test(one));
  await scene.status(a.host, a.agent, isSaid, 'says what is lost');
  t.deepEqual(await scene.lease(a.host.ip), a.lease);
  t.deepEqual(await device(a.host), before);
  await a.host.configure(`addr add ${a.host.ip}/24 dev eth0`, 'route add default via 192.168.77.1');
  await reaches(a, b);
  const stream = await PacketStream.start(a.container, b.container);
  await inStep(scene, a, ({ problems }) => problems.length === 0);
  t.deepEqual((await stream.stop()).lost, []);
  t.deepEqual(await device(a.host), before);
  t.deepEqual(await scene.lease(a.host.ip), a.lease);
});

test('another MTU: device, subnet.env and docker options follow, both ways; the lease does not change', async (t) => {
  const scene = await scenes(t, { hosts: 2 });
  if (!scene) return;
  const [a, b] = await pair(scene);
  const { index } = await device(a.host);
  const stream = await PacketStream.start(a.container, b.container);
  t.is(await publishedMtu(a.host), '1450 1450');
  for (const [outer, inner] of [
    ['1400', '1350'],
    ['1500', '1450'],
  ] as const) {
    await a.host.configure(`link set eth0 mtu ${outer}`);
    await eventually(`MTU ${inner} is published`, async () => (await publishedMtu(a.host)) === `${inner} ${inner}`);
    const found = await device(a.host);
    t.regex(found.text, new RegExp(`mtu ${inner} `));
    t.is(found.index, index);
    await inStep(scene, a, ({ mtu }) => mtu === Number(inner));
  }
  t.deepEqual((await stream.stop()).lost, []);
  t.deepEqual(await scene.lease(a.host.ip), a.lease);
});

for (const [backend, config] of [
  ['vxlan', VXLAN],
  ['host-gw', HOST_GW],
] as const) {
  test(`${backend}: down and up, and no carrier: all is back by itself`, async (t) => {
    const scene = await scenes(t, { hosts: 2, config });
    if (!scene) return;
    const [a, b] = await pair(scene);
    for (let times = 0; times < 3; times++) {
      await a.host.configure('link set eth0 down');
      await a.host.configure('link set eth0 up');
      await reaches(a, b);
    }
    await a.host.unplug();
    await a.host.plug();
    await reaches(a, b);
    const stream = await PacketStream.start(a.container, b.container);
    await inStep(scene, a);
    t.deepEqual((await stream.stop()).lost, []);
    t.deepEqual(await scene.lease(a.host.ip), a.lease);
    t.false(a.agent.lines.some((line) => /keeps changing/.test(line)));
  });

  test(`${backend}: renamed: followed; where --iface has the old name, that is said`, async (t) => {
    const scene = await scenes(t, { hosts: 2, config });
    if (!scene) return;
    const [a, b] = await pair(scene, ['--iface=eth0']);
    const stream = await PacketStream.start(a.container, b.container);
    await a.host.configure('link set eth0 name lan0');
    const isSaid = ({ problems }: Status): boolean =>
      problems.some((one) => /eth0 was renamed to lan0; .*--iface.* \[INTERFACE_NOT_FOUND\]$/.test(one));
    await inStep(scene, a, (status) => isSaid(status) && status.underlay?.dev === 'lan0');
    // The second one goes by its default route, and is not told a name.
    await b.host.configure('link set eth0 name lan0');
    await inStep(scene, b, ({ underlay, problems }) => underlay?.dev === 'lan0' && problems.length === 0);
    // A third one is still followed.
    const third = await scene.addHost();
    await scene.ready(third);
    const hasThree = ({ inStep: isIn, peers }: Status): boolean => isIn && peers.length === 2;
    await scene.status(a.host, a.agent, hasThree, 'follows');
    await scene.status(b.host, b.agent, hasThree, 'follows');
    await a.host.configure('link set lan0 name eth0');
    await scene.status(
      a.host,
      a.agent,
      ({ problems, underlay }) => problems.length === 0 && underlay?.dev === 'eth0',
      'is content',
    );
    t.deepEqual((await stream.stop()).lost, []);
    t.deepEqual(await scene.lease(a.host.ip), a.lease);
  });

  test(`${backend}: the default route leads elsewhere: the underlay stays`, async (t) => {
    const scene = await scenes(t, { hosts: 2, config });
    if (!scene) return;
    const [a, b] = await pair(scene, []);
    const stream = await PacketStream.start(a.container, b.container);
    await a.host.configure(
      'link add tun9 type veth peer name end9',
      'link set end9 up',
      'link set tun9 up',
      'addr add 172.30.0.1/24 dev tun9',
      'route replace default via 172.30.0.9 dev tun9',
    );
    // The gateway is another one, and kept out of peers' leases: that much is followed.
    await a.agent.until(/following the external interface/);
    const { underlay } = await inStep(scene, a, ({ problems }) => problems.length === 0);
    t.is(underlay?.dev, 'eth0');
    t.deepEqual((await stream.stop()).lost, []);
    t.deepEqual(await scene.lease(a.host.ip), a.lease);
  });

  test(`${backend}: the interface is deleted and another one is there: all moves to it`, async (t) => {
    const scene = await scenes(t, { hosts: 2, config });
    if (!scene) return;
    const [a, b] = await pair(scene, ['--iface=eth0', '--iface=eth1']);
    const mac = backend === 'vxlan' ? (await device(a.host)).mac : '';
    await secondInterface(scene, a.host, '192.168.77.221');
    await a.host.configure('link del eth0');
    await a.host.configure(
      'route add 192.168.77.0/24 dev eth1 src 192.168.77.221',
      'route add default via 192.168.77.1',
    );
    await leaseSays(scene, a, '192.168.77.221');
    await inStep(scene, a, ({ underlay, problems }) => underlay?.dev === 'eth1' && problems.length === 0);
    await inStep(scene, b, ({ peers }) => peers[0]?.publicIp === '192.168.77.221');
    await reaches(a, b);
    const stream = await PacketStream.start(a.container, b.container);
    if (backend === 'vxlan') {
      const after = await device(a.host);
      t.regex(after.text, /local 192\.168\.77\.221 dev eth1 /);
      t.is(after.mac, mac);
    }
    t.deepEqual((await stream.stop()).lost, []);
  });
}

test('host-gw: another address, and the routes stand all the time that the kernel lets them', async (t) => {
  const scene = await scenes(t, { hosts: 2, config: HOST_GW });
  if (!scene) return;
  const [a, b] = await pair(scene);
  await a.host.configure(
    `addr del ${a.host.ip}/24 dev eth0`,
    'addr add 192.168.77.211/24 dev eth0',
    'route add default via 192.168.77.1',
  );
  await leaseSays(scene, a, '192.168.77.211');
  await inStep(scene, a, ({ underlay }) => underlay?.ip === '192.168.77.211');
  await inStep(scene, b, ({ peers }) => peers[0]?.publicIp === '192.168.77.211');
  await reaches(a, b);
  t.regex(await b.host.run('ip', ['route']), /via 192\.168\.77\.211 dev eth0/);
});

test('dual stack: both addresses, both devices', async (t) => {
  const scene = await scenes(t, { hosts: 2, config: DUAL });
  if (!scene) return;
  const [a, b] = await pair(scene);
  await a.host.configure(
    `addr del ${a.host.ip}/24 dev eth0`,
    `addr del ${a.host.ip6}/64 dev eth0`,
    'addr add 192.168.77.211/24 dev eth0',
    'addr add fd77::d3/64 dev eth0 nodad',
    'route add default via 192.168.77.1',
    'route replace ::/0 via fd77::1',
  );
  const { value } = await leaseSays(scene, a, '192.168.77.211');
  t.regex(value, /"PublicIPv6":"fd77::d3"/);
  await inStep(scene, a, ({ underlay }) => underlay?.ip6 === 'fd77::d3');
  await inStep(scene, b, ({ peers }) => peers[0]?.publicIp6 === 'fd77::d3');
  await reaches(a, b);
  const six = { host: b.host, to: b.container.ip6 ?? '' };
  await eventually('IPv6 crosses', async () => {
    const answer = await a.container.exec('ping', ['-n', '-c', '1', '-W', '1', six.to]);
    return answer.status === 0;
  });
  t.regex(await a.host.run('ip', ['-d', 'link', 'show', 'flannel-v6.1']), /local fd77::d3 /);
  const six6 = [b.host.ip6 ?? '', 'fd77::d3'].map(encodeURIComponent);
  t.deepEqual([...(await addressKeys(scene))].sort(), [b.host.ip, '192.168.77.211', ...six6].sort());
});

test('without etcd: device and files follow at once, the lease when etcd is back', async (t) => {
  const scene = await scenes(t, { hosts: 2 });
  if (!scene) return;
  const [a, b] = await pair(scene);
  await scene.lab.etcd.stop();
  t.teardown(() => scene.lab.etcd.start().catch(() => undefined));
  await a.host.configure(
    `addr del ${a.host.ip}/24 dev eth0`,
    'link set eth0 mtu 1400',
    'addr add 192.168.77.211/24 dev eth0',
    'route add default via 192.168.77.1',
  );
  await eventually('the device sends from there', async () =>
    /local 192\.168\.77\.211 /.test((await device(a.host)).text),
  );
  await eventually('MTU is published', async () => (await publishedMtu(a.host)) === '1350 1350');
  t.true(a.agent.running);
  await scene.lab.etcd.start();
  await leaseSays(scene, a, '192.168.77.211');
  await inStep(scene, b, ({ peers }) => peers[0]?.publicIp === '192.168.77.211');
  await reaches(a, b);
});

for (const [what, config, count] of [
  ['two hosts swap their addresses', VXLAN, 2],
  ['host-gw: two hosts swap their addresses', HOST_GW, 2],
  ['three hosts get the address of the next one', VXLAN, 3],
  ['dual stack: two hosts swap their addresses', DUAL, 2],
] as const) {
  test(`${what}: each lease follows its host`, async (t) => {
    const scene = await scenes(t, { hosts: count, config });
    if (!scene) return;
    const nodes = await everybody(scene);
    const next = (i: number): Host => scene.host(((i + 1) % count) + 1);
    const dual = config === DUAL;
    for (const { host } of nodes) {
      const six = dual ? [`addr del ${host.ip6}/64 dev eth0`] : [];
      await host.configure(`addr del ${host.ip}/24 dev eth0`, ...six);
    }
    for (const [i, { host }] of nodes.entries()) {
      const { ip, ip6 } = next(i);
      const six = dual ? [`addr add ${ip6}/64 dev eth0 nodad`, 'route replace ::/0 via fd77::1'] : [];
      await host.configure(`addr add ${ip}/24 dev eth0`, 'route add default via 192.168.77.1', ...six);
    }
    const context = (): string => nodes.map(({ host, agent }) => `${host.name}\n${agent.tail(8)}`).join('\n');
    for (const [i, { lease }] of nodes.entries()) {
      const { ip, ip6 } = next(i);
      const addresses = `{"PublicIP":"${ip}","PublicIPv6":${dual ? `"${ip6}"` : null},`;
      const isSo = async (): Promise<boolean> =>
        (await scene.leases()).some(({ key, value }) => key === lease.key && value.startsWith(addresses));
      await eventually(`${lease.key} says ${addresses}`, isSo, { context, timeoutMs: 60_000 });
    }
    for (const [i, one] of nodes.entries()) {
      await inStep(scene, one, ({ problems, underlay }) => problems.length === 0 && underlay?.ip === next(i).ip);
      for (const other of nodes) if (other !== one) await reaches(one, other);
    }
    // All hang where they hung, and each side key names its lease.
    const leases = await scene.leases();
    t.deepEqual(
      leases.map(({ key, lease, createRevision }) => ({ key, lease, createRevision })),
      nodes
        .map(({ lease: { key, lease, createRevision } }) => ({ key, lease, createRevision }))
        .sort((x, y) => (x.key < y.key ? -1 : 1)),
    );
    const beside = await scene.lab.etcd.list(`${scene.prefix}/tartan/addresses/`);
    t.is(beside.length, dual ? 2 * count : count);
    for (const { key, value, lease } of beside) {
      const named: { readonly lease: string } = JSON.parse(value);
      const its = leases.find((one) => one.key === named.lease);
      t.true(its?.value.includes(`"${decodeURIComponent(key.replace(/.*\//, ''))}"`), `${key}: ${value}`);
      t.is(its?.lease, lease);
    }
  });
}

test('an address that another live host has is not taken', async (t) => {
  const scene = await scenes(t, { hosts: 2 });
  if (!scene) return;
  const [a, b] = await pair(scene);
  await a.host.configure(`addr del ${a.host.ip}/24 dev eth0`, `addr add ${b.host.ip}/24 dev eth0`);
  // etcd is reached by an address of its own, so that the two do not fight over the wire.
  await a.host.configure('addr add 192.168.77.231/32 dev lo', 'route replace 192.168.77.1 dev eth0 src 192.168.77.231');
  await scene.lab.switch.configure(`route replace 192.168.77.231/32 dev br0`);
  const isSaid = ({ problems }: Status): boolean =>
    problems.some((one) => /another live host \(host.* has our public IP.* \[ADDRESS_IN_USE\]$/.test(one));
  await scene.status(a.host, a.agent, isSaid, 'says whose it is', { timeoutMs: 40_000 });
  t.is((await scene.lease(b.host.ip)).key, b.lease.key);
  t.is((await scene.lease(a.host.ip)).key, a.lease.key);
});
