/**
 * Echo request and reply: RFC 792 for IPv4, RFC 4443 section 4 for IPv6.
 *
 *   │ type u8 │ code u8, 0 │ checksum u16 │ id u16 │ sequence u16 │ payload … │
 *     8 asks, 0 answers; ICMPv6: 128 and 129
 *
 * ICMPv6 sums a pseudo header too, RFC 8200 section 8.1:
 *
 *   │ source 16 │ destination 16 │ length u32 │ zero 3 │ 58 │
 */
import { type Family, familyOf, ipToBytes } from '../../config/address.ts';
import { internetChecksum } from './internet-checksum.ts';
import type { IpHeader } from './ip-header.ts';

export const ECHO_HEADER_BYTES = 8;
/** IANA's numbers of ICMP and ICMPv6. */
export const ICMP = { 4: 1, 6: 58 } as const;

const REQUEST = { 4: 8, 6: 128 } as const;
const REPLY = { 4: 0, 6: 129 } as const;

/** Of an ICMP message: between whom it goes. */
type Ends = Pick<IpHeader, 'source' | 'destination'>;

export interface Echo {
  readonly kind: 'request' | 'reply';
  /** 16 bits each. */
  readonly id: number;
  readonly sequence: number;
  readonly payload: Buffer;
}

export type DecodedEcho = ({ readonly ok: true } & Echo) | { readonly ok: false; readonly reason: string };

export function encodeEcho({ kind, id, sequence, payload }: Echo, ends: Ends): Buffer {
  const family = familyOf(ends.source);
  const header = Buffer.allocUnsafe(ECHO_HEADER_BYTES);
  header.writeUInt32BE((kind === 'request' ? REQUEST : REPLY)[family] * 0x1000000, 0);
  header.writeUInt16BE(id, 4);
  header.writeUInt16BE(sequence, 6);
  const message = Buffer.concat([header, payload]);
  message.writeUInt16BE(checksum(message, family, ends), 2);
  return message;
}

/** An ICMP message that is an echo or its answer. The payload is a view of it. */
export function decodeEcho(message: Buffer, ends: Ends): DecodedEcho {
  if (message.length < ECHO_HEADER_BYTES) return { ok: false, reason: `${message.length} bytes are no echo` };
  const family = familyOf(ends.source);
  const [type, code] = message;
  if ((type !== REQUEST[family] && type !== REPLY[family]) || code !== 0) {
    return { ok: false, reason: `ICMP type ${type}, code ${code}` };
  }
  if (checksum(message, family, ends) !== 0) return { ok: false, reason: 'wrong ICMP checksum' };
  return {
    ok: true,
    kind: type === REQUEST[family] ? 'request' : 'reply',
    id: message.readUInt16BE(4),
    sequence: message.readUInt16BE(6),
    payload: message.subarray(ECHO_HEADER_BYTES),
  };
}

function checksum(message: Buffer, family: Family, { source, destination }: Ends): number {
  if (family === 4) return internetChecksum(message);
  const rest = Buffer.alloc(8);
  rest.writeUInt32BE(message.length, 0);
  rest[7] = ICMP[6];
  return internetChecksum(ipToBytes(source), ipToBytes(destination), rest, message);
}
