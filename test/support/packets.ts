/** Packets made from RFCs, byte by byte, and checked so: what the packet core makes is held against these. */
import type { Ip, Mac } from '../../config/address.ts';
import { ipToBytes, macToBytes } from '../../config/address.ts';

export interface PacketWish {
  readonly from: Ip;
  readonly to: Ip;
  readonly ttl?: number;
  readonly tos?: number;
  /** IPv4 only. */
  readonly id?: number;
  /** IPv4's flags and offset; don't fragment is 0x4000. */
  readonly fragment?: number;
  /** IPv4: a multiple of four bytes. */
  readonly ipOptions?: Uint8Array;
}

export interface TcpWish extends PacketWish {
  readonly sequence?: number;
  readonly acknowledgement?: number;
  readonly flags?: number;
  readonly window?: number;
  readonly urgent?: number;
  /** A multiple of four bytes. */
  readonly options?: Uint8Array;
  readonly ports?: readonly [number, number];
}

/** RFC 1071, the slow and obvious way: big-endian words, the carry added at once. */
export function checksum(...pieces: readonly Uint8Array[]): number {
  const bytes = Buffer.concat(pieces.map((piece) => Buffer.from(piece)));
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) {
    sum += (bytes[i] ?? 0) * 256 + (bytes[i + 1] ?? 0);
    if (sum > 0xffff) sum -= 0xffff;
  }
  return 0xffff - sum;
}

/** RFC 9293 3.1, RFC 8200 8.1. */
export function pseudoHeader(from: Uint8Array, to: Uint8Array, protocol: number, length: number): Buffer {
  const tail = Buffer.alloc(from.length === 4 ? 4 : 8);
  if (from.length === 4) {
    tail.writeUInt8(protocol, 1);
    tail.writeUInt16BE(length, 2);
  } else {
    tail.writeUInt32BE(length, 0);
    tail.writeUInt8(protocol, 7);
  }
  return Buffer.concat([from, to, tail]);
}

/** An IP packet of either family around `payload`. */
export function ipPacket(wish: PacketWish, protocol: number, payload: Uint8Array): Buffer {
  const from = ipToBytes(wish.from);
  const to = ipToBytes(wish.to);
  if (from.length === 16) {
    const header = Buffer.alloc(8);
    header.writeUInt32BE(0x60000000 + (wish.tos ?? 0) * 0x100000 + 0x12345, 0);
    header.writeUInt16BE(payload.length, 4);
    header.writeUInt8(protocol, 6);
    header.writeUInt8(wish.ttl ?? 64, 7);
    return Buffer.concat([header, from, to, payload]);
  }
  const options = wish.ipOptions ?? new Uint8Array();
  const header = Buffer.concat([Buffer.alloc(12), from, to, options]);
  header.writeUInt8(0x40 + header.length / 4, 0);
  header.writeUInt8(wish.tos ?? 0, 1);
  header.writeUInt16BE(header.length + payload.length, 2);
  header.writeUInt16BE(wish.id ?? 0x1234, 4);
  header.writeUInt16BE(wish.fragment ?? 0x4000, 6);
  header.writeUInt8(wish.ttl ?? 64, 8);
  header.writeUInt8(protocol, 9);
  header.writeUInt16BE(checksum(header), 10);
  return Buffer.concat([header, payload]);
}

/** A TCP packet with a right checksum. */
export function tcpPacket(wish: TcpWish, data: Uint8Array): Buffer {
  const header = Buffer.concat([Buffer.alloc(20), wish.options ?? new Uint8Array()]);
  const [source, destination] = wish.ports ?? [5001, 80];
  header.writeUInt16BE(source, 0);
  header.writeUInt16BE(destination, 2);
  header.writeUInt32BE(wish.sequence ?? 1000, 4);
  header.writeUInt32BE(wish.acknowledgement ?? 77, 8);
  header.writeUInt8((header.length / 4) << 4, 12);
  header.writeUInt8(wish.flags ?? 0x10, 13);
  header.writeUInt16BE(wish.window ?? 512, 14);
  header.writeUInt16BE(wish.urgent ?? 0, 18);
  const pseudo = pseudoHeader(ipToBytes(wish.from), ipToBytes(wish.to), 6, header.length + data.length);
  header.writeUInt16BE(checksum(pseudo, header, data), 16);
  return ipPacket(wish, 6, Buffer.concat([header, data]));
}

