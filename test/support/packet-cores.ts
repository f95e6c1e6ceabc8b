/**
 * The packet core in all its forms, side by side: WebAssembly, JavaScript, and JavaScript with its memory watched. All
 * are given the same; what they answer and what they leave in memory must be the same.
 */
import { deepEqual, equal } from 'node:assert/strict';
import { readdirSync, statSync } from 'node:fs';
import {
  LENGTHS4,
  MEMORY_BYTES,
  PEERS,
  RX_BUFFER_BYTES,
  RX_BUFFERS,
  SAMPLES,
  TX_FRAMES,
  TX_FRAMES_END,
} from '../../backends/data-path/core/layout.ts';
import { COUNTERS, type CounterName } from '../../backends/data-path/counters.ts';
import {
  type CoreOffloads,
  openPacketCore,
  type PacketCore,
  PLACES,
  type Stranger,
  shippedPacketCore,
} from '../../backends/data-path/packet-core.ts';
import type { PathPeer } from '../../backends/data-path/path-peer.ts';
import type { PathSettings } from '../../backends/data-path/path-settings.ts';
import { type Datagram, PlainExchange, type SentDatagram } from '../../backends/data-path/plain-exchange.ts';
import type { Ip, Mac, Prefix } from '../../config/address.ts';
import { compilePacketCore } from '../../deploy/packet-core.ts';
import { type GuardedCore, openGuardedCore, READING, WRITING } from './guarded-core.ts';
import { inRepository } from './repository.ts';

/** The memory crosses a multiple of 4 GiB, among the headers of segments: pointers beyond carry. */
const ADDRESS = 0x7fffffe90000n;
/** The same of all, or entries would lie elsewhere. */
const SEED = 0x7a57a9e5;
const OFFLOADS: CoreOffloads = { grouping: true, mergingTcp: true, mergingUdp: true };

export interface Frame {
  readonly frame: Uint8Array;
  readonly virtio?: Uint8Array;
}

export interface Received extends Datagram {
  readonly segmentBytes?: number;
}

export interface Sent {
  readonly messages: readonly SentDatagram[];
  readonly replies: readonly Buffer[];
  /** How many of the frames found room. */
  readonly taken: number;
}

export const OWN_MAC = '02:00:00:00:00:01' as Mac;
export const PEER_MAC = '02:00:00:00:00:02' as Mac;
export const OWN_OUTER = '192.0.2.1' as Ip;
export const PEER_OUTER = '192.0.2.2' as Ip;
export const HERE = '10.5.1.5' as Ip;
export const THERE = '10.5.2.5' as Ip;
export const HERE6 = 'fd00:5:0:1::5' as Ip;
export const THERE6 = 'fd00:5:0:2::5' as Ip;

export const UDP: PathSettings = {
  device: 'flannel0',
  encapsulation: { kind: 'udp' },
  local: OWN_OUTER,
  port: 8285,
  mtuBytes: 1472,
  own: ['10.5.1.0/24', 'fd00:5:0:1::/64'] as Prefix[],
  networks: ['10.5.0.0/16', 'fd00:5::/48'] as Prefix[],
  filter: 'enforce',
};

export const VXLAN: PathSettings = {
  ...UDP,
  device: 'flannel.7',
  encapsulation: { kind: 'vxlan', vni: 7, mac: OWN_MAC },
  port: 8472,
  mtuBytes: 1450,
};

export const PEER: PathPeer = {
  endpoint: PEER_OUTER,
  sources: [PEER_OUTER],
  subnets: ['10.5.2.0/24', 'fd00:5:0:2::/64'] as Prefix[],
  mac: PEER_MAC,
};

/** The module as of the sources that stand there now. */
export async function currentModule(): Promise<Uint8Array> {
  const sources = inRepository('backends/data-path/core');
  const changed = Math.max(...readdirSync(sources).map((name) => statSync(`${sources}/${name}`).mtimeMs));
  const made = statSync(inRepository('dist/bundle/packet-core.wasm'), { throwIfNoEntry: false })?.mtimeMs ?? 0;
  return (made > changed ? shippedPacketCore() : undefined) ?? compilePacketCore();
}

