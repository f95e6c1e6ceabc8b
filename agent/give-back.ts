/**
 * A start leaves more garbage behind than all that follows, and the memory stays taken: V8 collects when it wants more,
 * and an agent that has its peers wants none. So, once, all of it is given back.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { Clock } from '../config/clock.ts';

/** Later than all that is loaded late. */
const LOOK_MS = 1_500;
const FLAGS = ['expose-gc', 'compact-on-every-full-gc'] as const;

/** Collects all garbage and moves what is left together: 65 ms of the loop at ten thousand peers. */
function collect(): void {
  for (const flag of FLAGS) setFlagsFromString(`--${flag}`);
  const gc: unknown = runInNewContext('gc');
  if (typeof gc === 'function') gc();
  for (const flag of FLAGS) setFlagsFromString(`--no-${flag}`);
}

/** Resolves when `isOver` the start and what it took is given back; rejects with the signal's reason. */
export async function giveBackAfterStart(isOver: () => boolean, clock: Clock, signal: AbortSignal): Promise<void> {
  do await clock.sleep(LOOK_MS, signal);
  while (!isOver());
  collect();
}
