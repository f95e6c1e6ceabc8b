/** Who gets packets through user space into a container, and what is made of datagrams that are none. */
import test, { type ExecutionContext } from 'ava';
import type { Status } from '../../agent/status.ts';
import { tartanOn } from '../support/agent.ts';
import { eventually } from '../support/eventually.ts';
import { forge, receiverIn } from '../support/forgery.ts';
import type { Host } from '../support/host.ts';
import type { Member } from '../support/member.ts';
import { OURS, type Ours, PathCluster, PORTS, type Side } from '../support/path-cluster.ts';
import type { LabProcess } from '../support/process.ts';

interface Scene extends Ours {
  readonly cluster: PathCluster;
  /** Gets the datagrams, for its container. */
  readonly target: Member;
  readonly peer: Member;
  /** Without a lease. */
  readonly stranger: Host;
  readonly receiver: LabProcess;
}

async function makeScene(t: ExecutionContext, ours: Ours, flags: readonly string[]): Promise<Scene | undefined> {
  const filtering: Side = { ...ours.side, flags };
  const pair = await PathCluster.pair(t, [filtering, ours.side]);
  if (pair === undefined) return undefined;
  const { cluster, one: target, two: peer } = pair;
  const stranger = await cluster.lab.addHost();
  await target.addContainer();
  return { ...ours, cluster, target, peer, stranger, receiver: await receiverIn(target.container) };
}

/** Datagrams that say where they come from; each is sent, then one of the peer's own, and what arrived is told. */
const SENDERS = {
  'the peer by its own subnet': { by: 'peer', from: (scene: Scene) => scene.peer.base.replace(/0$/, '9') },
  'the peer by an address outside of the cluster': { by: 'peer', from: () => '203.0.113.9' },
  'the peer by a subnet that nobody has': { by: 'peer', from: () => '10.5.201.9' },
  "the peer by the receiver's own subnet": {
    by: 'peer',
    from: (scene: Scene) => scene.target.base.replace(/0$/, '9'),
  },
  "a stranger by the peer's subnet": { by: 'stranger', from: (scene: Scene) => scene.peer.base.replace(/0$/, '9') },
  'a stranger by an address outside of the cluster': { by: 'stranger', from: () => '203.0.113.9' },
} as const;

type Sender = keyof typeof SENDERS;

/** @returns who got through */
async function whoGetsThrough(scene: Scene): Promise<readonly Sender[]> {
  const { target, peer, stranger, receiver, device, path } = scene;
  // Such sources come from elsewhere, by the routes: a host that minds has to be told not to.
  await target.host.run('sh', ['-c', 'for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 >$f; done']);
  const to = { host: target.host, device, dest: target.container.ip, encapsulation: path };
  for (const [text, { by, from }] of Object.entries(SENDERS)) {
    await forge(by === 'peer' ? peer.host : stranger, to, { from: from(scene), text });
  }
  await forge(peer.host, to, { from: peer.base.replace(/0$/, '8'), text: 'the last one' });
  await receiver.until(/^the last one$/);
  return Object.keys(SENDERS).filter((text): text is Sender => receiver.lines.includes(text));
}

const KNOWN: readonly Sender[] = ['the peer by its own subnet'];
const OWN: Sender = "the peer by the receiver's own subnet";
const ALL_BUT_LOOPS = Object.keys(SENDERS).filter((sender) => sender !== OWN);

/** How many are counted, and as what. */
interface Counted {
  readonly dropped: number;
  readonly reported: number;
  /** Whom the status names, by their verdicts. */
  readonly named: readonly string[];
}

interface Mode extends Counted {
  readonly flags: readonly string[];
  readonly through: readonly string[];
}

const NAMED = ['spoofing', 'unknown'];
const ENFORCED = {
  ...{ through: [...KNOWN, 'the peer by an address outside of the cluster'], dropped: 3, reported: 0, named: NAMED },
};

const MODES: readonly Mode[] = [
  { flags: [], ...ENFORCED },
  { flags: ['--peer-filter=strict'], through: KNOWN, dropped: 4, reported: 0, named: ['foreign', ...NAMED] },
  { flags: ['--peer-filter=report'], through: ALL_BUT_LOOPS, dropped: 0, reported: 3, named: NAMED },
  { flags: ['--peer-filter=off'], through: ALL_BUT_LOOPS, dropped: 0, reported: 0, named: [] },
];

async function statusOf({ cluster, target }: Scene): Promise<Status> {
  const { status, stdout, stderr } = await tartanOn(cluster.lab, target.host, ['status', '--json']);
  if (status !== 0) throw new Error(stderr);
  return JSON.parse(stdout);
}

async function counted(scene: Scene): Promise<Counted> {
  const {
    dropped = Number.NaN,
    reported = Number.NaN,
    strangers = [],
  } = (await statusOf(scene)).peerFilters?.[0] ?? {};
  return { dropped, reported, named: [...new Set(strangers.map(({ verdict }) => verdict))].sort() };
}

