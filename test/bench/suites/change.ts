import { LARGE_NETWORK, peerSubnet } from '../../support/peers.ts';
import type { Contestant } from '../contestant.ts';
import { type Course, onCourse, withAgent } from '../course.ts';
import { Notebook, quantile } from '../statistics.ts';
import type { Suite } from '../suite.ts';

const PUTS = 100;
/** Peers of these numbers join during the measurement; the second where the agent's own lease is among the first. */
const JOINING = [12_000, 14_000] as const;

function joiningFrom(own: string): number {
  const [first, instead] = JOINING;
  const isTaken = Array.from({ length: PUTS }, (_, i) => peerSubnet(first + i)).includes(own);
  return isTaken ? instead : first;
}

interface Latencies {
  /** From etcd's answer to the put until the route is there, ms. */
  readonly answered: readonly number[];
  /** From the put's being sent. */
  readonly sent: readonly number[];
}

async function measure(course: Course, contestant: Contestant, peers: number): Promise<Latencies> {
  const clock = await course.clockRoutes();
  try {
    return await withAgent(course, contestant, async (run) => {
      await run.startMs();
      await clock.arrivals(Array.from({ length: peers }, (_, index) => peerSubnet(index)));
      const puts = await course.change(joiningFrom(await course.ownSubnet()), PUTS);
      const arrivals = await clock.arrivals(puts.map(({ dst }) => dst));
      const since = (instants: readonly number[]) => arrivals.map((at, i) => at - (instants[i] ?? Number.NaN));
      return { answered: since(puts.map((put) => put.answeredAt)), sent: since(puts.map((put) => put.sentAt)) };
    });
  } finally {
    await clock.stop();
    for (const first of JOINING) await course.unload(first, PUTS);
  }
}

export const change: Suite = {
  name: 'change',
  title: `one peer joins: etcd's answer to the put → its route in the kernel (${PUTS} puts a run)`,
  run: (plan) =>
    onCourse(LARGE_NETWORK, async (course) => {
      const notes = new Notebook();
      let loaded = 0;
      for (const peers of plan.full ? [0, 1000, 10_000] : [0, 1000]) {
        if (peers > loaded) await course.load(loaded, peers - loaded);
        loaded = peers;
        for (let run = 0; run < plan.runs; run++) {
          for (const contestant of plan.contestants) {
            plan.say(`change: ${peers} peers, run ${run + 1} of ${plan.runs}, ${contestant.name}`);
            const { answered, sent } = await measure(course, contestant, peers);
            const label = `${peers.toLocaleString('en')} peers`;
            notes.add(`p50, ${label}`, 'ms', contestant.name, quantile(answered, 0.5));
            notes.add(`p99, ${label}`, 'ms', contestant.name, quantile(answered, 0.99));
            notes.add(`p50 from the put's start, ${label}`, 'ms', contestant.name, quantile(sent, 0.5));
          }
        }
      }
      return notes.figures;
    }),
};
