/** flannel's udp: one host runs tartan, the other flanneld. */
import test from 'ava';
import { tartanOn } from '../support/agent.ts';
import { eventually } from '../support/eventually.ts';
import type { Host } from '../support/host.ts';
import { type DeviceRow, rows } from '../support/kernel-tables.ts';
import type { Member } from '../support/member.ts';
import { complaintsOf } from '../support/mixed-cluster.ts';
import type { Place } from '../support/namespace.ts';
import { checkTransfers, FLANNELD_UDP, FLANNELD_VXLAN, PathCluster, UDP } from '../support/path-cluster.ts';

const MB = 1e6;
const DEVICE = 'flannel0';

const ORDERS = [
  { title: 'tartan joins flanneld', sides: [FLANNELD_UDP, UDP] },
  { title: 'flanneld joins tartan', sides: [UDP, FLANNELD_UDP] },
] as const;

interface Link extends DeviceRow {
  readonly flags: readonly string[];
  readonly qdisc: string;
  readonly txqlen: number;
  readonly linkinfo: { readonly info_kind: string; readonly info_data: { readonly type: string } };
  readonly addr_info: readonly { readonly family: string; readonly local: string; readonly prefixlen: number }[];
}

/** What of the device others see: its MTU, flags and address, the own lease's left out. */
async function device({ host, base }: Member): Promise<object> {
  const [link] = await rows<Link>(host, 'ip', ['-j', '-d', 'link', 'show', 'dev', DEVICE]);
  const [shown] = await rows<Link>(host, 'ip', ['-j', '-4', 'addr', 'show', 'dev', DEVICE]);
  const addresses = shown?.addr_info.map(({ local, prefixlen }) => `${local.replace(base, 'base')}/${prefixlen}`);
  const { mtu, flags, txqlen, linkinfo } = link ?? {};
  return { mtu, flags, txqlen, kind: linkinfo?.info_kind, type: linkinfo?.info_data.type, addresses };
}

for (const { title, sides } of ORDERS) {
  test(`${title}: packets of every size both ways, and 100 MB by TCP`, async (t) => {
    const pair = await PathCluster.pair(t, sides);
    if (pair === undefined) return;
    const { cluster, one, two } = pair;
    await Promise.all([one.addContainer(), two.addContainer()]);
    t.is(one.env.mtu, 1472);
    t.is(one.env.text, two.env.text.replace(two.env.subnet, one.env.subnet));
    for (const [from, to] of [
      [one, two],
      [two, one],
    ] as const) {
      await from.reach(to);
      await from.reach(to, 1472);
      const fromHost = await from.host.ping(to.container.ip, { packetBytes: 1472 });
      t.true(fromHost.ok, `the host ${from.name} itself to the container of ${to.name}\n${fromHost.output}`);
    }
    await checkTransfers(t, pair, 100 * MB);
    t.deepEqual(await device(one), await device(two));
    const leases = await cluster.lab.etcd.list(one.leaseKey.replace(/[^/]*$/, ''));
    const values = leases.map(({ value }) => value.replace(/,"Tartan":\{[^}]*\}\}$/, '}')).sort();
    t.deepEqual(
      values,
      [one, two].map(({ host }) => `{"PublicIP":"${host.ip}","PublicIPv6":null}`),
    );
    t.deepEqual([...complaintsOf(one.agent), ...complaintsOf(two.agent)], []);
  });
}

/** Datagrams of so many bytes to nobody's subnet. */
const PROVOKE = `const s = require('node:dgram').createSocket('udp4');
s.send(Buffer.alloc(Number(process.argv[2])), 9, process.argv[1], () => s.close());`;

/** In no lease: subnets end before it. */
const NOBODY = '10.5.201.9';

/** Of a line of tcpdump's: what names this host's own addresses, ports and lengths that differ by host. */
function anonymous(lines: readonly string[], { base }: Member, container: string): readonly string[] {
  return lines.map((line) =>
    line
      .replaceAll(container, 'CONTAINER')
      .replaceAll(base, 'BASE')
      .replace(/(CONTAINER|BASE)\.\d+ >/g, '$1.PORT >')
      // Of the offender, which the kernel numbers.
      .replace(/(?<!ttl 8, )id \d+/g, 'id N'),
  );
}

