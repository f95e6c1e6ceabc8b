import type { KernelRefusal } from '../kernel/kernel.ts';

/** What is soon there again: a device that the reconciler makes, a port that is just being given back. */
const EAGER_MS = 50;
const EAGER_FOR_MS = 5_000;
const PATIENT_MS = 1_000;

interface Opened {
  readonly fd: number;
}

/**
 * One end of a data path: a descriptor that is opened for something, and opened again until it is there.
 *
 *    wanted ──open──► held ──wanted is another──► the one before is kept until the new one is there
 *      ▲ │              │
 *      │ └─refused──────┼──► tried again
 *      └────────────────┘ let go: it leads nowhere any more
 */
export class PathEnd<Wanted, Got extends Opened> {
  readonly #open: (wanted: Wanted) => Got | KernelRefusal;
  readonly #keyOf: (wanted: Wanted) => string;
  readonly #letGo: (fd: number) => void;
  #key: string | undefined;
  #got: Got | undefined;
  #refusal: KernelRefusal | undefined;
  #tried: string | undefined;
  #tryAt = 0;
  #since = 0;

  /**
   * @param keyOf two wishes of one key are served by one descriptor
   * @param letGo closes it, as soon as nobody uses it any more
   */
  constructor(parts: {
    readonly open: (wanted: Wanted) => Got | KernelRefusal;
    readonly keyOf: (wanted: Wanted) => string;
    readonly letGo: (fd: number) => void;
  }) {
    this.#open = parts.open;
    this.#keyOf = parts.keyOf;
    this.#letGo = parts.letGo;
  }

  get got(): Got | undefined {
    return this.#got;
  }

  get refusal(): KernelRefusal | undefined {
    return this.#refusal;
  }

  /** Milliseconds until there is something to try; Infinity: nothing. */
  restMs(now: number): number {
    return this.#refusal === undefined ? Number.POSITIVE_INFINITY : Math.max(0, this.#tryAt - now);
  }

  /** @returns whether something else is held than before */
  converge(wanted: Wanted, now: number): boolean {
    const key = this.#keyOf(wanted);
    if (this.#got !== undefined && this.#key === key) {
      this.#refusal = undefined;
      return false;
    }
    if (this.#refusal !== undefined && this.#tried === key && now < this.#tryAt) return false;
    this.#tried = key;
    const opened = this.#open(wanted);
    if ('errno' in opened) {
      this.#refused(opened, now);
      return false;
    }
    if (this.#got !== undefined) this.#letGo(this.#got.fd);
    this.#refusal = undefined;
    this.#got = opened;
    this.#key = key;
    return true;
  }

  #refused(refusal: KernelRefusal, now: number): void {
    if (this.#refusal === undefined) this.#since = now;
    this.#refusal = refusal;
    this.#tryAt = now + (now - this.#since < EAGER_FOR_MS ? EAGER_MS : PATIENT_MS);
  }

  /** Less can be done with it than it seemed. */
  amend(got: Got): void {
    this.#got = got;
  }

  /** Where it is the one that is held: it is let go, and opened anew. @returns whether it was */
  drop(fd: number | undefined = this.#got?.fd): boolean {
    if (this.#got === undefined || this.#got.fd !== fd) return false;
    this.#letGo(this.#got.fd);
    this.#got = undefined;
    return true;
  }

  /** Somebody says that it may be there now. */
  hurry(): void {
    this.#tryAt = 0;
  }
}
