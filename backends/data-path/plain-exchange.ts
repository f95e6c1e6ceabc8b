/**
 * Frames and datagrams into and out of the core without the kernel's messages, one by one: for a driver that has only
 * Node's own sockets, and for tests.
 */
import { type Ip, ipFromBytes, ipToBytes } from '../../config/address.ts';
import { type PacketCore, PLACES } from './packet-core.ts';

const VIRTIO_BYTES = 10;
const AF_INET = 2;
const AF_INET6 = 10;

export interface Datagram {
  readonly data: Uint8Array;
  /** The peer. */
  readonly address: Ip;
}

export interface SentDatagram extends Datagram {
  readonly port: number;
  /** The size of each datagram but the last, where this is several. */
  readonly segmentBytes: number | undefined;
}

/** Views of the core's memory are made in the constructor: one object serves for as long as the core does. */
export class PlainExchange {
  readonly #core: PacketCore;
  readonly #bytes: Buffer;
  readonly #address: bigint;

  /** `address` as the core was told. */
  constructor(core: PacketCore, address: bigint) {
    this.#core = core;
    this.#bytes = Buffer.from(core.memory);
    this.#address = address;
  }

  /** Takes a frame from the device, with its virtio_net_hdr if it has one. Whether there was room for it. */
  putFrame(frame: Uint8Array, virtio: Uint8Array = new Uint8Array(VIRTIO_BYTES)): boolean {
    if (frame.length + VIRTIO_BYTES > this.#core.txRoomBytes()) return false;
    this.#bytes.set(virtio, this.#core.txPointer());
    this.#bytes.set(frame, this.#core.txPointer() + VIRTIO_BYTES);
    this.#core.tx(VIRTIO_BYTES + frame.length);
    return true;
  }

  /** What `txDone` made, as copies. */
  sent(messages: number, from: number = PLACES.txMessages): readonly SentDatagram[] {
    return Array.from({ length: messages }, (_, i) => this.#message(from + i * PLACES.messageBytes));
  }

  #message(at: number): SentDatagram {
    const name = this.#pointer(at);
    const inet = this.#bytes.readUInt16LE(name) === AF_INET;
    const address = inet ? ipFromBytes(this.#bytes, name + 4, 4) : ipFromBytes(this.#bytes, name + 8, 16);
    if (address === undefined) throw new Error('a message to nowhere');
    const segmented = this.#bytes.readInt32LE(at + 40) > 0;
    return {
      data: this.#gather(this.#pointer(at + 16), this.#bytes.readInt32LE(at + 24)),
      address,
      port: this.#bytes.readUInt16BE(name + 2),
      segmentBytes: segmented ? this.#bytes.readUInt16LE(this.#pointer(at + 32) + 16) : undefined,
    };
  }

  /** Puts a received datagram into message `index`, after `rxPrepare`; with `segmentBytes` it is several. */
  putDatagram(index: number, { data, address }: Datagram, segmentBytes?: number): void {
    const at = PLACES.rxMessages + index * PLACES.messageBytes;
    const iov = this.#pointer(at + 16);
    const length = Math.min(data.length, this.#bytes.readInt32LE(iov + 8));
    this.#bytes.set(data.subarray(0, length), this.#pointer(iov));
    const name = this.#pointer(at);
    const bytes = ipToBytes(address);
    this.#bytes.fill(0, name, name + 28);
    this.#bytes.writeUInt16LE(bytes.length === 4 ? AF_INET : AF_INET6, name);
    this.#bytes.set(bytes, name + (bytes.length === 4 ? 4 : 8));
    this.#bytes.writeInt32LE(bytes.length === 4 ? 16 : 28, at + 8);
    this.#bytes.writeInt32LE(length, at + 56);
    this.#bytes.writeInt32LE(0, at + 40);
    if (segmentBytes !== undefined) this.#putSegmentSize(at, segmentBytes);
  }

  #putSegmentSize(at: number, segmentBytes: number): void {
    const control = this.#pointer(at + 32);
    for (const [i, word] of [20, 0, 17, 104, segmentBytes].entries()) this.#bytes.writeInt32LE(word, control + 4 * i);
    this.#bytes.writeInt32LE(24, at + 40);
  }

  /** The writes that `rx` or `rxMore` made, as copies, each with its virtio_net_hdr in front. */
  written(writes: number, from: number = PLACES.rxWrites): readonly Buffer[] {
    return Array.from({ length: writes }, (_, i) => {
      const at = from + 8 * i;
      return this.#gather(this.#bytes.readInt32LE(at), this.#bytes.readInt32LE(at + 4));
    });
  }

  #gather(iovs: number, count: number): Buffer {
    const pieces = Array.from({ length: count }, (_, i) => {
      const at = this.#pointer(iovs + 16 * i);
      return this.#bytes.subarray(at, at + this.#bytes.readInt32LE(iovs + 16 * i + 8));
    });
    return Buffer.concat(pieces);
  }

  #pointer(at: number): number {
    return Number(this.#bytes.readBigUInt64LE(at) - this.#address);
  }
}
