/**
 * What the main thread and the worker both see, so that neither has to ask:
 *
 *   | mail i32 | beats i32 | unused | counters f64 … |
 *   0          4           8        64
 *
 * mail: there are messages for the worker. beats: how often the worker went round.
 */
const COUNTERS_AT = 64;
const MAIL = 0;
const BEATS = 1;

export class SharedPage {
  readonly buffer: SharedArrayBuffer;
  readonly #words: Int32Array;
  readonly #counters: Float64Array;

  /** @param buffer the other side's; left out: a page of its own */
  constructor(counters: number, buffer = new SharedArrayBuffer(COUNTERS_AT + 8 * counters)) {
    this.buffer = buffer;
    this.#words = new Int32Array(buffer, 0, 2);
    this.#counters = new Float64Array(buffer, COUNTERS_AT, counters);
  }

  announceMail(): void {
    Atomics.store(this.#words, MAIL, 1);
  }

  /** Whether there was any since it was last asked. */
  takeMail(): boolean {
    return Atomics.load(this.#words, MAIL) !== 0 && Atomics.exchange(this.#words, MAIL, 0) !== 0;
  }

  beat(): void {
    Atomics.add(this.#words, BEATS, 1);
  }

  beats(): number {
    return Atomics.load(this.#words, BEATS);
  }

  publish(values: Float64Array): void {
    this.#counters.set(values);
  }

  counters(): Float64Array {
    return this.#counters.slice();
  }
}
