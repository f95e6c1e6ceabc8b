/**
 * Addresses of devices, linux/if_addr.h (RTM_NEWADDR 20, RTM_DELADDR 21, RTM_GETADDR 22).
 *
 *   ifaddrmsg | family u8 | prefix length u8 | flags u8 | scope u8 | index u32 |
 *   IFA_ADDRESS 1 (the peer's on point-to-point devices), IFA_LOCAL 2 (ours; IPv6 leaves it out where both are one),
 *   IFA_FLAGS 8 u32 (all of the flags; the header has room for eight)
 */
import { bitsOf, type Family, familyOf, type Ip } from '../../config/address.ts';
import type { Address, AddressInfo, Operation } from '../state.ts';
import {
  AF_INET,
  AF_INET6,
  addressFamily,
  eachAttribute,
  flagsOf,
  ipAt,
  type Message,
  type NameOf,
  u32At,
} from './message.ts';
import type { MessageWriter } from './message-writer.ts';

export const RTM_NEWADDR = 20;
export const RTM_DELADDR = 21;
const RTM_GETADDR = 22;

const IFADDRMSG_BYTES = 8;
const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
const IFA_FLAGS = 8;
const IFA_F_TEMPORARY = 0x01;
const IFA_F_NODAD = 0x02;
const IFA_F_DEPRECATED = 0x20;
const IFA_F_PERMANENT = 0x80;

/** IPv6 goes without duplicate address detection: a lease has one holder, and the address is to work at once. */
export function encodeAddress(writer: MessageWriter, verb: Operation['verb'], address: Address, index: number): void {
  const isSet = verb !== 'delete';
  writer.begin(isSet ? RTM_NEWADDR : RTM_DELADDR, flagsOf(verb));
  writer.u8(addressFamily(address.ip));
  writer.u8(address.length);
  writer.u16(isSet && familyOf(address.ip) === 6 ? IFA_F_NODAD : 0);
  writer.u32(index);
  writer.attributeIp(IFA_LOCAL, address.ip);
  writer.attributeIp(IFA_ADDRESS, address.ip);
  writer.end();
}

export function encodeAddressDump(writer: MessageWriter, flags: number, family: Family): void {
  writer.begin(RTM_GETADDR, flags);
  writer.u32(family === 4 ? AF_INET : AF_INET6);
  writer.u32(0);
  writer.end();
}

/** The address in an RTM_NEWADDR or RTM_DELADDR; undefined where it is malformed or its device unknown. */
export function decodeAddress(message: Message, nameOf: NameOf): AddressInfo | undefined {
  const { body } = message;
  if (body.length < IFADDRMSG_BYTES) return undefined;
  let flags = body[2] ?? 0;
  let local: Ip | undefined;
  let peer: Ip | undefined;
  const whole = eachAttribute(body, IFADDRMSG_BYTES, body.length, (type, at, length) => {
    if (type === IFA_LOCAL) local = ipAt(body, at, length);
    else if (type === IFA_ADDRESS) peer = ipAt(body, at, length);
    else if (type === IFA_FLAGS) flags = u32At(body, at, length);
  });
  const ip = local ?? peer;
  const length = body[1] ?? 0;
  if (!whole || ip === undefined || length > bitsOf(familyOf(ip))) return undefined;
  const dev = nameOf(body.readUInt32LE(4));
  if (dev === undefined) return undefined;
  return {
    dev,
    ip,
    length,
    permanent: (flags & IFA_F_PERMANENT) !== 0,
    temporary: (flags & IFA_F_TEMPORARY) !== 0,
    deprecated: (flags & IFA_F_DEPRECATED) !== 0,
  };
}
