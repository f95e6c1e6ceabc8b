/** flanneld → tartan → flanneld → tartan on one host of a udp network, in place. */
import test, { type ExecutionContext } from 'ava';
import { eventually } from '../support/eventually.ts';
import { rows } from '../support/kernel-tables.ts';
import type { Member } from '../support/member.ts';
import { complaintsOf, flannelPartOf } from '../support/mixed-cluster.ts';
import { FLANNELD_UDP, PathCluster, type Side, UDP } from '../support/path-cluster.ts';

/** Tunnel devices of a host, in order. */
async function tunnels({ host }: Member): Promise<readonly string[]> {
  const links = await rows<{ readonly ifname: string }>(host, 'ip', ['-j', 'link']);
  return links.map(({ ifname }) => ifname).filter((name) => name.startsWith('flannel'));
}

/** Containers both ways, with packets of full size. */
async function checkReach(one: Member, others: readonly Member[]): Promise<void> {
  for (const other of others) {
    await one.reach(other, 1472);
    await other.reach(one, 1472);
  }
}

/** The agent ends and another one takes its place, which is to find the host's lease again. */
async function swap(t: ExecutionContext, cluster: PathCluster, one: Member, to: Side): Promise<Member> {
  const before = await one.lease();
  t.deepEqual(complaintsOf(one.agent), []);
  t.is((await one.agent.stop()).status, 0, one.agent.tail());
  const next = await cluster.replace(one, to);
  next.adoptContainer(one);
  await eventually(`${next.name} has its lease`, async () => {
    const { key, value } = await next.lease();
    const isOurs = value.includes(',"Tartan":');
    return key === before.key && isOurs === (to.agent === 'tartan');
  });
  t.is(flannelPartOf((await next.lease()).value), flannelPartOf(before.value));
  t.is(next.env.text, one.env.text);
  return next;
}

test('flanneld to tartan and back, twice: containers reach each other after each swap, by the same lease', async (t) => {
  const cluster = await PathCluster.create(t, [FLANNELD_UDP, FLANNELD_UDP, UDP]);
  const [first, two, three] = cluster?.members ?? [];
  if (cluster === undefined || first === undefined || two === undefined || three === undefined) return;
  const others = [two, three];
  await Promise.all([first, two, three].map((member) => member.addContainer()));
  await checkReach(first, others);
  t.deepEqual(await tunnels(first), ['flannel0']);

  const ours = await swap(t, cluster, first, UDP);
  await checkReach(ours, others);
  t.deepEqual(await tunnels(ours), ['flannel0']);

  // It makes a device of its own beside the one that stays, and its route comes before ours.
  const theirs = await swap(t, cluster, ours, FLANNELD_UDP);
  await checkReach(theirs, others);
  t.deepEqual(await tunnels(theirs), ['flannel0', 'flannel1']);

  const again = await swap(t, cluster, theirs, UDP);
  await checkReach(again, others);
  t.deepEqual(await tunnels(again), ['flannel0']);
  t.deepEqual(complaintsOf(again.agent), []);
});
