/**
 * A start leaves more garbage behind than all that follows, and the memory stays taken: V8 collects when it wants more,
 * and an agent that has its peers wants none. So, once, all of it is given back.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { Clock } from '../config/clock.ts';

/** Later than the log's package is loaded. */
const LOOK_MS = 1_500;
/** A Node that was started with one of them keeps it: V8 knows its compiled code by its flags. */
const FLAGS = ['--expose-gc', '--compact-on-every-full-gc'].filter((flag) => !process.execArgv.includes(flag));

/** Collects all garbage and moves what is left together: 65 ms of the loop at ten thousand peers. */
function collect(): void {
  for (const flag of FLAGS) setFlagsFromString(flag);
  const gc: unknown = runInNewContext('gc');
  if (typeof gc === 'function') gc();
  for (const flag of FLAGS) setFlagsFromString(flag.replace('--', '--no-'));
}

/** Resolves when `isOver` the start and what it took is given back; rejects with the signal's reason. */
export async function giveBackAfterStart(isOver: () => boolean, clock: Clock, signal: AbortSignal): Promise<void> {
  do await clock.sleep(LOOK_MS, signal);
  while (!isOver());
  collect();
}
