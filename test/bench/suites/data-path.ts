/**
 * What carries packets between two hosts: our data path in user space, by udp and by VXLAN, beside kernel VXLAN and a
 * flanneld's udp. Everybody stands ready all the time, each on two hosts of its own, and is measured in turn.
 */
import { createLab, type Lab } from '../../support/hosts.ts';
import { missing } from '../../support/require.ts';
import type { Contestant } from '../contestant.ts';
import { METRICS_FLAGS } from '../loop-delay.ts';
import { floodRate, installPackets, pacedRate } from '../packet-rate.ts';
import { type End, Pair, type Stream, type Way } from '../pair.ts';
import { roundTrip } from '../round-trip.ts';
import { Notebook } from '../statistics.ts';
import { isYield, type Plan, type Size, type Suite, type Unit } from '../suite.ts';

const KERNEL = 'kernel VXLAN';
const FLANNELD = 'flanneld udp';
const OURS = 'tartan';

type Name =
  | 'udp'
  | 'user'
  | 'user to kernel'
  | 'kernel to user'
  | 'udp to flanneld'
  | 'flanneld to udp'
  | 'plain'
  | typeof KERNEL
  | typeof FLANNELD;

/** What of the data path is left out in the plain one. */
const PLAIN = '--data-path-without=tun-offload,udp-gso,udp-gro,batches';

/** Rules of packet filters cost time for each packet, whoever carries it: none has any. */
const NO_RULES = ['--iptables-forward-rules=false', '--docker-rules=off'];
/** The kernel's VXLAN is guarded by such rules; the data path in user space knows its peers anyway. */
const BARE = ['--peer-filter=off'];

/** Without flanneld those that need it are not there. */
function waysOf([ours, flanneld]: readonly Contestant[]): ReadonlyMap<Name, Way> {
  if (ours === undefined) return new Map();
  const end = (who: Contestant, backend: End['backend'], ...flags: readonly string[]): End => {
    const [command, ...args] = who.argv;
    const hasMetrics = who === ours;
    const own = hasMetrics ? [...METRICS_FLAGS, ...NO_RULES] : [];
    return { argv: [command, ...args, ...own, ...flags], backend, hasMetrics };
  };
  const udp = end(ours, { Type: 'udp' });
  const user = end(ours, { Type: 'vxlan', Mode: 'user' });
  const kernel = end(ours, { Type: 'vxlan', Mode: 'kernel' }, ...BARE);
  const plain = end(ours, { Type: 'udp' }, PLAIN);
  const theirs = flanneld && end(flanneld, { Type: 'udp' });
  return new Map<Name, Way>([
    ['udp', [udp, udp]],
    [KERNEL, [kernel, kernel]],
    ['user', [user, user]],
    ['user to kernel', [user, kernel]],
    ['kernel to user', [kernel, user]],
    ['plain', [plain, plain]],
    ...(theirs
      ? ([
          [FLANNELD, [theirs, theirs]],
          ['udp to flanneld', [udp, theirs]],
          ['flanneld to udp', [theirs, udp]],
        ] as const)
      : []),
  ]);
}

const SIZES = {
  reduced: { seconds: 1, packetMs: 500, steps: 6, pings: 100 },
  usual: { seconds: 3, packetMs: 1000, steps: 7, pings: 500 },
  full: { seconds: 10, packetMs: 2000, steps: 9, pings: 2000 },
} as const satisfies Record<Size, unknown>;

type Extent = (typeof SIZES)[Size];

/** What an exercise gives: one mark or several. */
const UNITS = {
  carried: 'Gb/s',
  packets: 'k/s',
  /** Processor time: of everybody on the machine, the kernel too; of the two agents. */
  everybody: 's/GB',
  agents: 's/GB',
  roundTrip: 'ms',
  /** How late the sender's agent does anything else. */
  loopDelay: 'ms',
  /** Of the larger agent. */
  resident: 'MB',
} as const satisfies Record<string, Unit>;

type Mark = keyof typeof UNITS;
type Marks = Partial<Record<Mark, number | undefined>>;

function marksOf({ gigabitsPerSecond, secondsPerGb, agentSecondsPerGb }: Stream): Marks {
  return { carried: gigabitsPerSecond, everybody: secondsPerGb, agents: agentSecondsPerGb };
}

