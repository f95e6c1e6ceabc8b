/** Packets go on whatever ends: a worker, an agent, peers by the dozen. */
import test, { type ExecutionContext } from 'ava';
import type { Status } from '../../agent/status.ts';
import { kernelDump } from '../integration/agent/scene.ts';
import { PREFIX, tartanOn } from '../support/agent.ts';
import { eventually } from '../support/eventually.ts';
import type { Host } from '../support/host.ts';
import type { Lab } from '../support/hosts.ts';
import { deviceOf } from '../support/kernel-tables.ts';
import { LeakWatch } from '../support/leak-watch.ts';
import { PacketStream, type StreamReport } from '../support/packet-stream.ts';
import { checkTransfers, OURS, type Pair, PathCluster, UDP } from '../support/path-cluster.ts';
import { transfer } from '../support/tcp-transfer.ts';

const MB = 1e6;
/** Of pings a hundredth of a second apart: fifteen seconds, for faults alone. How many it were, of a second's, is logged. */
const MOST_LOST = 1_500;

/** Containers on both, and a stream of pings each way. */
async function startStreams({ one, two }: Pair): Promise<readonly PacketStream[]> {
  const [here, there] = await Promise.all([one.addContainer(), two.addContainer()]);
  return await Promise.all([PacketStream.start(here, there), PacketStream.start(there, here)]);
}

async function stopAll(streams: readonly PacketStream[]): Promise<readonly StreamReport[]> {
  return await Promise.all(streams.map((stream) => stream.stop()));
}

function tell(t: ExecutionContext, reports: readonly StreamReport[]): void {
  for (const { title, lostCount, sent } of reports) t.log(`${title}: ${lostCount} of ${sent} pings lost, 10 ms each`);
}

/** Leases of hosts that are not there, which come or go all at once. */
async function crowd({ etcd }: Lab, path: 'udp' | 'vxlan', what: 'comes' | 'goes'): Promise<void> {
  const lines = Array.from({ length: 90 }, (_, i) => {
    const key = `${PREFIX}/subnets/10.5.${100 + i}.0-24`;
    const data = { BackendType: 'vxlan', BackendData: { VNI: 1, VtepMAC: `02:42:0a:00:00:${(16 + i).toString(16)}` } };
    const value = { PublicIP: `172.16.0.${i + 1}`, PublicIPv6: null, ...(path === 'vxlan' && data) };
    return what === 'comes' ? `put ${key} ${JSON.stringify(JSON.stringify(value))}` : `del ${key}`;
  });
  await etcd.ctl(['txn'], { input: `\n${lines.join('\n')}\n\n\n` });
}

async function peersOf(lab: Lab, host: Host): Promise<number> {
  const status: Status = JSON.parse((await tartanOn(lab, host, ['status', '--json'])).stdout);
  return status.peers.length;
}

for (const { title, side, path } of OURS) {
  test(`${title}: peers come and go by the dozen, and a living one loses no packet`, async (t) => {
    const pair = await PathCluster.pair(t, [side, side]);
    if (pair === undefined) return;
    const { lab, one, two } = pair;
    const streams = await startStreams(pair);
    const isRight = transfer(one.host, two.host, two.base, 50 * MB).then(({ sent, received }) =>
      t.deepEqual(received, sent),
    );
    for (let round = 0; round < 4; round++) {
      for (const what of ['comes', 'goes'] as const) {
        await crowd(lab, path, what);
        const wanted = what === 'comes' ? 91 : 1;
        for (const { host } of [one, two]) {
          await eventually(`the crowd ${what}`, async () => (await peersOf(lab, host)) === wanted);
        }
      }
    }
    await isRight;
    for (const report of await stopAll(streams)) t.deepEqual(report.lost, [], report.title);
    t.false([one, two].some(({ agent }) => agent.lines.some((line) => line.includes('worker died'))));
  });
}

/** As strace has them. What a kernel would not do is among them. */
const FAULTS = [
  'recvmmsg:retval=1000000',
  'recvmmsg:error=ENOMEM',
  'sendmmsg:error=ENOBUFS',
  'sendmmsg:error=EPERM',
  'sendmmsg:error=EIO',
  'poll,ppoll:error=EFAULT',
];

