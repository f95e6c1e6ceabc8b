/** What the packet core is given: sound packets, and what becomes of them when somebody lies. */
import type { Ip, Mac } from '../../config/address.ts';
import { ipFromBigInt } from '../../config/address.ts';
import type { Chance } from '../chaos/chance.ts';
import { type Frame, OWN_MAC, PEER_MAC, type Received } from '../support/packet-cores.ts';
import {
  ethernet,
  ipPacket,
  type TcpWish,
  tcpPacket,
  udpPacket,
  virtioHeader,
  vxlan,
  withPartialChecksum,
} from '../support/packets.ts';

export type Encapsulation = 'udp' | 'vxlan';

/** Numbers that are at the edge of something. */
const EDGES = [0, 1, 2, 4, 5, 6, 8, 10, 14, 17, 19, 20, 28, 40, 60, 64, 127, 128, 224, 240, 254, 255];

export function one<T>(chance: Chance, things: readonly T[]): T {
  const thing = things[chance.below(things.length)];
  if (thing === undefined) throw new Error('nothing to choose from');
  return thing;
}

export function happens(chance: Chance, probability: number): boolean {
  return chance.next() < probability;
}

/** In one of `hosts` hosts' subnets, in none of them, or outside of the networks. */
export function innerAddress(chance: Chance, family: 4 | 6, hosts: number): Ip {
  const host = chance.below(hosts + 2);
  const low = chance.below(4);
  if (happens(chance, 0.05)) {
    return one(chance, family === 4 ? ['0.0.0.0', '224.0.0.1', '203.0.113.7'] : ['::', 'ff02::1', 'fe80::1']) as Ip;
  }
  if (family === 4) return ipFromBigInt(BigInt(0x0a050000 + host * 256 + low), 4);
  return ipFromBigInt((0xfd000005_00000000n << 64n) + (BigInt(host) << 64n) + BigInt(low), 6);
}

export function outerAddress(chance: Chance, hosts: number): Ip {
  if (happens(chance, 0.03)) return '2001:db8::9' as Ip;
  return `192.0.2.${chance.below(hosts + 2)}` as Ip;
}

export function macOf(host: number): Mac {
  return `02:00:00:00:01:${Buffer.from([host]).toString('hex')}` as Mac;
}

function wishOf(chance: Chance, hosts: number): TcpWish {
  const family = happens(chance, 0.5) ? 4 : 6;
  return {
    from: innerAddress(chance, family, hosts),
    to: innerAddress(chance, family, hosts),
    ttl: happens(chance, 0.9) ? 64 : one(chance, [0, 1, 2, 255]),
    tos: happens(chance, 0.9) ? 0 : chance.below(256),
    id: chance.below(65536),
    fragment: happens(chance, 0.9) ? 0x4000 : one(chance, [0, 0x2000, 0x1fff, 0x0001, 0x8000]),
    ipOptions: happens(chance, 0.95) ? Buffer.alloc(0) : Buffer.alloc(4 * (1 + chance.below(10)), 1),
    sequence: happens(chance, 0.5) ? 1000 : chance.below(2 ** 32),
    flags: happens(chance, 0.8) ? 0x10 : chance.below(256),
    options: happens(chance, 0.7) ? Buffer.alloc(0) : Buffer.alloc(4 * chance.below(11), 1),
  };
}

function payload(chance: Chance, most: number): Buffer {
  const length = happens(chance, 0.1) ? chance.below(3) : chance.below(most);
  return Buffer.alloc(Math.min(length, 65_000), chance.below(256));
}

/** TCP or UDP by name only: too short for it, or nonsense, or with a checksum that a kernel would have left open. */
function stump(chance: Chance, wish: TcpWish): Buffer {
  const data = Buffer.from(Array.from({ length: chance.below(60) }, () => chance.below(256)));
  const bytes = ipPacket(wish, one(chance, [6, 17]), data);
  return data.length >= 18 && happens(chance, 0.5) ? withPartialChecksum(bytes) : bytes;
}

function packet(chance: Chance, wish: TcpWish, most: number): Buffer {
  const data = payload(chance, most);
  const kind = chance.next();
  if (kind < 0.55) return tcpPacket(wish, data);
  return kind < 0.9 ? udpPacket(wish, data) : ipPacket(wish, 18 + chance.below(238), data);
}

/** Some bytes changed, cut off, or added. */
export function damaged(chance: Chance, bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes);
  for (let n = chance.below(4); n >= 0; n--) {
    const near = happens(chance, 0.8) ? Math.min(copy.length, 90) : copy.length;
    if (near > 0) copy.writeUInt8(happens(chance, 0.5) ? one(chance, EDGES) : chance.below(256), chance.below(near));
  }
  const kept = happens(chance, 0.5) ? Math.min(copy.length, 90) : copy.length;
  if (happens(chance, 0.3)) return copy.subarray(0, chance.below(kept + 1));
  return happens(chance, 0.1) ? Buffer.concat([copy, Buffer.alloc(chance.below(40), 7)]) : copy;
}

