/**
 * Neighbours (ARP, ND) and forwarding entries of VXLAN devices, linux/neighbour.h (RTM_NEWNEIGH 28, RTM_DELNEIGH 29,
 * RTM_GETNEIGH 30): one message for both, told apart by the family.
 *
 *   ndmsg | family u8 | 0 u8 | 0 u16 | index i32 | state u16 | flags u8 | type u8 |
 *   NDA_DST 1 (neighbour: its address; forwarding entry: the outer destination), NDA_LLADDR 2,
 *   NDA_PORT 6, NDA_VNI 7 (only where they differ from the device's own), NDA_IFINDEX 8
 *
 * A forwarding entry has family AF_BRIDGE and NTF_SELF; without the flag it is the bridge's that the device is in.
 */
import { type Family, familyOf, type Ip, type Mac, macFromBytes, notUnicast } from '../../config/address.ts';
import type { FdbEntry, Neighbour, Observed, Operation } from '../state.ts';
import {
  AF_BRIDGE,
  AF_INET,
  AF_INET6,
  addressFamily,
  eachAttribute,
  flagsOf,
  ipAt,
  type Message,
  type NameOf,
} from './message.ts';
import type { MessageWriter } from './message-writer.ts';

export const RTM_NEWNEIGH = 28;
export const RTM_DELNEIGH = 29;
const RTM_GETNEIGH = 30;

const NDMSG_BYTES = 12;
const NDA_DST = 1;
const NDA_LLADDR = 2;
const NDA_PORT = 6;
const NDA_VNI = 7;
const NDA_IFINDEX = 8;
const NUD_NOARP = 0x40;
const NUD_PERMANENT = 0x80;
const NTF_SELF = 0x02;
const NO_MAC = macFromBytes(Buffer.alloc(6));

function begin(writer: MessageWriter, verb: Operation['verb'], family: number, index: number, flags: number): void {
  writer.begin(verb === 'delete' ? RTM_DELNEIGH : RTM_NEWNEIGH, flagsOf(verb));
  writer.u32(family);
  writer.u32(index);
  writer.u16(NUD_PERMANENT);
  writer.u16(flags);
}

export function encodeNeighbour(writer: MessageWriter, verb: Operation['verb'], entry: Neighbour, index: number): void {
  begin(writer, verb, addressFamily(entry.ip), index, 0);
  writer.attributeIp(NDA_DST, entry.ip);
  if (verb !== 'delete') writer.attributeMac(NDA_LLADDR, entry.mac);
  writer.end();
}

/** A delete names no destination: one that differs from the kernel's would remove nothing. */
export function encodeFdbEntry(writer: MessageWriter, verb: Operation['verb'], entry: FdbEntry, index: number): void {
  begin(writer, verb, AF_BRIDGE, index, NTF_SELF);
  writer.attributeMac(NDA_LLADDR, entry.mac);
  if (verb !== 'delete') writer.attributeIp(NDA_DST, entry.dst);
  writer.end();
}

export function encodeNeighbourDump(writer: MessageWriter, flags: number, family: Family, index: number): void {
  writer.begin(RTM_GETNEIGH, flags);
  writer.u32(family === 4 ? AF_INET : AF_INET6);
  writer.u32(0);
  writer.u32(0);
  writer.attributeU32(NDA_IFINDEX, index);
  writer.end();
}

/**
 * The kernel keeps to one device only if the header is an ifinfomsg (16 bytes, the index in place), a form that it
 * accepts for old bridge(8) programs; a plain ndmsg with an index dumps every device. Not on a strict socket.
 */
export function encodeFdbDump(writer: MessageWriter, flags: number, index: number): void {
  writer.begin(RTM_GETNEIGH, flags);
  writer.u32(AF_BRIDGE);
  writer.u32(index);
  writer.u32(0);
  writer.u32(0);
  writer.end();
}

interface Entry {
  readonly family: number;
  readonly dev: string;
  readonly state: number;
  readonly flags: number;
  readonly ip: Ip | undefined;
  readonly mac: Mac | undefined;
  /** It leads to another port or VNI than the device's own. */
  readonly detour: boolean;
}

function decodeEntry(message: Message, nameOf: NameOf): Entry | undefined {
  const { body } = message;
  if (body.length < NDMSG_BYTES) return undefined;
  let ip: Ip | undefined;
  let mac: Mac | undefined;
  let detour = false;
  const whole = eachAttribute(body, NDMSG_BYTES, body.length, (type, at, length) => {
    if (type === NDA_DST) ip = ipAt(body, at, length);
    else if (type === NDA_LLADDR && length === 6) mac = macFromBytes(body, at);
    else if (type === NDA_PORT || type === NDA_VNI) detour = true;
  });
  const dev = nameOf(body.readInt32LE(4));
  if (!whole || dev === undefined) return undefined;
  return { family: body[0] ?? 0, dev, state: body.readUInt16LE(8), flags: body[10] ?? 0, ip, mac, detour };
}

/** The device that an RTM_…NEIGH is about, 0 for malformed ones: tells what need not be decoded. */
export function neighbourDevice(message: Message): number {
  return message.body.length < NDMSG_BYTES ? 0 : message.body.readInt32LE(4);
}

/**
 * An ARP or ND entry; undefined for any other. An entry without an address yet (incomplete, failed) has an all-zero
 * MAC. NUD_NOARP counts as made by hand only for unicast: for multicast it is the kernel's own.
 */
export function decodeNeighbour(message: Message, nameOf: NameOf): Observed<Neighbour> | undefined {
  if (message.body[0] === AF_BRIDGE) return undefined;
  const entry = decodeEntry(message, nameOf);
  if (entry?.ip === undefined || addressFamily(entry.ip) !== entry.family) return undefined;
  const { dev, ip, mac = NO_MAC, state } = entry;
  const byHand = (state & NUD_PERMANENT) !== 0 || ((state & NUD_NOARP) !== 0 && notUnicast(ip) === undefined);
  return { object: { kind: 'neighbour', dev, ip, mac }, protocol: 0, permanent: byHand };
}

/**
 * A forwarding entry of the device itself; undefined for any other. The MACs of all zeros and of groups may lead to
 * several destinations: there is one such object for each, of one key, and one deletion for all. An entry that leads to
 * another port or VNI is reported as not permanent, so that nobody takes it for the one that a peer needs.
 */
export function decodeFdbEntry(message: Message, nameOf: NameOf): Observed<FdbEntry> | undefined {
  const entry = decodeEntry(message, nameOf);
  if (entry === undefined || entry.family !== AF_BRIDGE || (entry.flags & NTF_SELF) === 0) return undefined;
  const { dev, ip, mac, state } = entry;
  if (ip === undefined || mac === undefined) return undefined;
  const permanent = (state & (NUD_PERMANENT | NUD_NOARP)) !== 0 && !entry.detour;
  return { object: { kind: 'fdb', dev, mac, dst: ip }, protocol: 0, permanent };
}

/** Whether the entry's family is the one asked for: a kernel that knows no filter answers with everything. */
export function isOfFamily(entry: Observed<Neighbour>, family: Family): boolean {
  return familyOf(entry.object.ip) === family;
}
