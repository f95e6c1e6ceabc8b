/** Two real flanneld nodes on the harness: what the mixed pairs are measured against. */
import test from 'ava';
import { flanneldAt, PREFIX, startAgent, subnetOf } from '../support/agent.ts';
import { eventually } from '../support/eventually.ts';
import { findFlanneld } from '../support/flanneld.ts';
import { createLab } from '../support/hosts.ts';
import { needs } from '../support/require.ts';

// With nftables flanneld does not ask for the br_netfilter module.
const config = (type: string) => `{"Network":"10.5.0.0/16","EnableNFTables":true,"Backend":{"Type":"${type}"}}`;

for (const [type, mtu] of [
  ['vxlan', 1450],
  ['host-gw', 1500],
] as const) {
  test(`flanneld to flanneld, ${type}: containers reach each other with packets of the full MTU`, async (t) => {
    if (!needs(t, 'lab', 'flanneld', 'nft')) return;
    const found = findFlanneld();
    if ('reason' in found) return t.fail(found.reason);
    const lab = await createLab();
    t.teardown(() => lab.destroy());
    await lab.etcd.put(`${PREFIX}/config`, config(type));
    const containers = await Promise.all(
      lab.hosts.map(async (host) => {
        const env = await subnetOf(host, startAgent(lab, host, flanneldAt(found.path)));
        t.is(env.mtu, mtu);
        return host.bridge(env);
      }),
    );
    for (const from of containers) {
      for (const to of containers) {
        await eventually(`${from.ip} reaches ${to.ip}`, async () => (await from.ping(to, { packetBytes: mtu })).ok);
      }
    }
    const leases = await lab.etcd.list(`${PREFIX}/subnets/`);
    t.deepEqual(
      leases.map((lease) => /"PublicIP":"([^"]*)"/.exec(lease.value)?.[1]).sort(),
      lab.hosts.map((h) => h.ip),
    );
  });
}