export class PacketCores {
  readonly #cores: readonly PacketCore[];
  readonly #exchanges: readonly PlainExchange[];
  readonly #forbidden: Uint8Array;
  readonly #end: Int32Array;
  #before = new Float64Array(COUNTERS.length);
  readonly #keys = new Set<string>();
  /** What of frames and buffers may be touched: from, to. */
  readonly #opened: (readonly [number, number])[] = [];

  private constructor(cores: readonly PacketCore[], { forbidden, end }: GuardedCore) {
    this.#cores = cores;
    this.#exchanges = cores.map((core) => new PlainExchange(core, ADDRESS));
    this.#forbidden = forbidden;
    this.#end = end;
    this.#forbidden.fill(READING | WRITING, TX_FRAMES, TX_FRAMES_END);
    this.#forbidden.fill(READING | WRITING, RX_BUFFERS, RX_BUFFERS + RX_BUFFER_BYTES * PLACES.rxMessageCount);
  }

  /** Once in a process. */
  static async open(): Promise<PacketCores> {
    const guarded = await openGuardedCore(SEED);
    const cores = [
      await openPacketCore(await currentModule(), SEED),
      await openPacketCore(undefined, SEED),
      guarded.core,
    ];
    deepEqual(
      cores.map(({ kind }) => kind),
      ['wasm', 'js', 'js'],
    );
    return new PacketCores(cores, guarded);
  }

