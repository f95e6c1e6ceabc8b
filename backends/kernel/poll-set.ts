/**
 * Several descriptors waited for at once, poll(2):
 *
 *   struct pollfd   | descriptor i32 | events i16 | what came of them i16 |    8 bytes each
 */
import { addressOf, declare, declared } from './libc.ts';

export const POLLIN = 0x1;
export const POLLOUT = 0x4;
const POLLERR = 0x8;
const POLLHUP = 0x10;
const POLLNVAL = 0x20;

const POLLFD_BYTES = 8;
/** Left out. */
const NOBODY = -1;

interface Poll {
  (fds: number, count: number, timeoutMs: number): number;
  async(fds: number, count: number, timeoutMs: number, done: (error: unknown, ready: number) => void): void;
}

const poll = declared<Poll>(() => declare('int poll(uintptr_t fds, unsigned long count, int timeoutMs)'));

export class PollSet {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #address: number;
  readonly #count: number;

  constructor(count: number) {
    this.#bytes = new Uint8Array(count * POLLFD_BYTES);
    this.#view = new DataView(this.#bytes.buffer);
    this.#address = Number(addressOf(this.#bytes));
    this.#count = count;
  }

  /**
   * Says what is waited for at `place`. Where `fd` is undefined or `events` is 0 the place is left out of the wait
   * altogether: poll(2) would else return for errors of a descriptor that nobody asked about.
   */
  watch(place: number, fd: number | undefined, events: number): void {
    const at = place * POLLFD_BYTES;
    this.#view.setInt32(at, fd === undefined || events === 0 ? NOBODY : fd, true);
    this.#view.setInt16(at + 4, events, true);
    this.#view.setInt16(at + 6, 0, true);
  }

  /** The thread waits. @param timeoutMs -1: for ever */
  wait(timeoutMs: number): void {
    poll()(this.#address, this.#count, timeoutMs);
  }

  /** A thread of Node's pool waits. */
  waitInPool(timeoutMs: number): Promise<void> {
    return new Promise((resolve) => poll().async(this.#address, this.#count, timeoutMs, () => resolve()));
  }

  /** What the last wait found there. */
  cameOf(place: number): number {
    return this.#view.getInt16(place * POLLFD_BYTES + 6, true);
  }

  /** Whether there is nothing behind the descriptor any more. */
  isGone(place: number): boolean {
    return (this.cameOf(place) & (POLLERR | POLLHUP | POLLNVAL)) !== 0;
  }
}
