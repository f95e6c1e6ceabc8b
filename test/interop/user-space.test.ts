/** flanneld's vxlan and tartan's in user space: peers of each other, and each other's followers on one host. */
import test from 'ava';
import { eventually } from '../support/eventually.ts';
import { deviceOf } from '../support/kernel-tables.ts';
import { complaintsOf, endOf, flannelPartOf, MixedCluster } from '../support/mixed-cluster.ts';

/** A key that flanneld does not know, and passes over. */
const NETWORK = { type: 'vxlan', backend: { Mode: 'user' } } as const;

/** `lease taken over` in the README's table of exit statuses. */
const TAKEN_OVER = 8;

test('a vxlan in user space follows a flanneld, with its MAC and lease, and is followed by one', async (t) => {
  const cluster = await MixedCluster.create(t, NETWORK, { hosts: 2 });
  if (cluster === undefined) return;
  const one = cluster.member(1, 'flanneld');
  const two = cluster.member(2, 'flanneld');
  for (const member of [one, two]) await member.start();
  await Promise.all([one.addContainer(), two.addContainer()]);
  const kindOf = async (): Promise<string | undefined> => (await deviceOf(one.host, 'flannel.1'))?.linkinfo?.info_kind;
  const bothWays = (): Promise<unknown> => Promise.all([one.reach(two), two.reach(one)]);
  await bothWays();
  t.is(await kindOf(), 'vxlan');
  const { key, value } = await cluster.lease(one.host);
  t.is((await one.agent.stop()).status, 0);
  const tartan = cluster.start(one.host, 'tartan');
  await cluster.settled(one.host, tartan, 'tartan', 1);
  const taken = await cluster.lease(one.host);
  t.deepEqual([taken.key, flannelPartOf(taken.value)], [key, value]);
  t.is(await kindOf(), 'tun');
  await bothWays();
  t.deepEqual([...complaintsOf(two.agent), ...complaintsOf(tartan)], []);
  t.is((await tartan.stop()).status, 0, tartan.tail());
  const flanneld = cluster.start(one.host, 'flanneld');
  await cluster.settled(one.host, flanneld, 'flanneld', 1);
  t.is(await kindOf(), 'vxlan');
  t.is((await cluster.lease(one.host)).key, key);
  await bothWays();
});

test('a flanneld that is started beside it, and again where it fails, gets the host', async (t) => {
  const cluster = await MixedCluster.create(t, NETWORK, { hosts: 2 });
  if (cluster === undefined) return;
  const one = cluster.member(1, 'tartan');
  const two = cluster.member(2, 'tartan');
  for (const member of [one, two]) await member.start();
  await Promise.all([one.addContainer(), two.addContainer()]);
  await Promise.all([one.reach(two), two.reach(one)]);
  const { key } = await cluster.lease(one.host);
  // It makes its device before it writes the lease: until then that is ours to put right, at once five times a minute.
  let flanneld = cluster.start(one.host, 'flanneld');
  for (let starts = 1; one.agent.running && starts < 10; starts++) {
    await eventually('one of them ends', () => !(flanneld.running && one.agent.running));
    if (!flanneld.running) flanneld = cluster.start(one.host, 'flanneld');
  }
  t.is(await endOf(one.agent), TAKEN_OVER, one.agent.tail());
  await flanneld.stop();
  flanneld = cluster.start(one.host, 'flanneld');
  await cluster.settled(one.host, flanneld, 'flanneld', 1);
  t.is((await deviceOf(one.host, 'flannel.1'))?.linkinfo?.info_kind, 'vxlan');
  t.is((await cluster.lease(one.host)).key, key);
});
