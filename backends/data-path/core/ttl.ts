/** RFC 791: a router takes one off. The C proxy does at both ends. */
import { load8, load16, store8, store16 } from './memory.ts';

/** Takes one off; false where nothing would be left. The packet's header is whole. */
export function lowerTtl(ip: i32): boolean {
  const ttl = load8(ip + 8);
  if (ttl <= 1) return false;
  store8(ip + 8, ttl - 1);
  // RFC 1624: the TTL is the low byte of its half, as halves are loaded here.
  const sum = load16(ip + 10) + 1;
  store16(ip + 10, (sum & 0xffff) + (sum >>> 16));
  return true;
}
