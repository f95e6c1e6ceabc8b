/**
 * The packet core as its driver sees it: one piece of memory, in which the kernel's messages are made and read, and
 * functions that move them on. As WebAssembly where that is to be had, else as JavaScript; both do the same.
 *
 *    outgoing                                       incoming
 *    txReset()                                      rxPrepare(n)
 *    while (txRoomBytes() > 0 &&                    taken = recvmmsg(socket, rxMessages, n)
 *           (n = read(tun, txPointer(), …)) > 0)    for (w = rx(taken); w > 0; w = rxMore())
 *      tx(n)                                          writev(tun) for each of the w pairs at rxWrites
 *    sendmmsg(socket, txMessages, txDone())         rxPrepare(taken)
 *    txReplies(): writev(tun) for each at replyWrites
 *
 * Outgoing and incoming share nothing: a batch of one may be interrupted by the other. Peers and settings change between
 * batches only. Offsets count from the beginning of the memory; a write is two 32-bit numbers: the offset of an array of
 * iovecs, and how many they are.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { endianness } from 'node:os';
import { join } from 'node:path';
import { familyOf, type Ip, ipFromBytes } from '../../config/address.ts';
import { addressWords, macWords, prefixWords } from './address-words.ts';
import { RX_ETHERTYPE, RX_FOREIGN, RX_SPOOFED } from './core/counters.ts';
import {
  COUNTERS_AT,
  REPLY_WRITES,
  RX_MESSAGES,
  RX_MESSAGES_MAX,
  RX_WRITES,
  SAMPLES,
  SCRATCH,
  SCRATCH_BYTES,
  TX_MESSAGES,
  TX_SPLIT,
} from './core/layout.ts';
import { COUNTERS } from './counters.ts';
import type { PathPeer } from './path-peer.ts';
import type { PathFilter, PathSettings } from './path-settings.ts';
import { PeerNumbers } from './peer-numbers.ts';
import type { CoreFunctions } from './script-core.ts';

/** Where in the memory what lies, in bytes. */
export const PLACES = {
  /** The driver's own. */
  scratch: SCRATCH,
  scratchBytes: SCRATCH_BYTES,
  /** struct mmsghdr each. */
  messageBytes: 64,
  txMessages: TX_MESSAGES,
  txSplit: TX_SPLIT,
  rxMessages: RX_MESSAGES,
  /** How many there are. */
  rxMessageCount: RX_MESSAGES_MAX,
  rxWrites: RX_WRITES,
  replyWrites: REPLY_WRITES,
} as const;

/** What the kernel was found to take. */
export interface CoreOffloads {
  /** UDP_SEGMENT: several datagrams in one message. */
  readonly grouping: boolean;
  /** TCP super-packets written to the device. */
  readonly mergingTcp: boolean;
  /** UDP's: where TUNSETOFFLOAD took USO. */
  readonly mergingUdp: boolean;
}

/** Somebody whom the peer filter has objected to. */
export interface Stranger {
  readonly reason: 'stranger' | 'spoofed' | 'foreign' | 'ethertype';
  /** The datagram's source. */
  readonly outer: Ip | undefined;
  /** The packet's in it; undefined: it is not IP. */
  readonly inner: Ip | undefined;
}

type Driven = Pick<
  CoreFunctions,
  | 'txReset'
  | 'txPointer'
  | 'txRoomBytes'
  | 'tx'
  | 'txDone'
  | 'txReplies'
  | 'txSplit'
  | 'rxPrepare'
  | 'rx'
  | 'rxMore'
  | 'allowReplies'
>;

export interface PacketCore extends Driven {
  readonly kind: 'wasm' | 'js';
  /** Of a fixed size, at a fixed address. */
  readonly memory: ArrayBuffer;
  /** Takes what is to be so from the next batch on; the peers stay. `address` is the memory's. RangeError: too many prefixes. */
  configure(settings: PathSettings, address: bigint, offloads: CoreOffloads): void;
  /** Of the same device, while it runs. */
  setOffloads(offloads: CoreOffloads): void;
  /** Makes or changes a peer. Why it can't be known, or undefined. */
  setPeer(key: string, peer: PathPeer): string | undefined;
  removePeer(key: string): void;
  /** Peers that are not known, by key, and why. */
  refusedPeers(): ReadonlyMap<string, string>;
  /** One number for each of COUNTERS. */
  copyCounters(into: Float64Array | BigUint64Array): void;
  /** Whom the filter has objected to since this was asked last: some of them, each once. */
  takeStrangers(): readonly Stranger[];
}

const FILTERS: Readonly<Record<PathFilter, number>> = { off: 0, report: 1, enforce: 2, strict: 3 };
/** A VXLAN header's second word, in network order. */
const vniWord = (vni: number): number => Buffer.from([vni >>> 16, vni >>> 8, vni, 0]).readInt32LE();
const STRANGER_BYTES = 48;
/** By the counter's number. */
const REASONS: Readonly<Record<number, Stranger['reason']>> = {
  [RX_SPOOFED]: 'spoofed',
  [RX_FOREIGN]: 'foreign',
  [RX_ETHERTYPE]: 'ethertype',
};

class Core {
  readonly #core: CoreFunctions;
  readonly #seed: number;
  readonly #peers: PeerNumbers;
  readonly #counters: BigUint64Array;
  readonly #bytes: Buffer;