type Exercise =
  | 'one TCP stream'
  | 'four TCP streams'
  | 'one TCP stream, MTU-size frames'
  | 'one TCP stream, container to container'
  | 'packets of 200 B, flood'
  | 'packets of 200 B, under 1 % lost'
  | 'round trip, idle, p50';

const EXERCISES: Readonly<Record<Exercise, (pair: Pair, extent: Extent) => Promise<Marks>>> = {
  'one TCP stream': async (pair, { seconds }) => marksOf(await pair.stream(pair.hosts, seconds, 1)),
  'four TCP streams': async (pair, { seconds }) => {
    await pair.loopDelay();
    const stream = await pair.stream(pair.hosts, seconds, 4);
    return { ...marksOf(stream), loopDelay: await pair.loopDelay() };
  },
  'one TCP stream, MTU-size frames': (pair, { seconds }) =>
    pair.withPlainFrames(async () => marksOf(await pair.stream(pair.hosts, seconds, 1))),
  'one TCP stream, container to container': async (pair, { seconds }) =>
    marksOf(await pair.stream(await pair.containers(), seconds, 1)),
  'packets of 200 B, flood': async (pair, { packetMs }) => {
    const packets = (await floodRate(pair.hosts, packetMs)) / 1000;
    return { packets, resident: await pair.resident() };
  },
  'packets of 200 B, under 1 % lost': async (pair, { packetMs, steps }) => ({
    packets: (await pacedRate(pair.hosts, packetMs, steps)) / 1000,
  }),
  'round trip, idle, p50': async (pair, { pings }) => ({ roundTrip: await roundTrip(pair.hosts, pings) }),
};

interface Wanted {
  readonly ours: Name;
  readonly exercise: Exercise;
  readonly mark: Mark;
  /** References, with what we are to be of them: at most for what costs, at least for what is carried. */
  readonly against: Partial<Record<typeof KERNEL | typeof FLANNELD, number | undefined>>;
  /** What our own figure is to be at most. */
  readonly atMost?: number;
}

/** What the ways of ours are called in the report. */
const TITLES: Partial<Record<Name, string>> = {
  user: 'vxlan, user',
  'user to kernel': 'vxlan, user to kernel',
  'kernel to user': 'vxlan, kernel to user',
  plain: 'udp, plain node:dgram',
};

function carried(ours: Name, exercise: Exercise, against: Wanted['against']): Wanted {
  return { ours, exercise, mark: exercise.startsWith('packets') ? 'packets' : 'carried', against };
}

const WANTED: readonly Wanted[] = [
  carried('udp', 'one TCP stream', { [KERNEL]: 0.75, [FLANNELD]: 14 }),
  { ours: 'udp', exercise: 'one TCP stream', mark: 'everybody', against: { [KERNEL]: undefined, [FLANNELD]: 0.25 } },
  { ours: 'udp', exercise: 'one TCP stream', mark: 'agents', against: { [FLANNELD]: undefined } },
  carried('udp', 'one TCP stream, MTU-size frames', { [KERNEL]: 0.8, [FLANNELD]: undefined }),
  carried('udp', 'one TCP stream, container to container', { [KERNEL]: 0.5, [FLANNELD]: 8 }),
  carried('udp', 'four TCP streams', { [KERNEL]: 0.5, [FLANNELD]: undefined }),
  { ours: 'udp', exercise: 'four TCP streams', mark: 'loopDelay', against: {}, atMost: 20 },
  carried('udp', 'packets of 200 B, flood', { [KERNEL]: undefined, [FLANNELD]: 2 }),
  { ours: 'udp', exercise: 'packets of 200 B, flood', mark: 'resident', against: {}, atMost: 120 },
  carried('udp', 'packets of 200 B, under 1 % lost', { [KERNEL]: undefined, [FLANNELD]: 1.1 }),
  {
    ours: 'udp',
    exercise: 'round trip, idle, p50',
    mark: 'roundTrip',
    against: { [KERNEL]: undefined, [FLANNELD]: 1 },
  },
  carried('udp to flanneld', 'one TCP stream', { [FLANNELD]: 1 }),
  carried('flanneld to udp', 'one TCP stream', { [FLANNELD]: 1 }),
  carried('user', 'one TCP stream', { [KERNEL]: 0.8 }),
  carried('user', 'one TCP stream, MTU-size frames', { [KERNEL]: undefined }),
  carried('user', 'one TCP stream, container to container', { [KERNEL]: undefined }),
  carried('user', 'four TCP streams', { [KERNEL]: undefined }),
  carried('user to kernel', 'one TCP stream', { [KERNEL]: 0.6 }),
  carried('kernel to user', 'one TCP stream', { [KERNEL]: 0.6 }),
  carried('plain', 'one TCP stream', { [KERNEL]: undefined, [FLANNELD]: undefined }),
  carried('plain', 'packets of 200 B, flood', { [FLANNELD]: undefined }),
];

