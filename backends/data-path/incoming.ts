import { EAGAIN, EBADFD, EINTR, MSG_DONTWAIT, type PacketCalls, packetCalls } from '../kernel/packet-calls.ts';
import type { LoopCounts } from './loop-counts.ts';
import { type PacketCore, PLACES } from './packet-core.ts';
import type { Turn } from './turn.ts';

/**
 * From the socket to the device, a batch at a time. What the device has no room for stays here, and nothing more is
 * received until it has gone: the socket's buffer fills up, and there the kernel drops.
 */
export class Incoming {
  readonly #calls: PacketCalls;
  readonly #core: PacketCore;
  /** Of the core's memory. */
  readonly #base: number;
  readonly #words: Int32Array;
  readonly #counts: LoopCounts;
  /** Messages that are to be made ready again. */
  #received: number = PLACES.rxMessageCount;
  #written = 0;
  #writes = 0;

  constructor(core: PacketCore, base: number, counts: LoopCounts, calls = packetCalls()) {
    this.#calls = calls;
    this.#core = core;
    this.#base = base;
    this.#words = new Int32Array(core.memory);
    this.#counts = counts;
  }

  turn(tun: number, socket: number): Turn {
    if (this.#writes === 0) {
      const outcome = this.#receive(socket);
      if (outcome !== 'worked') return outcome;
    }
    while (this.#writes > 0) {
      const outcome = this.#write(tun);
      if (outcome !== 'worked') return outcome;
      this.#writes = this.#core.rxMore();
      this.#written = 0;
    }
    return 'worked';
  }

  /** The rest of what was received is nobody's any more. */
  forget(): void {
    this.#writes = 0;
    this.#written = 0;
  }

  #receive(socket: number): Turn {
    // What the kernel filled in last time.
    this.#core.rxPrepare(this.#received);
    this.#received = 0;
    const taken = this.#calls.recvmmsg(socket, this.#base + PLACES.rxMessages, PLACES.rxMessageCount, MSG_DONTWAIT, 0);
    if (taken <= 0) {
      const errno = this.#calls.errno();
      if (taken < 0 && errno !== EAGAIN && errno !== EINTR) this.#counts.refusal('receive', errno);
      return 'idle';
    }
    this.#received = taken;
    this.#writes = this.#core.rx(taken);
    this.#written = 0;
    return 'worked';
  }

  #write(tun: number): Turn {
    for (; this.#written < this.#writes; this.#written++) {
      const at = (PLACES.rxWrites >> 2) + 2 * this.#written;
      const vectors = this.#base + (this.#words[at] ?? 0);
      while (this.#calls.writev(tun, vectors, this.#words[at + 1] ?? 0) < 0) {
        const errno = this.#calls.errno();
        if (errno === EINTR) continue;
        if (errno === EBADFD) return 'lost';
        if (errno === EAGAIN) {
          this.#counts.waited('write');
          return 'full';
        }
        // EIO: the device is down.
        this.#counts.refusal('write', errno);
        break;
      }
    }
    return 'worked';
  }
}
