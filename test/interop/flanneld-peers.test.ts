/** One flanneld among tartans that come, go and die. */
import test from 'ava';
import { PREFIX, tartanOn } from '../support/agent.ts';
import { deviceOf } from '../support/kernel-tables.ts';
import type { Member } from '../support/member.ts';
import { complaintsOf, endOf, MixedCluster, type Network, networksOf } from '../support/mixed-cluster.ts';

const NETWORKS: readonly (Network & { readonly title: string })[] = [
  { title: 'vxlan', type: 'vxlan' },
  { title: 'host-gw', type: 'host-gw' },
];

/** The shortest that tartan takes. */
const SHORT_LEASE = '--lease-ttl=5';

for (const { title, ...network } of NETWORKS) {
  test(`${title}: flanneld follows tartan peers that join, leave, restart and die`, async (t) => {
    const cluster = await MixedCluster.create(t, network, { hosts: 4 });
    if (cluster === undefined) return;
    const { lab } = cluster;
    const flanneld = cluster.member(1, 'flanneld');
    const stays = cluster.member(2, 'tartan');
    const leaves = cluster.member(3, 'tartan');
    const dies = cluster.member(4, 'tartan');
    await flanneld.start();
    const settled = (peers: number) => cluster.settled(flanneld.host, flanneld.agent, 'flanneld', peers);
    const forgets = async (who: Member, lease: Awaited<ReturnType<typeof cluster.lease>>) => {
      await cluster.forgotten(flanneld.host, lease, who.host, flanneld.agent);
      await cluster.forgotten(stays.host, lease, who.host, stays.agent);
    };

    await Promise.all([stays.start(), leaves.start(), dies.start([SHORT_LEASE])]);
    await settled(3);
    const all = [flanneld, stays, leaves, dies];
    await Promise.all(all.map((member) => member.addContainer()));
    for (const peer of [stays, leaves, dies]) await Promise.all([flanneld.reach(peer), peer.reach(flanneld)]);
    t.is((await lab.etcd.list(`${PREFIX}/tartan/nodes/`)).length, 3, 'our other keys are there, and out of the way');

    const left = await cluster.lease(leaves.host);
    t.is((await tartanOn(lab, leaves.host, ['down', '--release'])).status, 0);
    await forgets(leaves, left);

    const died = await cluster.lease(dies.host);
    await dies.host.kill();
    await forgets(dies, died);

    await cluster.settled(leaves.host, cluster.start(leaves.host, 'tartan'), 'tartan', 2);
    t.deepEqual(networksOf(await cluster.lease(leaves.host)), networksOf(left));
    await Promise.all([flanneld.reach(leaves), leaves.reach(flanneld)]);

    // A restart of ours is no event for flanneld.
    const before = await cluster.lease(stays.host);
    await stays.agent.kill();
    await cluster.settled(stays.host, cluster.start(stays.host, 'tartan'), 'tartan', 2);
    t.deepEqual(await cluster.lease(stays.host), before);
    await Promise.all([flanneld.reach(stays), stays.reach(flanneld)]);
    t.is((await cluster.peerRoutes(flanneld.host)).length, 2);
    t.true(flanneld.agent.running);
    t.deepEqual(complaintsOf(flanneld.agent), []);
  });
}

test('vxlan: tartan follows a flanneld whose device comes back with another MAC, and forgets it when its lease ends', async (t) => {
  const cluster = await MixedCluster.create(t, { type: 'vxlan' }, { hosts: 2 });
  if (cluster === undefined) return;
  const [flanneld, tartan] = [cluster.member(1, 'flanneld'), cluster.member(2, 'tartan')];
  await Promise.all([flanneld.start(), tartan.start()]);
  await Promise.all([flanneld.addContainer(), tartan.addContainer()]);
  await cluster.settled(tartan.host, tartan.agent, 'tartan', 1);
  const before = await deviceOf(flanneld.host, 'flannel.1');
  await flanneld.agent.kill();
  await flanneld.host.run('ip', ['link', 'del', 'flannel.1']);
  const again = cluster.start(flanneld.host, 'flanneld');
  await cluster.settled(flanneld.host, again, 'flanneld', 1);
  const after = await deviceOf(flanneld.host, 'flannel.1');
  t.not(after?.address, before?.address);
  await Promise.all([flanneld.reach(tartan), tartan.reach(flanneld)]);
  const lease = await cluster.lease(flanneld.host);
  const [traces] = await cluster.traces(tartan.host, lease, flanneld.host);
  t.deepEqual(
    traces?.neighbours.map(({ lladdr }) => lladdr),
    [after?.address],
  );
  t.deepEqual(
    traces?.fdb.map(({ mac }) => mac),
    [after?.address],
    'no entry of the old MAC is left',
  );
  await cluster.lab.etcd.ctl(['lease', 'revoke', lease.lease]);
  t.is(await endOf(again), 0);
  await cluster.forgotten(tartan.host, lease, flanneld.host, tartan.agent);
});
