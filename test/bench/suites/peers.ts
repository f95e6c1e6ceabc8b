import { LARGE_NETWORK, peerSubnet } from '../../support/peers.ts';
import type { Contestant } from '../contestant.ts';
import { type Course, onCourse, withAgent } from '../course.ts';
import { Notebook } from '../statistics.ts';
import type { Suite } from '../suite.ts';

/** From exec to the subnet file and to the last peer's route, ms. */
async function measure(course: Course, contestant: Contestant, peers: number): Promise<{ file: number; all: number }> {
  const destinations = Array.from({ length: peers }, (_, index) => peerSubnet(index));
  const clock = await course.clockRoutes();
  return await withAgent(course, contestant, async (run) => {
    const arrivals = await clock.arrivals(destinations);
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
      let loaded = 0;
      for (const count of plan.full ? [1000, 5000, 10_000] : [1000, 5000]) {
        if (count > loaded) await course.load(loaded, count - loaded);
        loaded = count;
        for (let run = 0; run < plan.runs; run++) {
          for (const contestant of plan.contestants) {
            plan.say(`peers: ${count} peers, run ${run + 1} of ${plan.runs}, ${contestant.name}`);
            const { file, all } = await measure(course, contestant, count);
            const label = `${count.toLocaleString('en')} peers`;
            notes.add(`all in the kernel, ${label}`, 'ms', contestant.name, all);
            notes.add(`subnet.env, ${label}`, 'ms', contestant.name, file);
          }
        }
      }
      return notes.figures;
    }),
};
