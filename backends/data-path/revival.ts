import type { Clock } from '../../config/clock.ts';

/** One that lived as long died of something else than the one before. */
const SOUND_MS = 60_000;
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 10_000;
/** So many in a row: it does not go by itself. */
const WORTH_TELLING = 3;

/** When a worker that died is followed by the next: the first time at once, then ever later. */
export class Revival {
  readonly #clock: Clock;
  #startedAt = 0;
  #notBefore = 0;
  #deaths = 0;
  #fault: Error | undefined;
  restarts = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  restMs(): number {
    return Math.max(0, this.#notBefore - this.#clock.monotonic());
  }

  started(): void {
    this.#startedAt = this.#clock.monotonic();
  }

  ended(fault: Error): void {
    const now = this.#clock.monotonic();
    this.restarts += 1;
    this.#deaths = now - this.#startedAt > SOUND_MS ? 1 : this.#deaths + 1;
    this.#fault = fault;
    const pause = this.#deaths === 1 ? 0 : Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (this.#deaths - 2));
    this.#notBefore = now + pause;
  }

  /** undefined: none, or the last one has lived long enough since. */
  problem(): string | undefined {
    if (this.#deaths < WORTH_TELLING || this.#clock.monotonic() - this.#startedAt > SOUND_MS) return undefined;
    return `the worker died ${this.#deaths} times: ${this.#fault?.message}; it is started again, report it`;
  }
}
