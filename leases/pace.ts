import { type Clock, jittered } from '../config/clock.ts';

const WINDOW_MS = 60_000;
const REPAIRS_AT_ONCE = 5;
const REST_MS = { first: 1_000, most: 30_000 } as const;
const LOST_MS = { first: 50, most: 5_000 } as const;

/**
 * How fast a lease is put right. Five times within a minute at once; then somebody fights us for it, and every put costs
 * each watcher of the cluster: ever longer rests. A lost race is run again after a random pause.
 */
export class Pace {
  readonly #clock: Clock;
  #repairs: readonly number[] = [];
  #lost = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The rest after a repair, ms. */
  afterRepair(): number {
    const now = this.#clock.monotonic();
    this.#lost = 0;
    this.#repairs = [...this.#repairs.filter((at) => at > now - WINDOW_MS), now];
    const excess = this.#repairs.length - REPAIRS_AT_ONCE;
    if (excess <= 0) return 0;
    return jittered(this.#clock, Math.min(REST_MS.first * 2 ** (excess - 1), REST_MS.most), 0.2);
  }

  /** The pause after a claim that another one foiled, ms. */
  afterLoss(): number {
    const most = Math.min(LOST_MS.first * 2 ** this.#lost, LOST_MS.most);
    this.#lost++;
    return most * this.#clock.random();
  }
}
