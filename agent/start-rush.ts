/**
 * The time until the files are there. A start never waits for long and keeps its processor busy all the time: what can be
 * done behind it makes it the shorter.
 */
import type { Clock } from '../config/clock.ts';

/** Who is not up by then waits for something: nobody need wait for that. */
const LONGEST_MS = 250;

export class StartRush {
  /** Resolves once the files are there, or it takes long, or the agent ends. */
  readonly over: Promise<void>;
  /** The files are there. */
  end: () => void = () => undefined;

  constructor(clock: Clock, signal: AbortSignal) {
    const ended = new Promise<void>((resolve) => {
      this.end = resolve;
    });
    const late = clock.sleep(LONGEST_MS, signal).catch(() => undefined);
    this.over = Promise.race([ended, late]);
  }
}
