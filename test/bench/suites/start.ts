import { setTimeout as sleep } from 'node:timers/promises';
import type { Contestant } from '../contestant.ts';
import { type Course, onCourse, SMALL_NETWORK } from '../course.ts';
import { Notebook } from '../statistics.ts';
import type { Suite } from '../suite.ts';

/** What the agent does after it has published (the lease noted down, the watch opened) is done before it is ended. */
const SETTLE_MS = 300;

/** A host's first start, and a restart that finds its lease. */
async function measure(course: Course, contestant: Contestant): Promise<{ first: number; restart: number }> {
  const once = async () => {
    const run = await course.start(contestant);
    try {
      const ms = await run.startMs();
      await sleep(SETTLE_MS);
      return ms;
    } finally {
      await run.stop();
    }
  };
  const first = await once();
  await course.forgetSubnetFile();
  const restart = await once();
  await course.clean();
  return { first, restart };
}

export const start: Suite = {
  name: 'start',
  title: 'exec → subnet.env in place, etcd at hand, no peers',
  run: (plan) =>
    onCourse(SMALL_NETWORK, async (course) => {
      const notes = new Notebook();
      for (let run = 0; run < plan.runs; run++) {
        for (const contestant of plan.contestants) {
          plan.say(`start: run ${run + 1} of ${plan.runs}, ${contestant.name}`);
          const { first, restart } = await measure(course, contestant);
          notes.add('first start', 'ms', contestant.name, first);
          notes.add('restart', 'ms', contestant.name, restart);
        }
      }
      for (const figure of ['first start', 'restart']) notes.aim(figure, 1.75, 'flanneld');
      return notes.figures;
    }),
};
