/** Byte order, and Internet checksums (RFC 1071) on little-endian halves: the sum's order is that of its bytes. */
import { load16, sum } from './memory.ts';

export function swap16(value: i32): i32 {
  return ((value & 0xff) << 8) | ((value >>> 8) & 0xff);
}

export function swap32(value: i32): i32 {
  return ((value & 0xff) << 24) | ((value & 0xff00) << 8) | ((value >>> 8) & 0xff00) | ((value >>> 24) & 0xff);
}

/** To 16 bits; 0 only where `total` is. */
export function fold(total: i32): i32 {
  const once = (total & 0xffff) + (total >>> 16);
  return ((once & 0xffff) + (once >>> 16)) & 0xffff;
}

/** Whether `a` is less than `b`, both taken as unsigned. */
export function unsignedLess(a: i32, b: i32): boolean {
  return (a ^ -0x80000000) < (b ^ -0x80000000);
}

/** Unfolded sum of a TCP or UDP pseudo-header (RFC 9293 3.1, RFC 8200 8.1). */
export function pseudoSum(ip: i32, version: i32, protocol: i32, length: i32): i32 {
  const addresses = version === 4 ? sumOfHalves(ip + 12, 8) : sumOfHalves(ip + 8, 32);
  return addresses + (protocol << 8) + swap16(length);
}

/** Unfolded, of a few bytes: an even number below 64 KiB. */
export function sumOfHalves(at: i32, length: i32): i32 {
  let total = 0;
  for (let i = 0; i < length; i += 2) total += load16(at + i);
  return total;
}

/** Whether TCP's or UDP's checksum is right. */
export function transportSumRight(ip: i32, version: i32, protocol: i32, transport: i32, length: i32): boolean {
  return fold(pseudoSum(ip, version, protocol, length) + sum(transport, length)) === 0xffff;
}
