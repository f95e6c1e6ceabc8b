import type { Clock } from '../config/clock.ts';

/** How often it is to be looked at while nothing else happens. */
export const LOOK_MS = 2_000;
const JUMP_MS = 3_000;

/**
 * What both clocks say of a lease: whether it lives, and whether its holder slept (stopped, its host suspended) or was
 * set another time. A look that comes late, or finds the clocks apart by more than before, tells.
 */
export class LeaseClock {
  readonly #clock: Clock;
  /** Both clocks, ms, when they were last looked at. */
  #looked: { readonly wall: number; readonly monotonic: number };
  #sleeps = 0;
  #isAwake = true;
  /** Monotonic clock, ms: until when the lease lives, even if the wall clock is set meanwhile. */
  #livesUntil: number;

  /** `expiresAt`: wall clock, ms. The key was read or claimed a moment ago. */
  constructor(clock: Clock, expiresAt: number) {
    this.#clock = clock;
    this.#looked = this.#now();
    this.#livesUntil = this.#monotonicOf(expiresAt);
  }

  /** Looks at both clocks. @returns how often its holder has slept, whoever noticed */
  look(): number {
    const before = this.#looked;
    this.#looked = this.#now();
    const passed = this.#looked.monotonic - before.monotonic;
    const apart = Math.abs(this.#looked.wall - before.wall - passed);
    if (passed > LOOK_MS + JUMP_MS || apart > JUMP_MS) {
      this.#isAwake = false;
      this.#sleeps += 1;
    }
    return this.#sleeps;
  }

  /** Whether the lease lives, and its key was read since its holder last slept. */
  isSure(): boolean {
    this.look();
    return this.#isAwake && this.#looked.monotonic < this.#livesUntil;
  }

  /** The key was read, and nobody slept since. */
  awake(): void {
    this.#isAwake = true;
  }

  /** The lease lives until then: wall clock, ms. */
  extend(expiresAt: number): void {
    this.#livesUntil = this.#monotonicOf(expiresAt);
  }

  #now(): { readonly wall: number; readonly monotonic: number } {
    return { wall: this.#clock.now(), monotonic: this.#clock.monotonic() };
  }

  #monotonicOf(wall: number): number {
    const now = this.#now();
    return now.monotonic + wall - now.wall;
  }
}