/** From the device: whole or not, with a virtio header that is right, a little wrong, or random. */
export function frame(chance: Chance, kind: Encapsulation, hosts: number): Frame {
  const wish = wishOf(chance, hosts);
  const sound = packet(
    chance,
    { ...wish, from: innerAddress(chance, wish.from.includes(':') ? 6 : 4, 1) },
    1 << (3 + chance.below(14)),
  );
  const bytes = sound.length > 65_000 ? sound.subarray(0, 65_000) : sound;
  const transport = bytes.readUInt8(0) >>> 4 === 4 ? (bytes[9] ?? 0) : (bytes[6] ?? 0);
  const open = [6, 17].includes(transport) ? withPartialChecksum(bytes) : bytes;
  const link = kind === 'udp' ? 0 : 14;
  const size = happens(chance, 0.6) ? 1 + chance.below(1500) : undefined;
  const virtio = happens(chance, 0.2) ? Buffer.alloc(10) : virtioHeader(open, link, size);
  const whole = link === 0 ? open : ethernet(OWN_MAC, macOf(chance.below(hosts + 2)), open);
  return {
    frame: happens(chance, 0.25) ? damaged(chance, whole) : whole,
    virtio: happens(chance, 0.25) ? lied(chance, virtio) : virtio,
  };
}

function lied(chance: Chance, virtio: Buffer): Buffer {
  const copy = Buffer.from(virtio);
  if (happens(chance, 0.2)) for (const at of copy.keys()) copy.writeUInt8(chance.below(256), at);
  else copy.writeUInt8(one(chance, EDGES), chance.below(10));
  return copy;
}

/** From the socket: trains as the kernel puts them together, with a size that is right or not. */
export function datagram(chance: Chance, kind: Encapsulation, hosts: number): Received {
  const address = outerAddress(chance, hosts);
  const wish = { ...wishOf(chance, hosts), to: '10.5.0.9' as Ip };
  const train = happens(chance, 0.5) ? sequence(chance, wish) : [lone(chance, wishOf(chance, hosts))];
  if (happens(chance, 0.05)) train.push(withPartialChecksum(tcpPacket(wishOf(chance, hosts), payload(chance, 60_000))));
  const wrapped = train.map((each) => {
    const harmed = happens(chance, train.length === 1 ? 0.4 : 0.05) ? damaged(chance, each) : each;
    if (kind === 'udp') return harmed;
    const outer = vxlan(7, ethernet(PEER_MAC, OWN_MAC, harmed.length > 0 ? harmed : Buffer.from([0x45])));
    if (happens(chance, 0.02)) outer.writeUInt16BE(one(chance, [0x0806, 0x8100, 0x88a8]), 20);
    return happens(chance, 0.05) ? damaged(chance, outer) : outer;
  });
  const data = Buffer.concat(wrapped).subarray(0, 65_500);
  if (wrapped.length === 1 && happens(chance, 0.8)) return { data, address };
  const first = wrapped[0]?.length ?? 1;
  const told = happens(chance, 0.9)
    ? first
    : one(chance, [-1, 0, 1, 19, 20, first - 1, first + 1, 65_535, 2 ** 31 - 1]);
  return { data, address, segmentBytes: told };
}

function lone(chance: Chance, wish: TcpWish): Buffer {
  return happens(chance, 0.3) ? stump(chance, wish) : packet(chance, wish, 1600);
}

/** Packets of one conversation, mostly in order. */
function sequence(chance: Chance, given: TcpWish): Buffer[] {
  const four = happens(chance, 0.5);
  const from = (four ? `10.5.${chance.below(4)}.3` : `fd00:5:0:${chance.below(4)}::3`) as Ip;
  const wish = { ...given, from, to: (four ? '10.5.0.9' : 'fd00:5::9') as Ip };
  const size = happens(chance, 0.1) ? 0 : 1 + chance.below(1400);
  const tcp = happens(chance, 0.6);
  const packets: Buffer[] = [];
  for (let i = 0; i < 1 + chance.below(45); i++) {
    const data = Buffer.alloc(happens(chance, 0.95) ? size : chance.below(1400), i);
    const skip = happens(chance, 0.03) ? chance.below(3) : 0;
    const number = ((wish.sequence ?? 0) + i * size + skip) % 2 ** 32;
    const flags = happens(chance, 0.95) ? 0x10 : chance.below(256);
    const at = { ...wish, id: ((wish.id ?? 0) + i) & 0xffff, sequence: number, flags };
    packets.push(tcp ? tcpPacket(at, data) : udpPacket(at, data));
  }
  return packets;
}
