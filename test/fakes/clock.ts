import type { Clock } from '../../config/clock.ts';

interface Sleeper {
  readonly due: number;
  readonly order: number;
  readonly wake: () => void;
}

/** Lets everything run that waits for nothing but promises. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 2; turn += 1) await new Promise<void>((resolve) => setImmediate(resolve));
}

/** Time that passes only in `advance`. */
export class VirtualClock implements Clock {
  #monotonic = 0;
  #wallOffset: number;
  #seed: number;
  #order = 0;
  readonly #sleepers = new Set<Sleeper>();

  /** `wall`: milliseconds since the epoch at the start. `seed` decides what `random` gives. */
  constructor(wall = Date.UTC(2026, 0, 1), seed = 1) {
    this.#wallOffset = wall;
    this.#seed = seed;
  }

  now(): number {
    return this.#wallOffset + this.#monotonic;
  }

  monotonic(): number {
    return this.#monotonic;
  }

  /** mulberry32 */
  random(): number {
    this.#seed = (this.#seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#seed ^ (this.#seed >>> 15), 1 | this.#seed);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  sleep(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason);
      const abort = (): void => {
        this.#sleepers.delete(sleeper);
        reject(signal.reason);
      };
      const wake = (): void => {
        signal.removeEventListener('abort', abort);
        resolve();
      };
      this.#order += 1;
      const sleeper = { due: this.#monotonic + Math.max(0, ms), order: this.#order, wake };
      signal.addEventListener('abort', abort, { once: true });
      this.#sleepers.add(sleeper);
    });
  }

  /** How many wait now. */
  get sleeping(): number {
    return this.#sleepers.size;
  }

  /** Sets the wall clock, as an administrator would; `monotonic` goes on as it was. */
  setWall(ms: number): void {
    this.#wallOffset = ms - this.#monotonic;
  }

  /** Lets `ms` pass: whoever is due wakes in order, each seeing the time at which it was due. */
  async advance(ms: number): Promise<void> {
    const end = this.#monotonic + ms;
    await settle();
    for (let next = this.#nextDue(end); next !== undefined; next = this.#nextDue(end)) {
      this.#sleepers.delete(next);
      this.#monotonic = next.due;
      next.wake();
      await settle();
    }
    this.#monotonic = end;
  }

  /** Lets time pass, at most `limitMs`, until the condition holds. @returns whether it does. */
  async advanceUntil(holds: () => boolean, limitMs: number, stepMs = 100): Promise<boolean> {
    await settle();
    for (let passed = 0; passed < limitMs && !holds(); passed += stepMs) await this.advance(stepMs);
    return holds();
  }

  #nextDue(end: number): Sleeper | undefined {
    let first: Sleeper | undefined;
    for (const sleeper of this.#sleepers) {
      if (sleeper.due > end) continue;
      if (
        first === undefined ||
        sleeper.due < first.due ||
        (sleeper.due === first.due && sleeper.order < first.order)
      ) {
        first = sleeper;
      }
    }
    return first;
  }
}