test('system calls that fail, or lie, cost a few packets', async (t) => {
  const pair = await PathCluster.pair(t, [UDP, UDP], { requires: ['strace'] });
  if (pair === undefined) return;
  const { one } = pair;
  const streams = await startStreams(pair);
  for (const fault of FAULTS) {
    const [calls = ''] = fault.split(':');
    const inject = ['-e', `trace=${calls}`, '-e', `inject=${fault}:when=1..3`];
    const strace = one.host.spawn('strace', ['-f', '-p', String(one.agent.pid), ...inject]);
    await strace.until(/INJECTED/);
    await strace.stop('SIGINT');
    await checkTransfers(t, pair, MB);
  }
  const reports = await stopAll(streams);
  tell(t, reports);
  for (const { lostCount, title } of reports) t.true(lostCount < MOST_LOST, title);
  t.true(one.agent.running);
});

for (const { title, side, device } of OURS) {
  for (const signal of ['SIGKILL', 'SIGSEGV'] as const) {
    test(`${title}: the whole agent ends by ${signal} and is started again: the device stays, nothing leaks`, async (t) => {
      const pair = await PathCluster.pair(t, [side, side], { requires: ['tcpdump'] });
      if (pair === undefined) return;
      const { lab, one } = pair;
      const streams = await startStreams(pair);
      const leaks = await LeakWatch.start(lab, one.host);
      const before = await deviceOf(one.host, device);
      const lease = await one.lease();
      await one.agent.stop(signal);
      one.launch();
      const reports = await stopAll(streams);
      tell(t, reports);
      for (const { lostCount, title: who } of reports) t.true(lostCount < MOST_LOST, who);
      t.is((await deviceOf(one.host, device))?.ifindex, before?.ifindex);
      t.deepEqual(await leaks.stop(), []);
      t.is((await one.lease()).key, lease.key);
      await checkTransfers(t, pair, 10 * MB);
    });
  }

  test(`${title}: stopped in order the device stays and what is sent is dropped, not leaked; started, all goes on`, async (t) => {
    const pair = await PathCluster.pair(t, [side, side], { requires: ['tcpdump'] });
    if (pair === undefined) return;
    const { lab, one, two } = pair;
    await Promise.all([one.addContainer(), two.addContainer()]);
    await one.reach(two);
    const before = await deviceOf(one.host, device);
    t.is((await one.agent.stop()).status, 0, one.agent.tail());
    const leaks = await LeakWatch.start(lab, one.host);
    t.false((await one.container.ping(two.container, { count: 5, waitSeconds: 1 })).ok);
    t.false((await one.host.ping(two.base, { waitSeconds: 1 })).ok);
    t.deepEqual(await leaks.stop(), []);
    one.launch();
    await one.reach(two, one.env.mtu);
    t.is((await deviceOf(one.host, device))?.ifindex, before?.ifindex);
  });

  test(`${title}: tartan down leaves nothing behind`, async (t) => {
    const cluster = await PathCluster.create(t, []);
    if (cluster === undefined) return;
    const host = await cluster.lab.addHost();
    const before = await kernelDump(host);
    await host.kill();
    const [one, two] = [await cluster.join(side), await cluster.join(side)];
    await cluster.meet(one, two);
    const ours = await kernelDump(one.host);
    t.notDeepEqual(anonymous(ours), anonymous(before), 'nothing was there to be taken down');
    t.is((await one.agent.stop()).status, 0);
    const { status, stderr } = await tartanOn(cluster.lab, one.host, ['down']);
    t.is(status, 0, stderr);
    t.is(await deviceOf(one.host, device), undefined);
    await eventually('all is as on a new host', async () => {
      const after = anonymous(await kernelDump(one.host));
      return JSON.stringify(after) === JSON.stringify(anonymous(before));
    });
    t.is(await one.host.read('/run/flannel/subnet.env'), undefined);
  });
}

/** Without what differs from host to host: addresses, and interface numbers. */
function anonymous(dump: Record<string, string>): Record<string, string> {
  const entries = Object.entries(dump).map(([name, text]) => [
    name,
    text
      .replace(/192\.168\.77\.1\d/g, 'HOST')
      .replace(/([0-9a-f]{2}:){5}[0-9a-f]{2}/g, 'MAC')
      .replace(/eth0@if\d+/g, 'eth0')
      .replace(/link-netnsid \d+/g, ''),
  ]);
  return Object.fromEntries(entries);
}