  /** Without any peers but these, and with nothing counted. */
  begin(settings: PathSettings, peers: readonly PathPeer[] = [PEER], offloads: CoreOffloads = OFFLOADS): void {
    this.#allow();
    for (const key of this.#keys) this.removePeer(key);
    this.configure(settings, offloads);
    for (const [i, peer] of peers.entries()) equal(this.setPeer(`peer ${i}`, peer), undefined);
    this.allowReplies(100);
    this.takeStrangers();
    this.#before = this.#counted();
  }

  configure(settings: PathSettings, offloads: CoreOffloads = OFFLOADS): void {
    this.#allow();
    this.#same((core) => core.configure(settings, ADDRESS, offloads));
  }

  setOffloads(offloads: CoreOffloads): void {
    this.#same((core) => core.setOffloads(offloads));
  }

  setPeer(key: string, peer: PathPeer): string | undefined {
    this.#allow();
    this.#keys.add(key);
    return this.#same((core) => core.setPeer(key, peer));
  }

  removePeer(key: string): void {
    this.#allow();
    this.#keys.delete(key);
    this.#same((core) => core.removePeer(key));
  }

  refusedPeers(): ReadonlyMap<string, string> {
    return this.#same((core) => core.refusedPeers());
  }

  allowReplies(replies: number): void {
    this.#same((core) => core.allowReplies(replies));
  }

  takeStrangers(): readonly Stranger[] {
    return this.#same((core) => core.takeStrangers());
  }

  /** One batch. */
  transmit(frames: readonly Frame[]): Sent {
    this.#protectTables();
    this.#same((core) => core.txReset());
    let taken = 0;
    for (const { frame, virtio } of frames) {
      this.#protectFrames(frame.length + 10);
      if (!this.#sameOf((exchange) => exchange.putFrame(frame, virtio))) break;
      taken++;
    }
    const made = this.#same((core) => core.txDone());
    const replies = this.#same((core) => core.txReplies());
    return {
      messages: this.#sameOf((exchange) => exchange.sent(made)),
      replies: this.#sameOf((exchange) => exchange.written(replies, PLACES.replyWrites)),
      taken,
    };
  }

  /** The first messages of the last batch, as they stand now. */
  waiting(messages: number): readonly SentDatagram[] {
    return this.#sameOf((exchange) => exchange.sent(messages));
  }

  /** Message `index` of the last batch, taken apart. */
  split(index: number): readonly SentDatagram[] {
    const parts = this.#same((core) => core.txSplit(index));
    return this.#sameOf((exchange) => exchange.sent(parts, PLACES.txSplit));
  }

  /** One batch. Each write with its virtio header in front. */
  receive(datagrams: readonly Received[]): readonly Buffer[] {
    this.#protectTables();
    this.#same((core) => core.rxPrepare(datagrams.length));
    for (const [i, datagram] of datagrams.entries()) {
      this.#sameOf((exchange) => exchange.putDatagram(i, datagram, datagram.segmentBytes));
    }
    this.#protectBuffers(datagrams.map(({ data }) => data.length));
    const written: Buffer[] = [];
    for (let writes = this.#same((core) => core.rx(datagrams.length)); writes > 0; ) {
      written.push(...this.#sameOf((exchange) => exchange.written(writes)));
      writes = this.#same((core) => core.rxMore());
    }
    return written;
  }

  /** What was counted since `begin`, without the zeros. */
  counters(): Partial<Record<CounterName, number>> {
    const now = this.#counted();
    const all = COUNTERS.map(({ name }, i) => [name, (now[i] ?? 0) - (this.#before[i] ?? 0)] as const);
    return Object.fromEntries(all.filter(([, value]) => value !== 0));
  }

  /** All of it, byte for byte. */
  compareMemory(): void {
    const [first, ...others] = this.#cores.map(({ memory }) => Buffer.from(memory));
    for (const other of others) if (!first?.equals(other)) throw new Error(this.#difference(first, other));
  }

  #difference(a: Buffer | undefined, b: Buffer): string {
    const at = b.findIndex((byte, i) => a?.[i] !== byte);
    return `the memories differ at 0x${at.toString(16)}`;
  }

  #counted(): Float64Array<ArrayBuffer> {
    const [first] = this.#cores.map((core) => {
      const counters = new Float64Array(COUNTERS.length);
      core.copyCounters(counters);
      return counters;
    });
    return first ?? new Float64Array();
  }

  #same<T>(ask: (core: PacketCore) => T): T {
    return agreed(this.#cores.map(ask));
  }

  #sameOf<T>(ask: (exchange: PlainExchange) => T): T {
    return agreed(this.#exchanges.map(ask));
  }

  #allow(): void {
    this.#forbidden.fill(0, 0, SAMPLES);
    this.#end[0] = MEMORY_BYTES;
  }

  /** No packet changes what is known of peers. */
  #protectTables(): void {
    this.#end[0] = PEERS;
    this.#forbidden.fill(WRITING, LENGTHS4, SAMPLES);
  }

  /** Of the frames only the one that was just read. */
  #protectFrames(bytes: number): void {
    this.#closeAll();
    this.#open(this.#cores[0]?.txPointer() ?? 0, bytes);
  }

  /** Of the receive buffers only what was received. */
  #protectBuffers(lengths: readonly number[]): void {
    this.#closeAll();
    const memory = Buffer.from(this.#cores[0]?.memory ?? new ArrayBuffer());
    for (const [i, length] of lengths.entries()) {
      const iov = Number(memory.readBigUInt64LE(PLACES.rxMessages + i * PLACES.messageBytes + 16) - ADDRESS);
      const at = Number(memory.readBigUInt64LE(iov) - ADDRESS);
      this.#open(at, Math.min(length, memory.readInt32LE(iov + 8)));
    }
  }

  #open(at: number, bytes: number): void {
    this.#forbidden.fill(0, at, at + bytes);
    this.#opened.push([at, at + bytes]);
  }

  #closeAll(): void {
    for (const [from, to] of this.#opened) this.#forbidden.fill(READING | WRITING, from, to);
    this.#opened.length = 0;
  }
}

/** WebAssembly's true is 1. */
function agreed<T>(answers: readonly T[]): T {
  const [first, ...others] = answers.map((answer) => (typeof answer === 'boolean' ? (Boolean(answer) as T) : answer));
  for (const other of others) deepEqual(other, first);
  return first as T;
}
