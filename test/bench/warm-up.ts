import { setTimeout as sleep } from 'node:timers/promises';
import type { Contestant } from './contestant.ts';
import { onCourse, SMALL_NETWORK, withAgent } from './course.ts';

/** The launcher keeps V8's code five seconds after the start. */
const LONG_ENOUGH_MS = 6_000;

/** A program that was just built, or installed, is slower at its first start than ever after: that one is not measured. */
export async function warmUp(contestants: readonly Contestant[]): Promise<void> {
  await onCourse(SMALL_NETWORK, async (course) => {
    for (const contestant of contestants) {
      await withAgent(course, contestant, async (run) => {
        await run.startMs();
        await sleep(LONG_ENOUGH_MS);
      });
    }
  });
}
