/** Whoever may write to etcd must not own the hosts: leases that flannel lets through. */
import test from 'ava';
import type { Status } from '../../../agent/status.ts';
import { vxlanLease } from '../../support/vxlan-lease.ts';
import { kernelDump, narrow, scenesOn } from './scene.ts';

const scenes = scenesOn();

const MAC = '4e:00:00:00:01:0';
/** Key below subnets/, value, what the reason must name. `OWN_IP`, `OWN_MAC`, `OWN` stand for the host's. */
const HOSTILE: readonly [string, string, RegExp][] = [
  ['0.0.0.0-0', vxlanLease('192.168.77.201', `${MAC}1`), /overlaps our own/],
  ['192.168.77.0-24', vxlanLease('192.168.77.202', `${MAC}2`), /network/],
  ['10.9.1.0-24', vxlanLease('192.168.77.203', `${MAC}3`), /not in the cluster's network/],
  ['10.5.0.0-16', vxlanLease('192.168.77.204', `${MAC}4`), /overlaps our own/],
  ['OWN-25', vxlanLease('192.168.77.205', `${MAC}5`), /overlaps our own/],
  ['10.5.200.128-25', vxlanLease('192.168.77.206', `${MAC}6`), /overlaps the older lease 10\.5\.200\.0\/24/],
  ['10.5.201.0-24', vxlanLease('224.0.0.5', `${MAC}7`), /224\.0\.0\.5.*multicast/],
  ['10.5.202.0-24', vxlanLease('127.0.0.1', `${MAC}8`), /127\.0\.0\.1.*loopback/],
  ['10.5.203.0-24', vxlanLease('255.255.255.255', `${MAC}9`), /255\.255\.255\.255.*broadcast/],
  ['10.5.204.0-24', vxlanLease('0.0.0.0', `${MAC}a`), /0\.0\.0\.0|public IP/],
  ['10.5.218.0-24', vxlanLease('192.168.77.255', '4e:00:00:00:02:01'), /broadcast address of 192\.168\.77\.0\/24/],
  ['10.5.205.0-24', vxlanLease('OWN_IP', `${MAC}b`), /our own/],
  ['10.5.206.0-24', vxlanLease('192.168.77.207', 'OWN_MAC'), /our own MAC/],
  ['10.5.207.0-24', vxlanLease('192.168.77.208', '01:00:5e:00:00:01'), /MAC/],
  ['10.5.208.0-24', vxlanLease('192.168.77.209', '00:00:00:00:00:00'), /MAC/],
  ['10.5.209.0-24', vxlanLease('192.168.77.210', '4e:00:00:00:00:01'), /MAC 4e:00:00:00:00:01 of the older lease/],
  ['10.5.210.0-24', vxlanLease('192.168.77.200', `${MAC}c`), /public IP 192\.168\.77\.200 of the older lease/],
  ['10.5.211.0-24', vxlanLease('10.5.211.7', `${MAC}d`), /lies in 10\.5\.211\.0\/24/],
  ['10.5.212.0-24', '{"PublicIP":7,"BackendType":"vxlan"}', /PublicIP/],
  ['10.5.213.0-24', '{"PublicIP":"192.168.77.211","BackendType":"vxlan","BackendData":"x"}', /BackendData/],
  ['10.5.214.0-24', '[]', /./],
  ['10.5.215.0-24', '{"PublicIP":', /JSON/],
  [
    '10.5.216.0-24',
    vxlanLease('192.168.77.212', `${MAC}e`).replace('}}', `},"x":"${'y'.repeat(1_000_000)}"}`),
    /bytes|long|size/,
  ],
  ['10.5.217.0-24', '{"PublicIP":"192.168.77.213","PublicIPv6":null,"BackendType":"host-gw"}', /host-gw/],
  ['garbage', 'x', /./],
  ['10.5.1.0-99', vxlanLease('192.168.77.214', `${MAC}f`), /./],
  ['evil\u001b[2J', 'x', /./],
];

function reasonOf({ refused }: Status, key: string): string | undefined {
  // What could move a cursor is not listed as it is.
  const printable = key.replace(/[^\x20-\x7e]/g, '?');
  return refused.find((one) => one.key.split(' (')[0]?.endsWith(`/${printable}`))?.reason;
}

test('none reaches the kernel, each is listed with its reason, and good peers are unharmed', async (t) => {
  const scene = await scenes(t, { hosts: 2, config: narrow(1, 99) });
  if (!scene) return;
  const [host, second] = [scene.host(1), scene.host(2)];
  const agent = await scene.ready(host);
  const { key, value } = await scene.lease(host.ip);
  const own = /subnets\/([\d.]+)-/.exec(key)?.[1] ?? '';
  const ownMac = /"VtepMAC":"([^"]*)"/.exec(value)?.[1] ?? '';
  await scene.putLease('10.5.200.0-24', vxlanLease('192.168.77.200', '4e:00:00:00:00:01'));
  await scene.status(host, agent, ({ peers, inStep }) => inStep && peers.length === 1);
  const kernel = await kernelDump(host);

  const put = HOSTILE.map(([name, text, reason]) => ({
    name: name.replace('OWN', own),
    text: text.replace('OWN_IP', host.ip).replace('OWN_MAC', ownMac),
    reason,
  }));
  for (const { name, text } of put) await scene.putLease(name, text);
  const all = ({ refusedCount }: Status): boolean => refusedCount === HOSTILE.length;
  const status = await scene.status(host, agent, all, `refuses ${HOSTILE.length}`);
  const odd = put.map(({ name, reason }) => ({ name, reason, said: reasonOf(status, name) }));
  t.deepEqual(
    odd.filter(({ reason, said }) => !reason.test(said ?? '')),
    [],
  );
  t.deepEqual(
    status.peers.map(({ subnet }) => subnet),
    ['10.5.200.0/24'],
  );
  t.deepEqual(await kernelDump(host), kernel);
  t.true(status.ready && status.inStep);

  // Good ones still come and go, and an agent that starts among them is no worse off.
  // But for the one that covers the whole range: as long as it stands, nothing is free for a newcomer.
  await scene.lab.etcd.ctl(['del', `${scene.prefix}/subnets/10.5.0.0-16`]);
  const other = await scene.ready(second);
  await scene.status(host, agent, ({ peers, inStep }) => inStep && peers.length === 2);
  await scene.status(
    second,
    other,
    ({ peers, inStep, refusedCount }) => inStep && peers.length === 2 && refusedCount >= 20,
  );
  await scene.lab.etcd.ctl(['del', `${scene.prefix}/subnets/10.5.200.0-24`]);
  // Its rivals were kept out because of it alone: the oldest of them is a peer now.
  await scene.status(host, agent, ({ peers }) => peers.some(({ publicIp }) => publicIp === '192.168.77.206'));

  const { stdout } = await scene.run(host, ['status', '--json']);
  t.is(JSON.parse(stdout).refused.length, JSON.parse(stdout).refusedCount);
  const { stdout: text } = await scene.run(host, ['status']);
  t.regex(text, /refused leases \(\d+\):/);
  t.false(text.includes('\u001b'));
});

