/** VXLAN in user space beside flanneld's, which is the kernel's: as neighbours, and after each other on one host. */
import test, { type ExecutionContext } from 'ava';
import { eventually } from '../support/eventually.ts';
import { deviceOf } from '../support/kernel-tables.ts';
import type { Member } from '../support/member.ts';
import { complaintsOf, flannelPartOf } from '../support/mixed-cluster.ts';
import { checkTransfers, FLANNELD_VXLAN, KERNEL, PathCluster, type Side, USER } from '../support/path-cluster.ts';

const MB = 1e6;
/** flannel does not know the key; a tartan in the cluster would mind that it changes. */
const BESIDE_USER: Side = { ...FLANNELD_VXLAN, backend: USER.backend };
const DEVICE = 'flannel.1';

for (const [title, sides] of [
  ['tartan joins flanneld', [BESIDE_USER, USER]],
  ['flanneld joins tartan', [USER, BESIDE_USER]],
] as const) {
  test(`${title}: packets of every size both ways, and 100 MB by TCP`, async (t) => {
    const pair = await PathCluster.pair(t, sides);
    if (pair === undefined) return;
    const { one, two } = pair;
    await Promise.all([one.addContainer(), two.addContainer()]);
    t.is(one.env.text, two.env.text.replace(two.env.subnet, one.env.subnet));
    for (const [from, to] of [
      [one, two],
      [two, one],
    ] as const) {
      await from.reach(to);
      await from.reach(to, 1450);
    }
    await checkTransfers(t, pair, 100 * MB);
    t.deepEqual([...complaintsOf(one.agent), ...complaintsOf(two.agent)], []);
  });
}

interface Link {
  readonly linkinfo?: { readonly info_kind?: string };
}

async function kindOf({ host }: Member): Promise<string | undefined> {
  const [link]: readonly Link[] = JSON.parse(await host.run('ip', ['-j', '-d', 'link', 'show', 'dev', DEVICE]));
  return link?.linkinfo?.info_kind;
}

/** The agent ends, and another one takes the host over as it finds it. */
async function swap(t: ExecutionContext, cluster: PathCluster, one: Member, to: Side): Promise<Member> {
  const before = await one.lease();
  t.is((await one.agent.stop()).status, 0, one.agent.tail());
  const next = await cluster.replace(one, to);
  next.adoptContainer(one);
  t.is(next.env.text, one.env.text);
  await eventually(`${next.name} holds its lease`, async () => {
    const { key, value } = await next.lease();
    return key === before.key && value.includes(',"Tartan":') === (to.agent === 'tartan');
  });
  return next;
}

/** Containers both ways, full packets; the lease says the MAC that the device has. */
async function check(t: ExecutionContext, one: Member, other: Member, kind: 'tun' | 'vxlan'): Promise<string> {
  const isMade = async () => (await kindOf(one)) === kind;
  await eventually(`${one.name} has a device of kind ${kind}`, isMade, { context: () => one.agent.tail(20) });
  await one.reach(other, 1450);
  await other.reach(one, 1450);
  const mac = (await deviceOf(one.host, DEVICE))?.address ?? '';
  t.true((await one.lease()).value.includes(`"VtepMAC":"${mac}"`));
  return mac;
}

test('flanneld to user space to flanneld on one host: the device becomes the other kind each time', async (t) => {
  const cluster = await PathCluster.create(t, [FLANNELD_VXLAN, FLANNELD_VXLAN]);
  const [first, other] = cluster?.members ?? [];
  if (cluster === undefined || first === undefined || other === undefined) return;
  await Promise.all([first, other].map((member) => member.addContainer()));
  await check(t, first, other, 'vxlan');
  const before = await first.lease();
  const ours = await swap(t, cluster, first, USER);
  await check(t, ours, other, 'tun');
  t.is(flannelPartOf((await ours.lease()).value), before.value, 'the MAC stays');
  const theirs = await swap(t, cluster, ours, FLANNELD_VXLAN);
  await check(t, theirs, other, 'vxlan');
});

test('kernel to user space to kernel: the mode is another one after a restart, lease and MAC are the same', async (t) => {
  const cluster = await PathCluster.create(t, [KERNEL, KERNEL]);
  const [first, other] = cluster?.members ?? [];
  if (cluster === undefined || first === undefined || other === undefined) return;
  await Promise.all([first, other].map((member) => member.addContainer()));
  const macs = [await check(t, first, other, 'vxlan')];
  const user = await swap(t, cluster, first, USER);
  macs.push(await check(t, user, other, 'tun'));
  const kernel = await swap(t, cluster, user, KERNEL);
  macs.push(await check(t, kernel, other, 'vxlan'));
  t.is(new Set(macs).size, 1, macs.join());
  t.deepEqual(complaintsOf(kernel.agent), []);
});
