import { EAGAIN, EBADFD, EINTR, EINVAL, EIO, EMSGSIZE, type PacketCalls, packetCalls } from '../kernel/packet-calls.ts';
import type { LoopCounts } from './loop-counts.ts';
import { type PacketCore, PLACES } from './packet-core.ts';
import type { Turn } from './turn.ts';

/** Of a message that was refused so the datagrams are sent one by one. */
const SPLIT_FOR: ReadonlySet<number> = new Set([EINVAL, EMSGSIZE, EIO]);

/** Of one batch: it ends there. */
const READS_REFUSED_MAX = 32;

/**
 * From the device to the socket, a batch at a time. What the socket has no room for stays here, and nothing more is read
 * until it has gone: the device's queue fills up, and there the kernel drops.
 */
export class Outgoing {
  readonly #calls: PacketCalls;
  readonly #core: PacketCore;
  /** Of the core's memory. */
  readonly #base: number;
  readonly #words: Int32Array;
  readonly #counts: LoopCounts;
  #sent = 0;
  #messages = 0;
  /** Grouping fails on this socket whatever the path. */
  onGroupingRefused: (errno: number) => void = () => undefined;

  constructor(core: PacketCore, base: number, counts: LoopCounts, calls = packetCalls()) {
    this.#calls = calls;
    this.#core = core;
    this.#base = base;
    this.#words = new Int32Array(core.memory);
    this.#counts = counts;
  }

  turn(tun: number, socket: number): Turn {
    if (this.#sent < this.#messages) return this.#send(socket);
    const outcome = this.#read(tun);
    this.#messages = this.#core.txDone();
    this.#sent = 0;
    this.#reply(tun);
    const sending = this.#send(socket);
    return outcome === 'worked' ? sending : outcome;
  }

  /** The rest of what was read is nobody's any more. */
  forget(): void {
    this.#sent = 0;
    this.#messages = 0;
  }

  #read(tun: number): Turn {
    const core = this.#core;
    core.txReset();
    let frames = 0;
    let refused = 0;
    while (core.txRoomBytes() > 0 && refused < READS_REFUSED_MAX) {
      const bytes = this.#calls.read(tun, this.#base + core.txPointer(), core.txRoomBytes());
      if (bytes >= 0) {
        core.tx(bytes);
        frames++;
        continue;
      }
      const errno = this.#calls.errno();
      if (errno === EBADFD) return 'lost';
      if (errno === EAGAIN) break;
      if (errno === EINTR) continue;
      // A single odd packet, EINVAL: the kernel has dropped it.
      this.#counts.refusal('read', errno);
      refused++;
    }
    if (frames > 0) return 'worked';
    return refused > 0 ? 'refused' : 'idle';
  }

  /** ICMP errors for whom the device's host speaks to. They are worth one try. */
  #reply(tun: number): void {
    const replies = this.#core.txReplies();
    for (let i = 0; i < replies; i++) {
      const at = (PLACES.replyWrites >> 2) + 2 * i;
      this.#calls.writev(tun, this.#base + (this.#words[at] ?? 0), this.#words[at + 1] ?? 0);
    }
  }

  #send(socket: number): Turn {
    while (this.#sent < this.#messages) {
      const at = this.#base + PLACES.txMessages + this.#sent * PLACES.messageBytes;
      const taken = this.#calls.sendmmsg(socket, at, this.#messages - this.#sent, 0);
      if (taken > 0) {
        this.#sent += taken;
        continue;
      }
      const errno = this.#calls.errno();
      if (errno === EINTR) continue;
      if (errno === EAGAIN) {
        this.#counts.waited('send');
        return 'full';
      }
      this.#refused(socket, errno);
      this.#sent++;
    }
    return 'worked';
  }

  /**
   * The message at hand was not taken. Many datagrams in one may be what it was refused for: EMSGSIZE (older kernels:
   * EINVAL) where the path's MTU is smaller than one of them, EIO where the device on the way can't do checksums.
   */
  #refused(socket: number, errno: number): void {
    const single = SPLIT_FOR.has(errno) ? this.#core.txSplit(this.#sent) : 0;
    if (single <= 1) {
      this.#counts.refusal('send', errno);
      return;
    }
    if (errno === EIO) this.onGroupingRefused(errno);
    this.#counts.splitUp(single);
    this.#sendSingly(socket, single);
  }

  #sendSingly(socket: number, messages: number): void {
    for (let sent = 0; sent < messages; ) {
      const at = this.#base + PLACES.txSplit + sent * PLACES.messageBytes;
      const taken = this.#calls.sendmmsg(socket, at, messages - sent, 0);
      if (taken <= 0) this.#counts.refusal('send', this.#calls.errno());
      sent += Math.max(taken, 1);
    }
  }
}