/** What the data path tells those who send to nobody, as tcpdump sees it on the device. */
async function complaintsToSenders(member: Member): Promise<readonly string[]> {
  const { host, container } = member;
  const options = ['-i', DEVICE, '-l', '-n', '-vv', '-t', '-Q', 'in', 'icmp'];
  const tcpdump = host.spawn('tcpdump', options);
  await tcpdump.until(/listening on/);
  const provoke = (place: Place, bytes: number) => place.run(process.execPath, ['-e', PROVOKE, NOBODY, String(bytes)]);
  await host.ping(NOBODY, { waitSeconds: 1 });
  await provoke(host, 100);
  // Of the quoted header the checksum is left to the device, where that offers it: the kernel quotes such, too.
  await provoke(container, 100);
  await provoke(container, 3000);
  const answer = `ICMP net ${NOBODY} unreachable`;
  const answers = () => tcpdump.lines.filter((line) => line.includes(answer)).length;
  await eventually('three senders are told', () => answers() >= 3, { context: () => tcpdump.tail(30) });
  await tcpdump.stop('SIGINT');
  const packets = tcpdump.lines.slice(tcpdump.lines.findIndex((line) => line.startsWith('IP ')));
  const end = packets.findIndex((line) => /packets? captured/.test(line));
  return anonymous(packets.slice(0, end), member, container.ip).filter((line) => line.trim() !== '');
}

test('what has nowhere to go is answered as flanneld answers it, to the byte that tcpdump shows', async (t) => {
  const pair = await PathCluster.pair(t, [UDP, FLANNELD_UDP], { requires: ['tcpdump'] });
  if (pair === undefined) return;
  const { one, two } = pair;
  await Promise.all([one.addContainer(), two.addContainer()]);
  const [ours, theirs] = [await complaintsToSenders(one), await complaintsToSenders(two)];
  t.log(theirs.join('\n'));
  t.deepEqual(ours, theirs);
});

/** The smallest TTL with which a ping is answered. */
async function smallestTtl(from: Host, to: string): Promise<number> {
  for (let ttl = 1; ttl <= 8; ttl++) {
    const { status, stdout } = await from.exec('ping', ['-n', '-c', '1', '-W', '1', '-t', String(ttl), to]);
    if (status === 0) return ttl;
    if (/Time to live exceeded/.test(stdout)) throw new Error(`somebody answers for TTL ${ttl}: ${stdout}`);
  }
  throw new Error('no TTL suffices');
}

async function ttlSeen(from: Host, to: string): Promise<string | undefined> {
  const { output } = await from.ping(to);
  return /ttl=(\d+)/.exec(output)?.[1];
}

test('each end takes one from the TTL, and what is used up goes in silence', async (t) => {
  const pair = await PathCluster.pair(t, [UDP, FLANNELD_UDP]);
  if (pair === undefined) return;
  const { one, two } = pair;
  t.is(await smallestTtl(one.host, two.base), 3);
  t.is(await smallestTtl(two.host, one.base), 3);
  t.is(await ttlSeen(one.host, two.base), '62');
  t.is(await ttlSeen(two.host, one.base), '62');
});

test('a flanneld of another backend in the same cluster and we leave each other alone', async (t) => {
  const cluster = await PathCluster.create(t, [UDP, UDP, FLANNELD_VXLAN]);
  const [one, two, stranger] = cluster?.members ?? [];
  if (cluster === undefined || one === undefined || two === undefined || stranger === undefined) return;
  await cluster.meet(one, two);
  await stranger.agent.until(/Subnet added|Watching for new subnet leases|Received Subnet Event/);
  const { stdout } = await tartanOn(cluster.lab, one.host, ['status', '--json']);
  const said: { readonly peers: readonly { readonly subnet: string }[] } = JSON.parse(stdout);
  t.deepEqual(
    said.peers.map(({ subnet }) => subnet),
    [two.network],
  );
  t.false((await one.host.ping(stranger.base, { waitSeconds: 1 })).ok);
  const routes = await stranger.host.run('ip', ['route']);
  t.false(
    [one, two].some(({ network }) => routes.includes(network)),
    routes,
  );
});
