import type { Clock } from './clock.ts';
import { toError } from './errors.ts';

/** A sleep under way. */
interface Alarm {
  /** Monotonic clock, ms. */
  readonly at: number;
  readonly signal: AbortSignal;
  cancel(): void;
}

/**
 * A doorbell for one waiting loop: a ring while nobody waits is not lost, several rings are one.
 *
 * A ring ends the wait, not the sleep behind it: that serves the next wait too, if it is not to be shorter. To abort a
 * sleep and begin another takes longer than what most rings are about.
 */
export class Wakeup {
  #rung = false;
  #wake: ((fault?: Error) => void) | undefined;
  #alarm: Alarm | undefined;

  ring(): void {
    this.#rung = true;
    this.#wake?.();
  }

  /** Resolves at a ring or after `ms`; rejects with the signal's reason when it is aborted. */
  async wait(ms: number, clock: Clock, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const until = clock.monotonic() + ms;
    for (let isOver = false; !(this.#rung || isOver); isOver = clock.monotonic() >= until) {
      this.#setAlarm(until, clock, signal);
      await new Promise<void>((resolve, reject) => {
        this.#wake = (fault) => (fault ? reject(fault) : resolve());
      });
      signal.throwIfAborted();
    }
    this.#wake = undefined;
    this.#rung = false;
  }

  #setAlarm(until: number, clock: Clock, signal: AbortSignal): void {
    const set = this.#alarm;
    if (set && set.at <= until && set.signal === signal) return;
    set?.cancel();
    const sleep = new AbortController();
    const cancel = (): void => sleep.abort();
    const alarm = { at: until, signal, cancel };
    this.#alarm = alarm;
    signal.addEventListener('abort', cancel, { once: true });
    const over = (fault?: Error): void => {
      signal.removeEventListener('abort', cancel);
      if (this.#alarm !== alarm) return;
      this.#alarm = undefined;
      this.#wake?.(fault);
    };
    const sleeping = clock.sleep(until - clock.monotonic(), sleep.signal);
    sleeping.then(
      () => over(),
      (error: unknown) => over(sleep.signal.aborted ? undefined : toError(error)),
    );
  }
}
