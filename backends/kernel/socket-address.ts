/**
 * Addresses of UDP sockets as the kernel has them, ip(7) and ipv6(7). The family is in the machine's own byte order,
 * all else in network order.
 *
 *   sockaddr_in    | family u16 | port u16 | address 4 | zero 8 |                    16 bytes
 *   sockaddr_in6   | family u16 | port u16 | flow u32  | address 16 | scope u32 |    28 bytes
 */
import { familyOf, type Ip, ipFromBytes, ipToBytes } from '../../config/address.ts';

export const AF_INET = 2;
export const AF_INET6 = 10;

const SOCKADDR_IN_BYTES = 16;
const SOCKADDR_IN6_BYTES = 28;

export function socketAddress(ip: Ip, port: number): Buffer {
  const isV4 = familyOf(ip) === 4;
  const bytes = Buffer.alloc(isV4 ? SOCKADDR_IN_BYTES : SOCKADDR_IN6_BYTES);
  bytes.writeUInt16LE(isV4 ? AF_INET : AF_INET6, 0);
  bytes.writeUInt16BE(port, 2);
  ipToBytes(ip).copy(bytes, isV4 ? 4 : 8);
  return bytes;
}

/** undefined: too short, or of another family. An IPv4-mapped address is the IPv4 one. */
export function parseSocketAddress(bytes: Buffer): { readonly ip: Ip; readonly port: number } | undefined {
  if (bytes.length < 2) return undefined;
  const family = bytes.readUInt16LE(0);
  const size = family === AF_INET ? SOCKADDR_IN_BYTES : SOCKADDR_IN6_BYTES;
  if ((family !== AF_INET && family !== AF_INET6) || bytes.length < size) return undefined;
  const ip = family === AF_INET ? ipFromBytes(bytes, 4, 4) : ipFromBytes(bytes, 8, 16);
  return ip && { ip, port: bytes.readUInt16BE(2) };
}