/** A UDP packet with a right checksum. */
export function udpPacket(wish: PacketWish & Pick<TcpWish, 'ports'>, data: Uint8Array): Buffer {
  const header = Buffer.alloc(8);
  const [source, destination] = wish.ports ?? [5001, 53];
  header.writeUInt16BE(source, 0);
  header.writeUInt16BE(destination, 2);
  header.writeUInt16BE(8 + data.length, 4);
  const pseudo = pseudoHeader(ipToBytes(wish.from), ipToBytes(wish.to), 17, 8 + data.length);
  header.writeUInt16BE(checksum(pseudo, header, data) || 0xffff, 6);
  return ipPacket(wish, 17, Buffer.concat([header, data]));
}

/** Where TCP or UDP begins. */
export function transportAt(packet: Uint8Array): number {
  return (packet[0] ?? 0) >>> 4 === 4 ? ((packet[0] ?? 0) & 15) * 4 : 40;
}

function protocolOf(packet: Uint8Array): number {
  return (packet[0] ?? 0) >>> 4 === 4 ? (packet[9] ?? 0) : (packet[6] ?? 0);
}

function addressesOf(packet: Uint8Array): readonly [Uint8Array, Uint8Array] {
  return (packet[0] ?? 0) >>> 4 === 4
    ? [packet.subarray(12, 16), packet.subarray(16, 20)]
    : [packet.subarray(8, 24), packet.subarray(24, 40)];
}

/** What is wrong about an IP packet with TCP or UDP in it; nothing: its lengths and checksums are right. */
export function faultsOf(packet: Buffer): readonly string[] {
  const faults: string[] = [];
  const start = transportAt(packet);
  if (packet.readUInt8(0) >>> 4 === 4) {
    if (checksum(packet.subarray(0, start)) !== 0) faults.push('header checksum');
    if (packet.readUInt16BE(2) !== packet.length) faults.push('total length');
  } else if (packet.readUInt16BE(4) + 40 !== packet.length) faults.push('payload length');
  const transport = packet.subarray(start);
  const [from, to] = addressesOf(packet);
  const pseudo = pseudoHeader(from, to, protocolOf(packet), transport.length);
  if (checksum(pseudo, transport) !== 0) faults.push('transport checksum');
  if (protocolOf(packet) === 17 && transport.readUInt16BE(4) !== transport.length) faults.push('UDP length');
  return faults;
}

/** As the kernel hands out what still lacks its checksum: the field holds the pseudo-header's sum. */
export function withPartialChecksum(packet: Buffer): Buffer {
  const partial = Buffer.from(packet);
  const start = transportAt(partial);
  const protocol = protocolOf(partial);
  const pseudo = pseudoHeader(...addressesOf(partial), protocol, partial.length - start);
  partial.writeUInt16BE(0xffff - checksum(pseudo), start + (protocol === 6 ? 16 : 6));
  return partial;
}

/** <linux/virtio_net.h>: of a packet with a partial checksum, at `linkBytes` in its frame; a super-packet with `size`. */
export function virtioHeader(packet: Buffer, linkBytes: number, size?: number): Buffer {
  const header = Buffer.alloc(10);
  const protocol = protocolOf(packet);
  const six = packet.readUInt8(0) >>> 4 === 6;
  header.writeUInt8(1, 0);
  if (size !== undefined) {
    header.writeUInt8(protocol === 17 ? 5 : six ? 4 : 1, 1);
    header.writeUInt16LE(size, 4);
  }
  header.writeUInt16LE(linkBytes + transportAt(packet), 6);
  header.writeUInt16LE(protocol === 6 ? 16 : 6, 8);
  return header;
}

export function ethernet(from: Mac, to: Mac, packet: Buffer): Buffer {
  const type = packet.readUInt8(0) >>> 4 === 4 ? '0800' : '86dd';
  return Buffer.concat([macToBytes(to), macToBytes(from), Buffer.from(type, 'hex'), packet]);
}

/** RFC 7348. */
export function vxlan(vni: number, frame: Uint8Array): Buffer {
  const header = Buffer.from('0800000000000000', 'hex');
  header.writeUInt32BE(vni * 256, 4);
  return Buffer.concat([header, frame]);
}
