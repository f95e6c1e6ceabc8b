import type { Clock } from './clock.ts';

/** Without a reason of its own every ring would make an exception, with its stack. */
const RUNG = new Error('rung');

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
    const inner = new AbortController();
    const wake = (): void => inner.abort(RUNG);
    signal.addEventListener('abort', wake, { once: true });
    this.#wake = wake;
    try {
      if (!this.#rung) await clock.sleep(ms, inner.signal);
    } catch (error) {
      if (!inner.signal.aborted) throw error;
    } finally {
      signal.removeEventListener('abort', wake);
      this.#wake = undefined;
      this.#rung = false;
    }
    signal.throwIfAborted();
  }
}
