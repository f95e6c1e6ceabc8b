import type { Clock } from '../../config/clock.ts';
import type { Stranger } from './packet-core.ts';

/** As many as somebody reads. */
export const STRANGERS_MAX = 32;
/** As long as the filter of the kernel's devices. */
const FORGET_MS = 600_000;

/** Somebody whom the peer filter has objected to, and for how long. */
export interface SeenStranger extends Stranger {
  /** Wall clock, ms. */
  readonly first: number;
  readonly last: number;
}

/** Who was seen last; who was not seen for longest makes room. */
export class PathStrangers {
  readonly #clock: Clock;
  /** In the order in which they were seen last. */
  readonly #seen = new Map<string, SeenStranger>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  saw(strangers: readonly Stranger[]): void {
    const now = this.#clock.now();
    for (const one of strangers) {
      const key = `${one.reason} ${one.outer} ${one.inner}`;
      const first = this.#seen.get(key)?.first ?? now;
      this.#seen.delete(key);
      this.#seen.set(key, { ...one, first, last: now });
    }
    for (const key of this.#seen.keys()) if (this.#seen.size > STRANGERS_MAX) this.#seen.delete(key);
  }

  list(): readonly SeenStranger[] {
    const since = this.#clock.now() - FORGET_MS;
    return [...this.#seen.values()].filter(({ last }) => last > since).reverse();
  }
}
