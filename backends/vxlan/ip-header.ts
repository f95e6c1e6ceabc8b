/**
 * IP headers, as far as an echo needs them.
 *
 *   IPv4, RFC 791 section 3.1                            IPv6, RFC 8200 section 3
 *    0     version 4, header length in words 4            0   version 4, traffic class 8, flow label 20
 *    1     type of service                                4   length of what follows u16
 *    2     length of it all u16                           6   what follows, 58: ICMPv6
 *    4     identification u16                             7   hop limit
 *    6     -, don't fragment, more fragments, offset 13   8   source 16
 *    8     time to live                                  24   destination 16
 *    9     what follows, 1: ICMP                         40   extension headers, or what follows
 *   10     checksum of the header u16
 *   12,16  source, destination 4 each
 *   20     options, then what follows
 */
import { type Family, familyOf, type Ip, ipFromBytes, ipToBytes } from '../../config/address.ts';
import { internetChecksum } from './internet-checksum.ts';

/** Without options, without extension headers. */
export const IP_HEADER_BYTES = { 4: 20, 6: 40 } as const;

const TIME_TO_LIVE = 64;
const MORE_FRAGMENTS_OR_OFFSET = 0x3fff;

export interface IpHeader {
  readonly source: Ip;
  readonly destination: Ip;
  /** IANA's number of what follows. */
  readonly protocol: number;
}

export type DecodedIp =
  | ({ readonly ok: true; readonly family: Family; readonly payload: Buffer } & IpHeader)
  | { readonly ok: false; readonly reason: string };

/** @param identification IPv4's, 16 bits: what tells its fragments from those of other packets */
export function encodeIp(header: IpHeader, payload: Uint8Array, identification = 0): Buffer {
  const head =
    familyOf(header.source) === 4 ? header4(header, payload.length, identification) : header6(header, payload.length);
  return Buffer.concat([head, payload]);
}

function header4({ source, destination, protocol }: IpHeader, payloadBytes: number, identification: number): Buffer {
  const head = Buffer.allocUnsafe(IP_HEADER_BYTES[4]);
  head.writeUInt16BE(0x4500, 0);
  head.writeUInt16BE(IP_HEADER_BYTES[4] + payloadBytes, 2);
  head.writeUInt16BE(identification, 4);
  head.writeUInt16BE(0, 6);
  head[8] = TIME_TO_LIVE;
  head[9] = protocol;
  head.writeUInt16BE(0, 10);
  head.set(ipToBytes(source), 12);
  head.set(ipToBytes(destination), 16);
  head.writeUInt16BE(internetChecksum(head), 10);
  return head;
}

function header6({ source, destination, protocol }: IpHeader, payloadBytes: number): Buffer {
  const head = Buffer.allocUnsafe(IP_HEADER_BYTES[6]);
  head.writeUInt32BE(0x60000000, 0);
  head.writeUInt16BE(payloadBytes, 4);
  head[6] = protocol;
  head[7] = TIME_TO_LIVE;
  head.set(ipToBytes(source), 8);
  head.set(ipToBytes(destination), 24);
  return head;
}

/** One whole packet; what stands behind its end is left off. A fragment is none, nor one whose header is damaged. */
export function decodeIp(bytes: Buffer): DecodedIp {
  const version = (bytes[0] ?? 0) >> 4;
  if (version !== 4 && version !== 6) return { ok: false, reason: `IP version ${version}` };
  if (bytes.length < IP_HEADER_BYTES[version]) return { ok: false, reason: `${bytes.length} bytes are no IP header` };
  return version === 4 ? read4(bytes) : read6(bytes);
}

function read4(bytes: Buffer): DecodedIp {
  const headerBytes = ((bytes[0] ?? 0) & 15) * 4;
  const length = bytes.readUInt16BE(2);
  if (headerBytes < IP_HEADER_BYTES[4]) return { ok: false, reason: `a header of ${headerBytes} bytes` };
  const fault = lengthFault(length, headerBytes, bytes.length);
  if (fault !== undefined) return { ok: false, reason: fault };
  if (internetChecksum(bytes.subarray(0, headerBytes)) !== 0) return { ok: false, reason: 'wrong header checksum' };
  if ((bytes.readUInt16BE(6) & MORE_FRAGMENTS_OR_OFFSET) !== 0) return { ok: false, reason: 'a fragment' };
  return part(4, bytes, { at: 12, protocol: bytes[9] ?? 0, from: headerBytes, to: length });
}

function read6(bytes: Buffer): DecodedIp {
  const length = IP_HEADER_BYTES[6] + bytes.readUInt16BE(4);
  const fault = lengthFault(length, IP_HEADER_BYTES[6], bytes.length);
  if (fault !== undefined) return { ok: false, reason: fault };
  return part(6, bytes, { at: 8, protocol: bytes[6] ?? 0, from: IP_HEADER_BYTES[6], to: length });
}

function lengthFault(length: number, headerBytes: number, present: number): string | undefined {
  if (length < headerBytes) return `length ${length} ends within the header`;
  return length > present ? `length ${length}, but ${present} bytes are there` : undefined;
}

/** @param at of the source address, which the destination follows */
function part(
  family: Family,
  bytes: Buffer,
  { at, protocol, from, to }: { at: number; protocol: number; from: number; to: number },
): DecodedIp {
  const size = family === 4 ? 4 : 16;
  const source = ipFromBytes(bytes, at, size);
  const destination = ipFromBytes(bytes, at + size, size);
  if (source === undefined || destination === undefined) return { ok: false, reason: 'no addresses' };
  return { ok: true, family, source, destination, protocol, payload: bytes.subarray(from, to) };
}
