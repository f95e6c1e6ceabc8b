/**
 * Netlink messages, linux/netlink.h. All integers are the host's (little-endian on every platform that the netlink
 * package is built for), addresses and ports are in network order. Messages and attributes are padded to 4 bytes.
 *
 *   nlmsghdr  | length u32 | type u16 | flags u16 | sequence u32 | port u32 |  family header | attribute* |
 *   nlattr    | length u16 | type u16 | value, length - 4 bytes | padding |
 *   nlmsgerr  | -errno i32 | header of the request | (the request, unless CAPPED) | attribute*, if ACK_TLVS |
 *
 * The two high bits of an attribute's type are flags (NLA_F_NESTED, NLA_F_NET_BYTEORDER).
 */
import { familyOf, type Ip, ipFromBytes } from '../../config/address.ts';

export const NLMSG_ERROR = 2;
export const NLMSG_DONE = 3;

export const NLM_F_REQUEST = 0x1;
export const NLM_F_ACK = 0x4;
export const NLM_F_DUMP_INTR = 0x10;
const NLM_F_CAPPED = 0x100;
const NLM_F_ACK_TLVS = 0x200;
export const NLM_F_DUMP = 0x300;
const NLM_F_REPLACE = 0x100;
export const NLM_F_EXCL = 0x200;
export const NLM_F_CREATE = 0x400;

export const AF_UNSPEC = 0;
export const AF_INET = 2;
export const AF_BRIDGE = 7;
export const AF_INET6 = 10;

const HEADER_BYTES = 16;
const NLMSGERR_ATTR_MSG = 1;
const TYPE_MASK = 0x3fff;

/** One message as received, without its header. */
export interface Message {
  readonly type: number;
  readonly flags: number;
  readonly seq: number;
  /** Whose request it answers, or whose change it tells of; 0: the kernel's own. */
  readonly port: number;
  readonly body: Buffer;
}

/** The kernel's refusal of one message, or of a whole dump. */
export interface Failure {
  /** Positive. */
  readonly errno: number;
  readonly detail: string;
}

/** The name of the device with that index. */
export type NameOf = (index: number) => string | undefined;

export function addressFamily(value: Ip): number {
  return familyOf(value) === 4 ? AF_INET : AF_INET6;
}

/** NLM_F_… that a verb of an Operation means for the objects that the kernel replaces in place. */
export function flagsOf(verb: 'set' | 'create' | 'delete'): number {
  if (verb === 'delete') return NLM_F_REQUEST;
  return NLM_F_REQUEST | NLM_F_CREATE | (verb === 'set' ? NLM_F_REPLACE : NLM_F_EXCL);
}

/** The messages of a datagram, up to the first whose length leads outside of it. */
export function parseMessages(datagram: Buffer): Message[] {
  const messages: Message[] = [];
  let at = 0;
  while (at + HEADER_BYTES <= datagram.length) {
    const length = datagram.readUInt32LE(at);
    if (length < HEADER_BYTES || at + length > datagram.length) break;
    messages.push({
      type: datagram.readUInt16LE(at + 4),
      flags: datagram.readUInt16LE(at + 6),
      seq: datagram.readUInt32LE(at + 8),
      port: datagram.readUInt32LE(at + 12),
      body: datagram.subarray(at + HEADER_BYTES, at + length),
    });
    at += aligned(length);
  }
  return messages;
}

/**
 * Calls `visit` with type, offset and length of the value of each attribute between `start` and `end`.
 * @returns false where a length leads outside: what was visited until then is not to be trusted.
 */
export function eachAttribute(
  body: Buffer,
  start: number,
  end: number,
  visit: (type: number, at: number, length: number) => void,
): boolean {
  if (start > end || end > body.length) return false;
  let at = start;
  while (at + 4 <= end) {
    const length = body.readUInt16LE(at);
    if (length < 4 || at + length > end) return false;
    visit(body.readUInt16LE(at + 2) & TYPE_MASK, at + 4, length - 4);
    at += aligned(length);
  }
  return true;
}

/** A u32 attribute, 0 where it is shorter. */
export function u32At(body: Buffer, at: number, length: number): number {
  return length >= 4 ? body.readUInt32LE(at) : 0;
}

export function ipAt(body: Buffer, at: number, length: number): Ip | undefined {
  return ipFromBytes(body, at, length);
}

/** Text up to the first zero byte. */
export function textAt(body: Buffer, at: number, length: number): string {
  const zero = body.indexOf(0, at);
  return body.toString('utf8', at, zero < 0 || zero > at + length ? at + length : zero);
}

/** The error that an NLMSG_ERROR or NLMSG_DONE carries; undefined for an acknowledgement, a plain end, and nonsense. */
export function failureIn(message: Message): Failure | undefined {
  const { body, flags } = message;
  const errno = body.length >= 4 ? -body.readInt32LE(0) : 0;
  if (errno <= 0) return undefined;
  let detail = '';
  if (message.type === NLMSG_ERROR && (flags & NLM_F_ACK_TLVS) !== 0 && body.length >= 4 + HEADER_BYTES) {
    const echoed = (flags & NLM_F_CAPPED) === 0 ? body.readUInt32LE(4) : HEADER_BYTES;
    eachAttribute(body, 4 + aligned(echoed), body.length, (type, at, length) => {
      if (type === NLMSGERR_ATTR_MSG) detail = textAt(body, at, length);
    });
  }
  return { errno, detail };
}

/** The length with its padding. No bit operation: a length from outside may need all 32 bits. */
function aligned(length: number): number {
  return Math.ceil(length / 4) * 4;
}