/** Waits until the status tells so. What comes from ourselves is never counted with strangers. */
async function checkCounted(t: ExecutionContext, scene: Scene, wanted: Counted): Promise<void> {
  let seen: Counted | undefined;
  const isTold = async () => {
    seen = await counted(scene);
    return JSON.stringify(seen) === JSON.stringify(wanted);
  };
  await eventually('it is told who was kept out', isTold, { timeoutMs: 10_000 }).catch(() => undefined);
  t.deepEqual(seen, wanted);
  t.true(((await statusOf(scene)).dataPaths?.[0]?.dropped['rx-looped'] ?? 0) > 0);
}

for (const ours of OURS) {
  for (const { flags, through, ...count } of MODES) {
    test(`${ours.title}: who gets in with ${flags.join() || 'nothing said'}, and what is told of the others`, async (t) => {
      const scene = await makeScene(t, ours, flags);
      if (scene === undefined) return;
      t.deepEqual(await whoGetsThrough(scene), [...through]);
      await checkCounted(t, scene, count);
    });
  }
}

/** ARGS: address, port, seed, how many, whether VXLAN's header is before the packets. */
const GARBAGE = `
const [address, port, seed, count, isVxlan] = process.argv.slice(1);
const socket = require('node:dgram').createSocket('udp4');
let state = Number(seed);
const random = (below) => { state = (Math.imul(state, 1664525) + 1013904223) >>> 0; return Math.floor((state / 2 ** 32) * below); };
const packet = () => {
  const length = [0, 1, 7, 8, 14, 19, 20, 21, 22, 28, 40, 60, 200, 1472, 1600, 9000, 65507][random(17)];
  const bytes = Buffer.from(Array.from({ length }, () => random(256)));
  // Most look right at first, so that more than the first check is tried.
  if (random(8) > 0 && length >= 20) {
    const at = isVxlan === 'yes' ? 22 : 0;
    if (at === 22 && length >= 42) {
      bytes.fill(0, 0, 8); bytes[0] = random(4) > 0 ? 8 : random(256); bytes.writeUInt32BE((random(4) > 0 ? 1 : random(9)) * 256, 4);
      bytes.writeUInt16BE([0x800, 0x86dd, 0x806, 0x8100, 0x88a8, 5][random(6)], 20);
    }
    if (length >= at + 20) {
      bytes[at] = [0x45, 0x45, 0x45, 0x46, 0x4f, 0x44, 0x40, 0x60, 0x55][random(9)];
      bytes.writeUInt16BE([length - at, length - at + 1, length - at - 1, 20, 0, 65535][random(6)], at + 2);
      bytes.writeUInt16BE([0, 0, 0x2000, 0x1fff, 0x3fff, 0x4000][random(6)], at + 6);
      bytes[at + 8] = [64, 1, 0][random(3)]; bytes[at + 9] = [1, 6, 17, 4, 250][random(5)];
    }
  }
  return bytes;
};
let left = Number(count);
const next = () => (left-- > 0 ? socket.send(packet(), Number(port), address, () => setImmediate(next)) : socket.close());
next();`;

/** Why datagrams of a peer's were dropped: garbage of each kind was among them. */
const REASONS = {
  udp: ['rx-short', 'rx-header', 'rx-length', 'rx-fragment', 'rx-ttl', 'rx-checksum'],
  vxlan: ['rx-short', 'rx-vxlan-header', 'rx-vni', 'rx-header', 'rx-length', 'rx-fragment', 'rx-ttl', 'rx-checksum'],
} as const;

for (const ours of OURS) {
  test(`${ours.title}: datagrams that are no packets are dropped and counted, whoever sends them, and do no harm`, async (t) => {
    const scene = await makeScene(t, ours, []);
    if (scene === undefined) return;
    const { target, peer, stranger, path } = scene;
    const args = [target.host.ip, String(PORTS[path]), '1', '5000', path === 'vxlan' ? 'yes' : 'no'];
    await Promise.all([peer.host, stranger].map((host) => host.run(process.execPath, ['-e', GARBAGE, ...args])));
    for (const packetBytes of [28, target.env.mtu]) {
      const ping = await peer.host.ping(target.container.ip, { packetBytes, count: 3 });
      t.true(ping.ok, `${ping.output}\n${target.agent.tail(20)}`);
    }
    t.true(target.agent.running);
    const { dataPaths = [] } = await statusOf(scene);
    const dropped = dataPaths[0]?.dropped ?? {};
    t.log(JSON.stringify(dropped));
    t.deepEqual(
      REASONS[path].filter((reason) => dropped[reason] === undefined),
      [],
    );
    t.false(
      target.agent.lines.some((line) => line.includes('worker died')),
      target.agent.tail(20),
    );
  });
}
