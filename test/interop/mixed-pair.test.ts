/** One host runs tartan, the other flanneld. */
import test, { type ExecutionContext } from 'ava';
import { tartanOn } from '../support/agent.ts';
import { eventually } from '../support/eventually.ts';
import { deviceOf, type PeerTraces } from '../support/kernel-tables.ts';
import type { EtcdEntry } from '../support/lab-etcd.ts';
import type { Member } from '../support/member.ts';
import { complaintsOf, flannelPartOf, MixedCluster, type Network, networksOf } from '../support/mixed-cluster.ts';

interface Pair {
  readonly title: string;
  readonly network: Network;
  readonly first: 'tartan' | 'flanneld';
  /** MTU in the subnet file. */
  readonly mtu: number;
}

const PAIRS: readonly Pair[] = [
  { title: 'vxlan', network: { type: 'vxlan' }, first: 'flanneld', mtu: 1450 },
  { title: 'vxlan', network: { type: 'vxlan' }, first: 'tartan', mtu: 1450 },
  { title: 'direct routing', network: { type: 'vxlan', backend: { DirectRouting: true } }, first: 'tartan', mtu: 1450 },
  { title: 'host-gw', network: { type: 'host-gw' }, first: 'flanneld', mtu: 1500 },
  { title: 'host-gw', network: { type: 'host-gw' }, first: 'tartan', mtu: 1500 },
  { title: 'dual-stack vxlan', network: { type: 'vxlan', ipv6: true }, first: 'flanneld', mtu: 1430 },
  { title: 'dual-stack host-gw', network: { type: 'host-gw', ipv6: true }, first: 'tartan', mtu: 1500 },
];

/** A lease value as flannel writes it, from what the host itself shows. */
async function flannelValueOf({ host }: Member, { network, devices }: MixedCluster): Promise<string> {
  const publicIp6 = network.ipv6 === true ? `"${host.ip6}"` : 'null';
  const fields = ['BackendData', 'BackendV6Data'];
  const data = await Promise.all(
    devices.map(async (name, i) => `,"${fields[i]}":{"VNI":1,"VtepMAC":"${(await deviceOf(host, name))?.address}"}`),
  );
  return `{"PublicIP":"${host.ip}","PublicIPv6":${publicIp6},"BackendType":"${network.type}"${data.join('')}}`;
}

/** What flannel programs for a peer, whoever does it: the protocol and tartan's nexthop objects aside. */
function tracesWanted(cluster: MixedCluster, lease: EtcdEntry, { host }: Member): readonly PeerTraces[] {
  const { network, devices } = cluster;
  const isDirect = network.type === 'host-gw' || network.backend?.['DirectRouting'] === true;
  const macs = [...lease.value.matchAll(/"VtepMAC":"([0-9a-f:]+)"/g)].map(([, mac]) => mac ?? '');
  const publicIps = [host.ip, host.ip6 ?? ''];
  return networksOf(lease).map((dst, i) => {
    const [publicIp = '', lladdr = '', dev = 'none'] = [publicIps[i], macs[i], devices[i]];
    const route = { dst, protocol: '' };
    if (isDirect) {
      return { routes: [{ ...route, gateway: publicIp, dev: 'eth0', flags: [] }], neighbours: [], fdb: [] };
    }
    const gateway = dst.replace(/\/.*/, '');
    return {
      routes: [{ ...route, gateway, dev, flags: ['onlink'] }],
      neighbours: [{ dst: gateway, lladdr, state: ['PERMANENT'] }],
      fdb: [{ mac: lladdr, dst: publicIp, state: 'permanent' }],
    };
  });
}

function essence({ routes, neighbours, fdb }: PeerTraces): PeerTraces {
  return {
    routes: routes.map(({ dst, gateway, dev, flags }) => ({
      ...{ dst, protocol: '', flags },
      ...(gateway !== undefined && { gateway }),
      ...(dev !== undefined && { dev }),
    })),
    neighbours: neighbours.map(({ dst, lladdr, state }) => ({ dst, state, ...(lladdr !== undefined && { lladdr }) })),
    fdb: fdb.map(({ mac, dst, state }) => ({ mac, state, ...(dst !== undefined && { dst }) })),
  };
}

