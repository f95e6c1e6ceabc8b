/** Device and socket as queues, for what moves packets between them; the core's memory is said to be at 0. */

import type { PacketCore } from '../../backends/data-path/packet-core.ts';
import type { Datagram, SentDatagram } from '../../backends/data-path/plain-exchange.ts';
import { PlainExchange } from '../../backends/data-path/plain-exchange.ts';
import { EAGAIN, type PacketCalls } from '../../backends/kernel/packet-calls.ts';

type Call = Exclude<keyof PacketCalls, 'errno'>;

export class FakePacketCalls implements PacketCalls {
  /** Frames of the device, each with its virtio header. */
  readonly toRead: Buffer[] = [];
  readonly toReceive: Datagram[] = [];
  /** What each sendmmsg took. */
  readonly sent: (readonly SentDatagram[])[] = [];
  readonly written: Buffer[] = [];
  readonly called: Call[] = [];
  readonly #refusals = new Map<Call, number[]>();
  readonly #bytes: Buffer;
  readonly #exchange: PlainExchange;
  #errno = 0;

  constructor(core: PacketCore) {
    this.#bytes = Buffer.from(core.memory);
    this.#exchange = new PlainExchange(core, 0n);
  }

  /** The next calls of that kind fail so, one after the other; 0: that one does not. */
  refuse(call: Call, ...errnos: readonly number[]): void {
    this.#refusals.set(call, [...errnos]);
  }

  errno(): number {
    return this.#errno;
  }

  read(_fd: number, address: number, length: number): number {
    if (this.#fails('read')) return -1;
    const frame = this.toRead.shift();
    if (frame === undefined) return this.#fail(EAGAIN);
    this.#bytes.set(frame.subarray(0, length), address);
    return Math.min(frame.length, length);
  }

  sendmmsg(_fd: number, messages: number, count: number): number {
    if (this.#fails('sendmmsg')) return -1;
    // Any message may fail: the kernel then says how many went before it.
    const taken = this.#refusals.get('sendmmsg')?.length ? 1 : count;
    this.sent.push(this.#exchange.sent(taken, messages));
    return taken;
  }

  recvmmsg(_fd: number, _messages: number, count: number): number {
    if (this.#fails('recvmmsg')) return -1;
    const taken = this.toReceive.splice(0, count);
    if (taken.length === 0) return this.#fail(EAGAIN);
    for (const [i, datagram] of taken.entries()) this.#exchange.putDatagram(i, datagram);
    return taken.length;
  }

  writev(_fd: number, vectors: number, count: number): number {
    if (this.#fails('writev')) return -1;
    const pieces = Array.from({ length: count }, (_, i) => {
      const at = vectors + 16 * i;
      const from = Number(this.#bytes.readBigUInt64LE(at));
      return this.#bytes.subarray(from, from + this.#bytes.readInt32LE(at + 8));
    });
    const frame = Buffer.concat(pieces);
    this.written.push(frame);
    return frame.length;
  }

  #fails(call: Call): boolean {
    this.called.push(call);
    const errno = this.#refusals.get(call)?.shift() ?? 0;
    if (errno !== 0) this.#fail(errno);
    return errno !== 0;
  }

  #fail(errno: number): -1 {
    this.#errno = errno;
    return -1;
  }
}