  constructor(core: CoreFunctions, memory: ArrayBuffer, seed: number) {
    this.#core = core;
    this.#seed = seed;
    this.#peers = new PeerNumbers(core);
    this.#counters = new BigUint64Array(memory, COUNTERS_AT, COUNTERS.length);
    this.#bytes = Buffer.from(memory);
  }

  configure(settings: PathSettings, address: bigint, offloads: CoreOffloads): void {
    const core = this.#core;
    const { encapsulation, local, networks, own } = settings;
    core.clearPeers(this.#seed);
    core.setBase(Number(BigInt.asIntN(32, address)), Number(BigInt.asIntN(32, address >> 32n)));
    if (encapsulation.kind === 'udp') core.setUdp();
    else core.setVxlan(vniWord(encapsulation.vni), ...macWords(encapsulation.mac));
    core.setDevice(settings.mtuBytes, FILTERS[settings.filter]);
    core.setLocal(familyOf(local) === 4 ? 16 : 28, ...addressWords(local));
    const tunnel = encapsulation.kind === 'udp' ? own.find((prefix) => familyOf(prefix) === 4) : undefined;
    core.setTunnelAddress(tunnel === undefined ? 0 : prefixWords(tunnel)[2]);
    this.setOffloads(offloads);
    for (const prefix of own) if (!core.addOwn(...prefixWords(prefix))) throw new RangeError('too many own subnets');
    for (const prefix of networks) {
      if (!core.addNetwork(...prefixWords(prefix))) throw new RangeError('too many networks');
    }
    this.#peers.restore({ family: familyOf(local), port: settings.port });
    core.txReset();
  }

  setOffloads({ grouping, mergingTcp, mergingUdp }: CoreOffloads): void {
    this.#core.setOffloads(grouping, mergingTcp, mergingUdp);
  }

  setPeer(key: string, peer: PathPeer): string | undefined {
    return this.#peers.set(key, peer);
  }

  removePeer(key: string): void {
    this.#peers.remove(key);
  }

  refusedPeers(): ReadonlyMap<string, string> {
    return this.#peers.refused;
  }

  copyCounters(into: Float64Array | BigUint64Array): void {
    if (into instanceof BigUint64Array) into.set(this.#counters);
    else for (const [i, value] of this.#counters.entries()) into[i] = Number(value);
  }

  takeStrangers(): readonly Stranger[] {
    const samples = this.#bytes.readInt32LE(SAMPLES);
    const taken = Array.from({ length: samples }, (_, i) => this.#stranger(SAMPLES + 4 + i * STRANGER_BYTES));
    this.#core.clearSamples();
    return taken;
  }

  #stranger(at: number): Stranger {
    return {
      reason: REASONS[this.#bytes.readInt32LE(at)] ?? 'stranger',
      outer: this.#address(at + 12, this.#bytes.readInt32LE(at + 4)),
      inner: this.#address(at + 28, this.#bytes.readInt32LE(at + 8)),
    };
  }

  #address(at: number, version: number): Ip | undefined {
    return version === 0 ? undefined : ipFromBytes(this.#bytes, at, version === 4 ? 4 : 16);
  }
}

/** A core of these functions, which work on that memory. `seed`: 32 bits that nobody can guess. */
export function packetCoreOf(
  kind: PacketCore['kind'],
  functions: CoreFunctions,
  memory: ArrayBuffer,
  seed: number,
): PacketCore {
  const core = new Core(functions, memory, seed);
  const { txReset, txPointer, txRoomBytes, tx, txDone, txReplies, txSplit, rxPrepare, rx, rxMore, allowReplies } =
    functions;
  return {
    kind,
    memory,
    // What is called for every packet goes straight to the core.
    ...{ txReset, txPointer, txRoomBytes, tx, txDone, txReplies, txSplit, rxPrepare, rx, rxMore, allowReplies },
    configure: (settings, address, offloads) => core.configure(settings, address, offloads),
    setOffloads: (offloads) => core.setOffloads(offloads),
    setPeer: (key, peer) => core.setPeer(key, peer),
    removePeer: (key) => core.removePeer(key),
    refusedPeers: () => core.refusedPeers(),
    copyCounters: (into) => core.copyCounters(into),
    takeStrangers: () => core.takeStrangers(),
  };
}

/** The compiled core that is shipped, or undefined where there is none. */
export function shippedPacketCore(): Uint8Array | undefined {
  // Beside the bundle; compiled modules stand two rooms below it.
  for (const dir of ['.', '../../bundle']) {
    try {
      return readFileSync(join(import.meta.dirname, dir, 'packet-core.wasm'));
    } catch {
      // Then the other one.
    }
  }
  return undefined;
}

/**
 * The core of these bytes; as JavaScript where there are none, or this machine does not run them. JavaScript's keeps its
 * state in its modules: one in each thread. Cores of one `seed` leave the same bytes in memory.
 */
export async function openPacketCore(
  wasm: Uint8Array | undefined,
  seed = randomBytes(4).readInt32LE(),
): Promise<PacketCore> {
  if (endianness() !== 'LE') throw new Error('the packet core needs a little-endian machine');
  if (typeof WebAssembly === 'object' && wasm !== undefined && WebAssembly.validate(wasm)) {
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(wasm));
    const { memory } = exports;
    if (!(memory instanceof WebAssembly.Memory)) throw new Error('the packet core has no memory');
    return packetCoreOf('wasm', exports as CoreFunctions, memory.buffer, seed);
  }
  const { SCRIPT_CORE, SCRIPT_MEMORY } = await import('./script-core.ts');
  return packetCoreOf('js', SCRIPT_CORE, SCRIPT_MEMORY, seed);
}
