/**
 * Nexthop objects, linux/nexthop.h, since Linux 5.3 (RTM_NEWNEXTHOP 104, RTM_DELNEXTHOP 105, RTM_GETNEXTHOP 106).
 *
 *   nhmsg | family u8 | scope u8 | protocol u8 | 0 u8 | flags u32 |
 *   NHA_ID 1 u32, NHA_OIF 5 u32, NHA_GATEWAY 6; groups (NHA_GROUP 2) and blackholes (4) have no gateway
 */
import type { Ip } from '../../config/address.ts';
import { type Nexthop, type Observed, type Operation, TARTAN_PROTOCOL } from '../state.ts';
import { addressFamily, eachAttribute, flagsOf, ipAt, type Message, type NameOf, u32At } from './message.ts';
import type { MessageWriter } from './message-writer.ts';

export const RTM_NEWNEXTHOP = 104;
export const RTM_DELNEXTHOP = 105;
const RTM_GETNEXTHOP = 106;

const NHMSG_BYTES = 8;
const NHA_ID = 1;
const NHA_OIF = 5;
const NHA_GATEWAY = 6;
const RTNH_F_ONLINK = 4;

export function encodeNexthop(writer: MessageWriter, verb: Operation['verb'], nexthop: Nexthop, index: number): void {
  if (verb === 'delete') {
    encodeNexthopDelete(writer, nexthop.id);
    return;
  }
  writer.begin(RTM_NEWNEXTHOP, flagsOf(verb));
  writer.u32(addressFamily(nexthop.gateway) | (TARTAN_PROTOCOL << 16));
  writer.u32(nexthop.onlink ? RTNH_F_ONLINK : 0);
  writer.attributeU32(NHA_ID, nexthop.id);
  writer.attributeIp(NHA_GATEWAY, nexthop.gateway);
  writer.attributeU32(NHA_OIF, index);
  writer.end();
}

function encodeNexthopDelete(writer: MessageWriter, id: number): void {
  writer.begin(RTM_DELNEXTHOP, flagsOf('delete'));
  writer.u32(0);
  writer.u32(0);
  writer.attributeU32(NHA_ID, id);
  writer.end();
}

export function encodeNexthopDump(writer: MessageWriter, flags: number): void {
  writer.begin(RTM_GETNEXTHOP, flags);
  writer.u32(0);
  writer.u32(0);
  writer.end();
}

/** The id in an RTM_NEWNEXTHOP or RTM_DELNEXTHOP, of whatever kind; undefined where it is malformed. */
export function nexthopIdIn(message: Message): number | undefined {
  const { body } = message;
  let id: number | undefined;
  eachAttribute(body, NHMSG_BYTES, body.length, (type, at, length) => {
    if (type === NHA_ID && length === 4) id = u32At(body, at, length);
  });
  return id;
}

/** A nexthop with a gateway; undefined for any other, for malformed ones and where the device is unknown. */
export function decodeNexthop(message: Message, nameOf: NameOf): Observed<Nexthop> | undefined {
  const { body } = message;
  if (body.length < NHMSG_BYTES) return undefined;
  let id = 0;
  let gateway: Ip | undefined;
  let dev: string | undefined;
  const whole = eachAttribute(body, NHMSG_BYTES, body.length, (type, at, length) => {
    if (type === NHA_ID) id = u32At(body, at, length);
    else if (type === NHA_GATEWAY) gateway = ipAt(body, at, length);
    else if (type === NHA_OIF) dev = nameOf(u32At(body, at, length));
  });
  if (!whole || id === 0 || gateway === undefined || dev === undefined) return undefined;
  const onlink = (body.readUInt32LE(4) & RTNH_F_ONLINK) !== 0;
  return { object: { kind: 'nexthop', id, dev, gateway, onlink }, protocol: body[2] ?? 0, permanent: false };
}