const PREFIXES: Partial<Record<Mark, string>> = {
  everybody: 'processor time of all, ',
  loopDelay: 'event loop delay, p99, ',
  resident: 'resident memory, ',
  agents: 'processor time of the agents, ',
};

function titleOf({ ours, exercise, mark }: Wanted): string {
  return `${TITLES[ours] ?? ours}: ${PREFIXES[mark] ?? ''}${exercise}`;
}

/** What everybody does in one run, each exercise once. */
class Round {
  readonly #pairs: ReadonlyMap<Name, Pair>;
  readonly #extent: Extent;
  readonly #done = new Map<string, Marks>();

  constructor(pairs: ReadonlyMap<Name, Pair>, extent: Extent) {
    this.#pairs = pairs;
    this.#extent = extent;
  }

  /** undefined: that one does not take part. */
  async mark(name: Name, exercise: Exercise, mark: Mark): Promise<number | undefined> {
    const pair = this.#pairs.get(name);
    if (pair === undefined) return undefined;
    const key = `${name}: ${exercise}`;
    const marks = this.#done.get(key) ?? (await EXERCISES[exercise](pair, this.#extent));
    this.#done.set(key, marks);
    return marks[mark];
  }
}

async function startAll(lab: Lab, plan: Plan): Promise<ReadonlyMap<Name, Pair>> {
  const pairs = new Map<Name, Pair>();
  for (const [name, way] of waysOf(plan.contestants)) {
    plan.say(`data-path: ${name}`);
    pairs.set(name, await Pair.start(lab, `/data-path/${pairs.size}`, way));
  }
  await Promise.all(lab.hosts.map(installPackets));
  return pairs;
}

async function note(notes: Notebook, round: Round, wanted: Wanted): Promise<void> {
  const { ours, exercise, mark, against, atMost } = wanted;
  const [title, unit] = [titleOf(wanted), UNITS[mark]];
  const mine = await round.mark(ours, exercise, mark);
  if (mine === undefined) return;
  notes.add(title, unit, OURS, mine);
  if (atMost !== undefined) notes.aim(title, atMost);
  for (const who of [KERNEL, FLANNELD] as const) {
    const theirs = who in against ? await round.mark(who, exercise, mark) : undefined;
    if (theirs === undefined) continue;
    notes.add(title, unit, who, theirs);
    const goal = against[who];
    if (goal === undefined) continue;
    if (isYield(unit)) notes.aimAtLeast(title, goal, who);
    else notes.aim(title, goal, who);
  }
}

export const dataPath: Suite = {
  name: 'data-path',
  title: 'packets between two hosts, in user space and in the kernel',
  run: async (plan) => {
    const lacks = missing('iperf3', 'ethtool', 'cc', 'tun');
    if (lacks.length > 0) throw new Error(`it needs ${lacks.join('; ')}`);
    const notes = new Notebook();
    const lab = await createLab({ hosts: 0 });
    try {
      const pairs = await startAll(lab, plan);
      for (let run = 0; run < plan.runs; run++) {
        plan.say(`data-path: run ${run + 1} of ${plan.runs}`);
        const round = new Round(pairs, SIZES[plan.size]);
        for (const wanted of WANTED) await note(notes, round, wanted);
      }
    } finally {
      lab.destroy();
    }
    return notes.figures;
  },
};
