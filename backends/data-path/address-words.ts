/** Addresses as the core takes them: words, little-endian, of bytes in network order. */
import {
  type Family,
  familyOf,
  type Ip,
  ipToBytes,
  type Mac,
  macToBytes,
  networkAddress,
  type Prefix,
  prefixLength,
} from '../../config/address.ts';

export type Words = readonly [number, number, number, number];

/** IPv4's are in the first word. */
export function addressWords(ip: Ip): Words {
  const bytes = Buffer.alloc(16);
  ipToBytes(ip).copy(bytes);
  return [bytes.readInt32LE(0), bytes.readInt32LE(4), bytes.readInt32LE(8), bytes.readInt32LE(12)];
}

/** Family, length, and the network's address. */
export function prefixWords(prefix: Prefix): readonly [Family, number, ...Words] {
  return [familyOf(prefix), prefixLength(prefix), ...addressWords(networkAddress(prefix))];
}

/** Four bytes, and two. */
export function macWords(mac: Mac): readonly [number, number] {
  const bytes = macToBytes(mac);
  return [bytes.readInt32LE(0), bytes.readUInt16LE(4)];
}
