import type { Clock } from './clock.ts';

/** Without a reason of its own every ring would make an exception, with its stack. */
const OVER = new Error('waited for no longer');

/** A doorbell for one waiting loop: a ring while nobody waits is not lost, several rings are one. */
export class Wakeup {
  #rung = false;
  #wake: (() => void) | undefined;

  ring(): void {
    this.#rung = true;
    this.#wake?.();
  }

  /** Resolves at a ring or after `ms`; rejects with the signal's reason when it is aborted. */
  async wait(ms: number, clock: Clock, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (!this.#rung) await this.#woken(ms, clock, signal);
    this.#rung = false;
    signal.throwIfAborted();
  }

  async #woken(ms: number, clock: Clock, signal: AbortSignal): Promise<void> {
    const sleep = new AbortController();
    let wake = (): void => undefined;
    try {
      await new Promise<void>((resolve, reject) => {
        wake = resolve;
        this.#wake = wake;
        signal.addEventListener('abort', wake, { once: true });
        clock.sleep(ms, sleep.signal).then(resolve, (error) => (error === OVER ? resolve() : reject(error)));
      });
    } finally {
      this.#wake = undefined;
      signal.removeEventListener('abort', wake);
      // To give a timer back takes longer than what is waited for may: whoever rang is served first.
      setImmediate(() => sleep.abort(OVER));
    }
  }
}
