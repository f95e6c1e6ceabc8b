import type { Clock } from '../../config/clock.ts';
import type { VirtualClock } from './clock.ts';

/** The time of one host: its wall clock can be set, and a process on it can be stopped, as by SIGSTOP. */
export class ProcessClock implements Clock {
  readonly #time: VirtualClock;
  #offset = 0;
  #stopped: { readonly over: Promise<void>; readonly end: () => void } | undefined;

  constructor(time: VirtualClock) {
    this.#time = time;
  }

  now(): number {
    return this.#time.now() + this.#offset;
  }

  monotonic(): number {
    return this.#time.monotonic();
  }

  random(): number {
    return this.#time.random();
  }

  async sleep(ms: number, signal: AbortSignal): Promise<void> {
    await this.#time.sleep(ms, signal);
    await this.running();
    signal.throwIfAborted();
  }

  /** Sets the wall clock; time goes on as it was. */
  setForward(ms: number): void {
    this.#offset += ms;
  }

  get isStopped(): boolean {
    return this.#stopped !== undefined;
  }

  /** Time goes on, but nobody is woken. */
  stop(): void {
    if (this.#stopped) return;
    let end = (): void => {};
    const over = new Promise<void>((resolve) => {
      end = resolve;
    });
    this.#stopped = { over, end };
  }

  /** Whoever should have been woken meanwhile is woken now. */
  go(): void {
    this.#stopped?.end();
    this.#stopped = undefined;
  }

  /** Resolves while the process runs: what comes in waits for that. */
  async running(): Promise<void> {
    while (this.#stopped) await this.#stopped.over;
  }
}
