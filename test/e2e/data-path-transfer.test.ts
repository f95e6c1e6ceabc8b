/** What goes in at one host comes out at the other one as it was, whoever carries it and whatever the wire does. */
import test from 'ava';
import { loseFrames, lostFrames, narrowPath, reorderFrames } from '../support/bad-wire.ts';
import { broken, Capture } from '../support/capture.ts';
import { setOffloads } from '../support/offloads.ts';
import {
  checkTransfers,
  countersOf,
  KERNEL,
  OURS,
  PathCluster,
  PORTS,
  type Side,
  UDP,
  USER,
} from '../support/path-cluster.ts';

const MB = 1e6;

const PAIRINGS = [
  { title: 'udp', sides: [UDP, UDP] },
  { title: 'vxlan in user space', sides: [USER, USER] },
  { title: 'vxlan in user space and in the kernel', sides: [USER, KERNEL] },
] as const;

for (const { title, sides } of PAIRINGS) {
  test(`${title}: 100 MB by TCP each way`, async (t) => {
    const pair = await PathCluster.pair(t, sides);
    if (pair) await checkTransfers(t, pair, 100 * MB);
  });
}

for (const { title, sides } of PAIRINGS.slice(1)) {
  test(`${title}: 20 MB each way by IPv6`, async (t) => {
    const pair = await PathCluster.pair(t, sides, { ipv6: true });
    if (pair) await checkTransfers(t, pair, 20 * MB, 6);
  });
}

const OFFLOADS = ['tun-offload', 'udp-gso', 'udp-gro', 'wasm', 'batches'];

function without(side: Side, ...features: readonly string[]): Side {
  return { ...side, flags: [`--data-path-without=${features.join(',')}`] };
}

for (const { title, side } of OURS) {
  for (const feature of OFFLOADS) {
    test(`${title}: 20 MB each way between a host without ${feature} and one with everything`, async (t) => {
      const pair = await PathCluster.pair(t, [without(side, feature), side]);
      if (pair) await checkTransfers(t, pair, 20 * MB);
    });
  }

  test(`${title}: 5 MB each way between hosts that do without all of it`, async (t) => {
    const bare = without(side, ...OFFLOADS);
    const pair = await PathCluster.pair(t, [bare, bare]);
    if (pair) await checkTransfers(t, pair, 5 * MB);
  });
}

for (const { title, side, path } of OURS) {
  test(`${title}: on a wire without offloads tcpdump finds every packet in order, outside and inside`, async (t) => {
    const pair = await PathCluster.pair(t, [side, side], { requires: ['tcpdump', 'ethtool'] });
    if (pair === undefined) return;
    const { lab, one, two } = pair;
    for (const { host } of [one, two]) await setOffloads(lab, host, 'off');
    const capture = await Capture.start(lab, one.host, `udp port ${PORTS[path]}`);
    const ping = await one.host.ping(two.base, { packetBytes: one.env.mtu });
    await checkTransfers(t, pair, 5 * MB);
    await capture.stop();
    t.true(ping.ok, ping.output);
    const [outer, inner] = [await capture.packets(), await capture.inner(path)];
    t.true(outer.length > (10 * MB) / one.env.mtu, `only ${outer.length} packets were seen`);
    // Of VXLAN it prints what is inside too, on a line of its own.
    const datagrams = outer.filter((line) => line.includes(`.${PORTS[path]}: `));
    t.is(inner.length, datagrams.length);
    t.deepEqual(broken(outer).slice(0, 5), []);
    t.deepEqual(broken(inner).slice(0, 5), []);
  });

  test(`${title}: on a path that carries less than the hosts' own links packets of full size are cut and joined`, async (t) => {
    const pair = await PathCluster.pair(t, [side, side]);
    if (pair === undefined) return;
    const { lab, one, two } = pair;
    await narrowPath(lab, [one.host, two.host], 1300);
    const ping = await one.host.ping(two.base, { packetBytes: one.env.mtu });
    t.true(ping.ok, ping.output);
    await checkTransfers(t, pair, 10 * MB);
    const joined = (await countersOf(two)).get('Ip.ReasmOKs') ?? 0;
    t.true(joined > (10 * MB) / two.env.mtu, `only ${joined} packets were joined`);
  });

  test(`${title}: a host that knows of a smaller path itself cuts what it sends`, async (t) => {
    const pair = await PathCluster.pair(t, [side, side]);
    if (pair === undefined) return;
    const { one, two } = pair;
    await one.host.configure(`route add ${two.host.ip}/32 dev eth0 mtu lock 1300`);
    const ping = await one.host.ping(two.base, { packetBytes: one.env.mtu });
    t.true(ping.ok, ping.output);
    await checkTransfers(t, pair, 10 * MB);
    t.true(((await countersOf(one)).get('Ip.FragCreates') ?? 0) > 0);
  });

  test(`${title}: 5 MB each way while 2 % of the frames are lost`, async (t) => {
    const pair = await PathCluster.pair(t, [side, side], { requires: ['nft', 'ethtool'] });
    if (pair === undefined) return;
    const { lab, one, two } = pair;
    for (const { host } of [one, two]) await setOffloads(lab, host, 'off');
    await loseFrames(lab, 2);
    await checkTransfers(t, pair, 5 * MB);
    const lost = await lostFrames(lab);
    t.true(lost > 20, `only ${lost} frames were lost`);
  });

  test(`${title}: 5 MB each way while frames come in another order`, async (t) => {
    const pair = await PathCluster.pair(t, [side, side], { requires: ['ethtool'] });
    if (pair === undefined) return;
    const { lab, one, two } = pair;
    for (const { host } of [one, two]) await setOffloads(lab, host, 'off');
    await reorderFrames(lab, two.host, 20);
    await checkTransfers(t, pair, 5 * MB);
  });
}
