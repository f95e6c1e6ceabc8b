/** A flanneld knows nothing of path probes: it is its kernel that answers them. */
import test from 'ava';
import type { Family } from '../../config/address.ts';
import { ip, mac } from '../support/addresses.ts';
import type { Host } from '../support/host.ts';
import { deviceOf } from '../support/kernel-tables.ts';
import { MixedCluster, networksOf } from '../support/mixed-cluster.ts';
import { PathProber } from '../support/path-prober.ts';

test('vxlan: a flanneld is asked, over IPv4 and IPv6, and its path MTU found', async (t) => {
  const cluster = await MixedCluster.create(t, { type: 'vxlan', ipv6: true }, { hosts: 2 });
  if (cluster === undefined) return;
  const { lab } = cluster;
  const [one, two] = [lab.host(1), lab.host(2)];
  await cluster.settled(one, cluster.start(one, 'flanneld'), 'flanneld', 0);
  await cluster.settled(two, cluster.start(two, 'tartan'), 'tartan', 1);
  const leases = { one: networksOf(await cluster.lease(one)), two: networksOf(await cluster.lease(two)) };
  /** What a lease says of a host. */
  const side = async (host: Host, networks: readonly string[], family: Family) => {
    const device = await deviceOf(host, family === 4 ? 'flannel.1' : 'flannel-v6.1');
    return {
      mac: mac(device?.address ?? ''),
      address: ip((networks[family === 4 ? 0 : 1] ?? '').replace(/\/.*/, '')),
      underlay: ip(family === 4 ? host.ip : (host.ip6 ?? '')),
    };
  };
  for (const family of [4, 6] as const) {
    const [own, peer] = [await side(two, leases.two, family), await side(one, leases.one, family)];
    const device = family === 4 ? 'flannel.1' : 'flannel-v6.1';
    const mtuBytes = family === 4 ? 1_450 : 1_430;
    const prober = new PathProber(two, {
      settings: { device, vni: 1, port: 8_472, local: own.underlay, mac: own.mac, address: own.address, mtuBytes },
      peers: [['flanneld', { endpoint: peer.underlay, mac: peer.mac, address: peer.address }]],
    });
    const isKnown = 'all of the flanneld is known';
    const found = await prober.sees('flanneld', isKnown, (result) => result.pathMtuBytes !== undefined);
    t.is(found.state, 'answering');
    t.is(found.pathMtuBytes, 1_500);
    t.is(found.lost, 0);

    await lab.switch.configure(`link set ${one.port} mtu 1400`);
    await prober.sees('flanneld', 'its path has become smaller', (result) => result.pathMtuBytes === 1_400);
    await lab.switch.configure(`link set ${one.port} mtu 1500`);
    await prober.process.kill();
  }
});
