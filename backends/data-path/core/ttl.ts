/** RFC 791 and RFC 8200: a router takes one off. The C proxy does at both ends. */
import { load8, load16, store8, store16 } from './memory.ts';

/** Takes one off; false where nothing would be left. The packet's header is whole. */
export function lowerTtl(ip: i32, version: i32): boolean {
  const at = version === 4 ? ip + 8 : ip + 7;
  const ttl = load8(at);
  if (ttl <= 1) return false;
  store8(at, ttl - 1);
  if (version === 4) {
    // RFC 1624: the TTL is the low byte of its half, as halves are loaded here.
    const sum = load16(ip + 10) + 1;
    store16(ip + 10, (sum & 0xffff) + (sum >>> 16));
  }
  return true;
}