test('100,000 junk keys are counted, and cost nothing else', async (t) => {
  t.timeout(240_000);
  const scene = await scenes(t, { config: narrow(1, 99) });
  if (!scene) return;
  const host = scene.host(1);
  const agent = await scene.ready(host);
  const count = 100_000;
  // etcdctl makes one transaction of at most 128 operations.
  const firsts = Array.from({ length: count / 125 }, (_, i) => i * 125).values();
  const writer = async (): Promise<void> => {
    for (const first of firsts) {
      const puts = Array.from({ length: 125 }, (_, i) => `put ${scene.prefix}/subnets/junk-${first + i} x`);
      await scene.lab.etcd.ctl(['txn'], { input: `\n${puts.join('\n')}\n\n\n` });
    }
  };
  await Promise.all(Array.from({ length: 8 }, writer));
  const all = ({ refusedCount }: Status): boolean => refusedCount === count;
  const followed = await scene.status(host, agent, all);
  t.is(followed.refused.length, 1_000);
  await scene.putLease('10.5.200.0-24', vxlanLease('192.168.77.200', '4e:00:00:00:00:01'));
  await scene.status(host, agent, ({ peers, inStep }) => inStep && peers.length === 1);

  await agent.stop('SIGTERM');
  const again = await scene.ready(host);
  const listed = await scene.status(host, again, (status) => all(status) && status.inStep);
  t.is(listed.peers.length, 1);
  const cpuMs = ((await host.read(`/proc/${again.pid}/stat`)) ?? '').split(') ')[1]?.split(' ').slice(11, 13);
  t.log(`processor time of a start beside them: ${cpuMs?.reduce((sum, ticks) => sum + Number(ticks) * 10, 0)} ms`);
});

test("where the cluster's network is around the hosts' own: what would lead hosts, gateway and etcd away stays out", async (t) => {
  const range = { SubnetMin: '192.168.100.0', SubnetMax: '192.168.120.0' };
  const config = JSON.stringify({ Network: '192.168.0.0/16', SubnetLen: 24, ...range, Backend: { Type: 'vxlan' } });
  const scene = await scenes(t, { hosts: 2, config });
  if (!scene) return;
  const [host, second] = [scene.host(1), scene.host(2)];
  // A member of etcd that is down, elsewhere.
  const agent = await scene.ready(host, [`--etcd-endpoints=${scene.lab.etcd.endpoint},http://192.168.99.9:2379`]);
  const kernel = await kernelDump(host);
  await scene.putLease('192.168.99.0-24', vxlanLease('203.0.113.99', `${MAC}9`));
  const guarded = await scene.status(host, agent, ({ refusedCount }) => refusedCount === 1);
  t.regex(reasonOf(guarded, '192.168.99.0-24') ?? '', /holds 192\.168\.99\.9, which this host must reach/);
  await scene.lab.etcd.ctl(['del', `${scene.prefix}/subnets/192.168.99.0-24`]);
  // The hosts' own network, one around it, one inside it; etcd and the gateway have 192.168.77.1.
  const names = ['192.168.77.0-24', '192.168.76.0-23', '192.168.77.0-30', '192.168.77.0-31'];
  for (const [i, name] of names.entries()) await scene.putLease(name, vxlanLease(`203.0.113.${i + 1}`, `${MAC}${i}`));
  const status = await scene.status(host, agent, ({ refusedCount }) => refusedCount === names.length);
  for (const name of names) t.regex(reasonOf(status, name) ?? '', /the hosts' own network/, name);
  t.deepEqual(await kernelDump(host), kernel);
  // An agent that starts among them, and one that lost sight of etcd, come to know each other.
  await agent.kill();
  const [again, other] = [await scene.ready(host), await scene.ready(second)];
  for (const [where, which] of [
    [host, again],
    [second, other],
  ] as const)
    await scene.status(where, which, ({ peers, inStep }) => inStep && peers.length === 1);
});
