import { setTimeout as sleep } from 'node:timers/promises';
import { joiningFrom, LARGE_NETWORK } from '../../support/peers.ts';
import type { Contestant } from '../contestant.ts';
import { type Course, onCourse, withPeers } from '../course.ts';
import { Notebook, quantile } from '../statistics.ts';
import type { Figure, Suite } from '../suite.ts';

const PUTS = 100;
/** A start has its own suites: what it does behind itself is over by then. */
const SETTLE_MS = 3000;
const PEERS = { reduced: [0], usual: [0, 1000], full: [0, 1000, 10_000] } as const;

interface Latencies {
  /** From etcd's answer to the put until the route is there, ms. */
  readonly answered: readonly number[];
  /** From the put's being sent. */
  readonly sent: readonly number[];
}

async function measure(course: Course, contestant: Contestant, peers: number): Promise<Latencies> {
  return await withPeers(course, contestant, peers, async (_, clock) => {
    await sleep(SETTLE_MS);
    const first = joiningFrom(await course.ownSubnet(), PUTS);
    const puts = await course.change(first, PUTS);
    const arrivals = await clock.arrivals(puts.map(({ dst }) => dst));
    await course.unload(first, PUTS);
    const since = (instants: readonly number[]) => arrivals.map((at, i) => at - (instants[i] ?? Number.NaN));
    return { answered: since(puts.map((put) => put.answeredAt)), sent: since(puts.map((put) => put.sentAt)) };
  });
}

/** Ours with the most peers beside ours with none: what one change costs must not depend on them. */
function beside(figures: readonly Figure[]): readonly Figure[] {
  const all = figures.filter(({ name }) => name.startsWith('p50, '));
  const [none, most] = [all[0]?.series[0], all.at(-1)?.series[0]];
  if (none === undefined || most === undefined || none === most) return [];
  const who = 'tartan, no peers';
  const series = [most, { who, samples: none.samples }];
  return [{ name: `${all.at(-1)?.name} beside none`, unit: 'ms', series, goals: [{ atMost: 1.1, of: who }] }];
}

export const change: Suite = {
  name: 'change',
  title: `one peer joins: etcd's answer to the put → its route in the kernel (${PUTS} puts a run)`,
  run: (plan) =>
    onCourse(LARGE_NETWORK, async (course) => {
      const notes = new Notebook();
      for (const peers of PEERS[plan.size]) {
        await course.havePeers(peers);
        for (let run = 0; run < plan.runs; run++) {
          for (const contestant of plan.contestants) {
            plan.say(`change: ${peers} peers, run ${run + 1} of ${plan.runs}, ${contestant.name}`);
            const { answered, sent } = await measure(course, contestant, peers);
            const label = `${peers.toLocaleString('en')} peers`;
            notes.aim(`p50, ${label}`, 0.5, 'flanneld');
            notes.aim(`p99, ${label}`, 2);
            notes.add(`p50, ${label}`, 'ms', contestant.name, quantile(answered, 0.5));
            notes.add(`p99, ${label}`, 'ms', contestant.name, quantile(answered, 0.99));
            notes.add(`p50 from the put's start, ${label}`, 'ms', contestant.name, quantile(sent, 0.5));
          }
        }
      }
      return [...notes.figures, ...beside(notes.figures)];
    }),
};
