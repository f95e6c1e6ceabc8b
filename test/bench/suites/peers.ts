import { LARGE_NETWORK, peerSubnets } from '../../support/peers.ts';
import type { Contestant } from '../contestant.ts';
import { type Course, onCourse, withAgent } from '../course.ts';
import { Notebook } from '../statistics.ts';
import type { Suite } from '../suite.ts';

const PEERS = { reduced: [1000], usual: [1000, 5000], full: [1000, 5000, 10_000] } as const;
/** How many times faster than flanneld, by the number of peers. */
const FASTER: Readonly<Record<number, number>> = { 1000: 2.5, 5000: 8, 10000: 14 };

/** From exec to the subnet file and to the last peer's route, ms. */
async function measure(course: Course, contestant: Contestant, peers: number): Promise<{ file: number; all: number }> {
  const clock = await course.clockRoutes();
  return await withAgent(course, contestant, async (run) => {
    const arrivals = await clock.arrivals(peerSubnets(peers));
    const { routes, neighbours, fdb } = await course.entries();
    if (routes < peers || neighbours < peers || fdb < peers) {
      throw new Error(`${contestant.name} programmed ${routes} routes, ${neighbours} neighbours, ${fdb} FDB entries`);
    }
    const last = arrivals.reduce((latest, at) => Math.max(latest, at), 0);
    return { file: await run.startMs(), all: last - run.execAt };
  }).finally(() => clock.stop());
}

export const peers: Suite = {
  name: 'peers',
  title: 'cold start: exec → every peer in the kernel',
  run: (plan) =>
    onCourse(LARGE_NETWORK, async (course) => {
      const notes = new Notebook();
      for (const count of PEERS[plan.size]) {
        await course.havePeers(count);
        for (let run = 0; run < plan.runs; run++) {
          for (const contestant of plan.contestants) {
            plan.say(`peers: ${count} peers, run ${run + 1} of ${plan.runs}, ${contestant.name}`);
            const { file, all } = await measure(course, contestant, count);
            const label = `${count.toLocaleString('en')} peers`;
            notes.add(`all in the kernel, ${label}`, 'ms', contestant.name, all);
            notes.add(`subnet.env, ${label}`, 'ms', contestant.name, file);
            notes.aim(`all in the kernel, ${label}`, 1 / (FASTER[count] ?? 1), 'flanneld');
          }
        }
      }
      notes.aim(`subnet.env, ${(10_000).toLocaleString('en')} peers`, 0.2, 'flanneld');
      return notes.figures;
    }),
};
