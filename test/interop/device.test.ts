/** The vxlan devices that tartan makes are those that flanneld makes, and either takes the other's as it is. */
import test from 'ava';
import { deviceOf } from '../support/kernel-tables.ts';
import { complaintsOf, MixedCluster, type Network } from '../support/mixed-cluster.ts';
import type { Place } from '../support/namespace.ts';

const NETWORKS: readonly (Network & { readonly title: string; readonly mtu: number })[] = [
  { title: 'VNI, port and MTU', type: 'vxlan', backend: { VNI: 4096, Port: 4789, MTU: 1400 }, mtu: 1350 },
  { title: 'learning and GBP', type: 'vxlan', backend: { Learning: true, GBP: true }, mtu: 1450 },
  { title: 'both families', type: 'vxlan', backend: { VNI: 2, Port: 4789 }, ipv6: true, mtu: 1430 },
];

/** What names the one device; the rest is to be equal. */
const OWN = new Set(['ifindex', 'address', 'local', 'local6', 'operstate']);
/** flannel's netlink library asks for a queue of length 0. The device has no queue whatever the length. */
const WITHOUT_MEANING = new Set(['txqlen']);

function attributes(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  const kept = Object.entries(value).filter(([key]) => !OWN.has(key) && !WITHOUT_MEANING.has(key));
  return Object.fromEntries(kept.map(([key, inner]) => [key, attributes(inner)]));
}

interface AddressRow {
  readonly addr_info: readonly { readonly local: string; readonly prefixlen: number; readonly scope: string }[];
}

/** Addresses but for the link-local ones, with the device's own lease taken out. */
async function addressesOf(host: Place, device: string, first: readonly string[]): Promise<readonly unknown[]> {
  const [row]: readonly AddressRow[] = JSON.parse(await host.run('ip', ['-j', 'addr', 'show', 'dev', device]));
  const global = (row?.addr_info ?? []).filter(({ scope }) => scope === 'global');
  return global.map(({ local, prefixlen }) => `${first.includes(local) ? 'the lease' : local}/${prefixlen}`);
}

for (const { title, mtu, ...network } of NETWORKS) {
  test(`${title}: a device of tartan's is one of flanneld's, and neither makes the other's anew`, async (t) => {
    const cluster = await MixedCluster.create(t, network, { hosts: 2 });
    if (cluster === undefined) return;
    const [flanneld, tartan] = [cluster.member(1, 'flanneld'), cluster.member(2, 'tartan')];
    await Promise.all([flanneld.start(), tartan.start()]);
    await Promise.all([flanneld.addContainer(), tartan.addContainer()]);
    await cluster.settled(tartan.host, tartan.agent, 'tartan', 1);
    await cluster.settled(flanneld.host, flanneld.agent, 'flanneld', 1);
    t.is(tartan.env.mtu, mtu);
    const packetBytes = Math.min(flanneld.env.mtu, tartan.env.mtu);
    await Promise.all([flanneld.reach(tartan, packetBytes), tartan.reach(flanneld, packetBytes)]);
    const first = [flanneld, tartan].flatMap(({ env }) =>
      [env.subnet, env.ipv6Subnet ?? ''].map((text) => text.replace(/\.1\/.*/, '.0').replace(/::1\/.*/, '::')),
    );
    for (const device of cluster.devices) {
      const [theirs, ours] = [await deviceOf(flanneld.host, device), await deviceOf(tartan.host, device)];
      t.deepEqual(attributes(ours), attributes(theirs), device);
      for (const { host } of [flanneld, tartan]) {
        t.is((await host.run('cat', [`/proc/sys/net/ipv6/conf/${device}/accept_ra`])).trim(), '0');
      }
      t.deepEqual(
        await addressesOf(tartan.host, device, first),
        await addressesOf(flanneld.host, device, first),
        `addresses of ${device}`,
      );
    }
    const seen = async () => {
      const hosts = [flanneld.host, tartan.host];
      return Promise.all(hosts.flatMap((host) => cluster.devices.map((device) => deviceOf(host, device))));
    };
    const before = await seen();
    t.deepEqual(complaintsOf(flanneld.agent), []);
    await Promise.all([flanneld.agent.stop(), tartan.agent.stop()]);
    const [ours, theirs] = [cluster.start(flanneld.host, 'tartan'), cluster.start(tartan.host, 'flanneld')];
    await Promise.all([
      cluster.settled(flanneld.host, ours, 'tartan', 1),
      cluster.settled(tartan.host, theirs, 'flanneld', 1),
    ]);
    t.deepEqual(await seen(), before, 'the same devices after the agents changed places');
    await Promise.all([flanneld.reach(tartan, packetBytes), tartan.reach(flanneld, packetBytes)]);
    t.deepEqual([...complaintsOf(ours), ...complaintsOf(theirs)], []);
    const file = await tartan.host.read('/run/flannel/subnet.env');
    if (network.ipv6 !== true) t.is(file, tartan.env.text, 'flanneld wrote what tartan had written');
  });
}