async function checkSight(t: ExecutionContext, cluster: MixedCluster, from: Member, to: Member): Promise<void> {
  const lease = await cluster.lease(to.host);
  const traces = await cluster.traces(from.host, lease, to.host);
  t.deepEqual(traces.map(essence), tracesWanted(cluster, lease, to), `what ${from.name} has of ${to.name}`);
  t.is(flannelPartOf(lease.value), await flannelValueOf(to, cluster), `the lease value of ${to.name}`);
}

async function checkPing(t: ExecutionContext, from: Member, to: Member): Promise<void> {
  const packetBytes = Math.min(from.env.mtu, to.env.mtu);
  await from.reach(to);
  await from.reach(to, packetBytes);
  const { ip6 } = to.container;
  // The first packet waits for nobody: IPv6 addresses of the links are on probation for a second.
  if (ip6 !== undefined) {
    const isReached = async () => (await from.container.ping(ip6, { packetBytes, waitSeconds: 1 })).ok;
    await eventually(`${from.name} reaches ${to.name} by IPv6`, isReached, { context: () => from.agent.tail() });
  }
  const fromHost = await from.host.ping(to.container.ip);
  t.true(fromHost.ok, `the host ${from.name} itself to the container of ${to.name}\n${fromHost.output}`);
}

/**
 * One text but for the subnet. In dual stack tartan's MTU is the smaller one of the two devices, 1430: flannel writes
 * 1450, with which IPv6 packets of full size do not fit its own device.
 */
function fileOf(member: Member, mtu: number): string {
  const six = member.env.ipv6Subnet;
  const lines6 = six === undefined ? '' : `FLANNEL_IPV6_NETWORK=fd00:5::/48\nFLANNEL_IPV6_SUBNET=${six}\n`;
  const lines4 = `FLANNEL_NETWORK=10.5.0.0/16\nFLANNEL_SUBNET=${member.env.subnet}\n`;
  return `${lines4}${lines6}FLANNEL_MTU=${mtu}\nFLANNEL_IPMASQ=false\n`;
}

for (const { title, network, first, mtu } of PAIRS) {
  test(`${title}, ${first} first: a mixed pair reaches each other both ways with full packets`, async (t) => {
    const cluster = await MixedCluster.create(t, network);
    if (cluster === undefined) return;
    const flanneld = cluster.member(1, 'flanneld');
    const tartan = cluster.member(2, 'tartan');
    for (const member of first === 'tartan' ? [tartan, flanneld] : [flanneld, tartan]) await member.start();
    await Promise.all([flanneld.addContainer(), tartan.addContainer()]);
    await Promise.all([
      cluster.settled(flanneld.host, flanneld.agent, 'flanneld', 1),
      cluster.settled(tartan.host, tartan.agent, 'tartan', 1),
    ]);
    await checkPing(t, flanneld, tartan);
    await checkPing(t, tartan, flanneld);
    await checkSight(t, cluster, flanneld, tartan);
    await checkSight(t, cluster, tartan, flanneld);
    t.is(tartan.env.text, fileOf(tartan, mtu));
    t.is(flanneld.env.text, fileOf(flanneld, network.ipv6 === true && network.type === 'vxlan' ? 1450 : mtu));
    const { stdout } = await tartanOn(cluster.lab, tartan.host, ['leases', '--json']);
    const listed: readonly { readonly subnet: string }[] = JSON.parse(stdout);
    t.deepEqual(listed.map(({ subnet }) => subnet).sort(), [flanneld.network, tartan.network].sort());
    t.true(flanneld.agent.running);
    t.deepEqual(complaintsOf(flanneld.agent), []);
  });
}
