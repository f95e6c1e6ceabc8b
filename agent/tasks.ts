import { setMaxListeners } from 'node:events';
import { type Clock, within } from '../config/clock.ts';

/** How long a task may take to end: one that still waits for an answer (etcd hangs) is left behind. */
const PATIENCE_MS = 1_000;

/** What runs until the agent ends: one stop signal for all, and the first that fails ends the others. */
export class Tasks {
  readonly #clock: Clock;
  readonly #controller = new AbortController();
  readonly #running: { readonly ended: Promise<void>; readonly patienceMs: number }[] = [];
  #failure: { readonly error: unknown } | undefined;

  constructor(stop: AbortSignal, clock: Clock) {
    this.#clock = clock;
    // Every task listens, most of them more than once.
    setMaxListeners(0, this.signal);
    if (stop.aborted) this.#controller.abort(stop.reason);
    stop.addEventListener('abort', () => this.#controller.abort(stop.reason), { once: true });
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /**
   * Starts a task. It ends by itself, or by rejecting: with the signal's reason once it is aborted, else as a failure.
   * @param patienceMs how long after the stop signal its end is waited for.
   */
  start(run: (signal: AbortSignal) => Promise<unknown>, patienceMs = PATIENCE_MS): void {
    const ended = run(this.signal).then(
      () => undefined,
      (error: unknown) => this.#fail(error),
    );
    this.#running.push({ ended, patienceMs });
  }

  /** Resolves when the agent was told to stop and every task has ended or had its time; rejects with what failed. */
  async ended(): Promise<void> {
    if (!this.signal.aborted) {
      await new Promise<void>((resolve) => this.signal.addEventListener('abort', () => resolve(), { once: true }));
    }
    await Promise.all(this.#running.map((task) => this.#endOf(task)));
    if (this.#failure) throw this.#failure.error;
  }

  async #endOf({ ended, patienceMs }: { readonly ended: Promise<void>; readonly patienceMs: number }): Promise<void> {
    await within(this.#clock, patienceMs, ended);
  }

  #fail(error: unknown): void {
    if (this.signal.aborted) return;
    this.#failure = { error };
    this.#controller.abort(error);
  }
}
