/**
 * Network devices, linux/if_link.h and rtnetlink.h (RTM_NEWLINK 16, RTM_DELLINK 17, RTM_GETLINK 18).
 *
 *   ifinfomsg | family u8 | 0 u8 | type u16 | index i32 | flags u32 | change u32 |
 *   IFLA_ADDRESS 1, IFLA_IFNAME 3, IFLA_MTU 4, IFLA_LINKINFO 18 { IFLA_INFO_KIND 1, IFLA_INFO_DATA 2 }
 *   tun's data: IFLA_TUN_TYPE 3 u8 (1 tun, 2 tap), _PERSIST 6 u8, _MULTI_QUEUE 7 u8; none before Linux 4.17
 *   vxlan's data: IFLA_VXLAN_ID 1 u32, _LINK 3 u32, _LOCAL 4 or _LOCAL6 17, _LEARNING 7 u8, _PORT 15 u16 in network
 *   order, _GBP 23 (present or not)
 */
import { familyOf, type Ip, type Mac, macFromBytes } from '../../config/address.ts';
import type { LinkInfo, TunAttributes, VxlanAttributes, VxlanLink } from '../state.ts';
import {
  AF_UNSPEC,
  eachAttribute,
  ipAt,
  type Message,
  type NameOf,
  NLM_F_CREATE,
  NLM_F_EXCL,
  NLM_F_REQUEST,
  textAt,
  u32At,
} from './message.ts';
import type { MessageWriter } from './message-writer.ts';

export const RTM_NEWLINK = 16;
export const RTM_DELLINK = 17;
const RTM_GETLINK = 18;

const IFINFOMSG_BYTES = 16;
const IFF_UP = 0x1;
const IFF_LOOPBACK = 0x8;
const IFF_NOARP = 0x80;

const IFLA_ADDRESS = 1;
const IFLA_IFNAME = 3;
const IFLA_MTU = 4;
const IFLA_MASTER = 10;
const IFLA_LINKINFO = 18;
const IFLA_EXT_MASK = 29;
const IFLA_LINK_NETNSID = 37;
const RTEXT_FILTER_SKIP_STATS = 8;
const IFLA_INFO_KIND = 1;
const IFLA_INFO_DATA = 2;

const TUN_TYPE = 3;
const TUN_PERSIST = 6;
const TUN_MULTI_QUEUE = 7;
const TYPE_TAP = 2;

const VXLAN_ID = 1;
const VXLAN_GROUP = 2;
const VXLAN_LINK = 3;
const VXLAN_LOCAL = 4;
const VXLAN_LEARNING = 7;
const VXLAN_PROXY = 11;
const VXLAN_RSC = 12;
const VXLAN_L2MISS = 13;
const VXLAN_L3MISS = 14;
const VXLAN_PORT = 15;
const VXLAN_GROUP6 = 16;
const VXLAN_LOCAL6 = 17;
const VXLAN_GBP = 23;
const VXLAN_COLLECT_METADATA = 25;
/** What changes how a device forwards and what we never set; flags count only where they are not zero. */
const VXLAN_ODD = new Set([
  VXLAN_GROUP,
  VXLAN_GROUP6,
  VXLAN_PROXY,
  VXLAN_RSC,
  VXLAN_L2MISS,
  VXLAN_L3MISS,
  VXLAN_COLLECT_METADATA,
]);

/** What is to be changed on a device that exists. */
export interface LinkChange {
  readonly mac?: Mac;
  readonly mtuBytes?: number;
  readonly up?: boolean;
  readonly vxlan?: VxlanChange;
}

export interface VxlanChange {
  readonly local?: Ip;
  /** Name of the underlay device. */
  readonly lower?: string;
  readonly learning?: boolean;
}

/** A device with a MAC resolves neighbours once it is up. */
function writeHeader(writer: MessageWriter, index: number, up: boolean | undefined, hasMac = true): void {
  writer.u32(0);
  writer.u32(index);
  writer.u32(up ? IFF_UP : 0);
  writer.u32(up === undefined ? 0 : up && hasMac ? IFF_UP | IFF_NOARP : IFF_UP);
}

function writeName(writer: MessageWriter, name: string): void {
  writer.attributeBytes(IFLA_IFNAME, Buffer.from(`${name}\0`));
}

/** A new vxlan device. Made and set up in one message: where the second fails, the kernel takes the first back. */
export function encodeNewVxlan(writer: MessageWriter, link: VxlanLink, lowerIndex: number): void {
  writer.begin(RTM_NEWLINK, NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL);
  writeHeader(writer, 0, link.up ? true : undefined);
  writer.attributeMac(IFLA_ADDRESS, link.mac);
  writer.attributeU32(IFLA_MTU, link.mtuBytes);
  writeName(writer, link.name);
  writeKind(writer, () => writeVxlan(writer, link.vxlan, lowerIndex));
  writer.end();
}

function writeKind(writer: MessageWriter, writeData: () => void): void {
  writer.attributeNest(IFLA_LINKINFO, () => {
    writer.attributeBytes(IFLA_INFO_KIND, Buffer.from('vxlan'));
    writer.attributeNest(IFLA_INFO_DATA, writeData);
  });
}

function writeVxlan(writer: MessageWriter, vxlan: VxlanAttributes, lowerIndex: number): void {
  const port = Buffer.alloc(2);
  port.writeUInt16BE(vxlan.port);
  writer.attributeU32(VXLAN_LINK, lowerIndex);
  if (vxlan.gbp) writer.attributeBytes(VXLAN_GBP, Buffer.alloc(0));
  writer.attributeU32(VXLAN_ID, vxlan.vni);
  writeLocal(writer, vxlan.local);
  writer.attributeU8(VXLAN_LEARNING, vxlan.learning ? 1 : 0);
  writer.attributeBytes(VXLAN_PORT, port);
}

function writeLocal(writer: MessageWriter, local: Ip): void {
  writer.attributeIp(familyOf(local) === 4 ? VXLAN_LOCAL : VXLAN_LOCAL6, local);
}

/** @param hasMac whether the device is one with a MAC. */
export function encodeLinkChange(
  writer: MessageWriter,
  index: number,
  change: Omit<LinkChange, 'vxlan'>,
  hasMac = true,
): void {
  const { mac, mtuBytes, up } = change;
  writer.begin(RTM_NEWLINK, NLM_F_REQUEST);
  writeHeader(writer, index, up, hasMac);
  if (mac !== undefined) writer.attributeMac(IFLA_ADDRESS, mac);
  if (mtuBytes !== undefined) writer.attributeU32(IFLA_MTU, mtuBytes);
  if (up) writer.attributeU32(IFLA_MASTER, 0);
  writer.end();
}

/** Of a device that is down: older kernels rename no other. */
export function encodeLinkRename(writer: MessageWriter, index: number, name: string): void {
  writer.begin(RTM_NEWLINK, NLM_F_REQUEST);
  writeHeader(writer, index, undefined);
  writeName(writer, name);
  writer.end();
}

/**
 * A message of its own: the kernel refuses one that changes the MTU as well ("Cannot change mtu").
 * @param lowerIndex of `change.lower`, where that is changed.
 */
export function encodeVxlanChange(
  writer: MessageWriter,
  index: number,
  change: VxlanChange,
  lowerIndex: number | undefined,
): void {
  writer.begin(RTM_NEWLINK, NLM_F_REQUEST);
  writeHeader(writer, index, undefined);
  writeKind(writer, () => {
    if (lowerIndex !== undefined) writer.attributeU32(VXLAN_LINK, lowerIndex);
    if (change.local !== undefined) writeLocal(writer, change.local);
    if (change.learning !== undefined) writer.attributeU8(VXLAN_LEARNING, change.learning ? 1 : 0);
  });
  writer.end();
}

/** Bits of a VNI that there are: the kernel refuses one beyond. */
const IMPOSSIBLE_VNI = 1 << 24;

/** Asks whether the kernel makes vxlan devices: it makes none of this, whatever it knows. */
export function encodeVxlanQuestion(writer: MessageWriter): void {
  writer.begin(RTM_NEWLINK, NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL);
  writeHeader(writer, 0, undefined);
  writeKind(writer, () => writer.attributeU32(VXLAN_ID, IMPOSSIBLE_VNI));
  writer.end();
}

export function encodeLinkDelete(writer: MessageWriter, name: string): void {
  writer.begin(RTM_DELLINK, NLM_F_REQUEST);
  writeHeader(writer, 0, undefined);
  writeName(writer, name);
  writer.end();
}

/** Every device, without its counters, which are the most of a message. */
export function encodeLinkDump(writer: MessageWriter, flags: number): void {
  writer.begin(RTM_GETLINK, flags);
  writeHeader(writer, 0, undefined);
  writer.attributeU32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
  writer.end();
}

/**
 * The device in an RTM_NEWLINK or RTM_DELLINK. Undefined for malformed ones and for those of other families than
 * AF_UNSPEC, which look alike: a port that leaves a bridge is an RTM_DELLINK of family AF_BRIDGE.
 */
export function decodeLink(message: Message, nameOf: NameOf): LinkInfo | undefined {
  const { body } = message;
  if (body.length < IFINFOMSG_BYTES || body[0] !== AF_UNSPEC) return undefined;
  const flags = body.readUInt32LE(8);
  const found = { name: '', mtuBytes: 0, type: '', foreign: false, isPort: false };
  let mac: Mac | undefined;
  let data: readonly [number, number] | undefined;
  const whole = eachAttribute(body, IFINFOMSG_BYTES, body.length, (type, at, length) => {
    if (type === IFLA_IFNAME) found.name = textAt(body, at, length);
    else if (type === IFLA_MTU) found.mtuBytes = u32At(body, at, length);
    else if (type === IFLA_ADDRESS && length === 6) mac = macFromBytes(body, at);
    else if (type === IFLA_MASTER) found.isPort = u32At(body, at, length) !== 0;
    else if (type === IFLA_LINK_NETNSID) found.foreign = true;
    else if (type === IFLA_LINKINFO) {
      eachAttribute(body, at, at + length, (inner, innerAt, innerLength) => {
        if (inner === IFLA_INFO_KIND) found.type = textAt(body, innerAt, innerLength);
        else if (inner === IFLA_INFO_DATA) data = [innerAt, innerAt + innerLength];
      });
    }
  });
  if (!whole || found.name === '') return undefined;
  const isVxlan = found.type === 'vxlan' && data !== undefined && !found.foreign;
  const tun = found.type === 'tun' ? decodeTun(body, data, mac !== undefined) : undefined;
  const isUsed = (isVxlan || tun !== undefined) && found.isPort;
  const isDeaf = (isVxlan || tun?.isTap === true) && (flags & IFF_NOARP) !== 0;
  return {
    index: body.readInt32LE(4),
    name: found.name,
    mac,
    mtuBytes: found.mtuBytes,
    up: (flags & IFF_UP) !== 0 && !isUsed && !isDeaf,
    loopback: (flags & IFF_LOOPBACK) !== 0,
    type: found.type,
    vxlan: isVxlan && data !== undefined ? decodeVxlan(body, data[0], data[1], nameOf) : undefined,
    ...(tun && { tun }),
  };
}

/** A kernel that says nothing of it leaves the MAC to tell, and whoever opens the device to find out the rest. */
function decodeTun(body: Buffer, data: readonly [number, number] | undefined, hasMac: boolean): TunAttributes {
  const found = { isTap: hasMac, isPersistent: true, isMultiQueue: false };
  const [start, end] = data ?? [0, 0];
  eachAttribute(body, start, end, (type, at, length) => {
    if (type === TUN_TYPE && length > 0) found.isTap = body[at] === TYPE_TAP;
    else if (type === TUN_PERSIST && length > 0) found.isPersistent = body[at] !== 0;
    else if (type === TUN_MULTI_QUEUE && length > 0) found.isMultiQueue = body[at] !== 0;
  });
  return found;
}

/** Undefined for a device that is not of the simple kind that we make: no local address, a group, external control. */
function decodeVxlan(body: Buffer, start: number, end: number, nameOf: NameOf): VxlanAttributes | undefined {
  const found = { vni: -1, port: 0, learning: false, gbp: false, odd: false };
  let local: Ip | undefined;
  let lower: string | undefined;
  eachAttribute(body, start, end, (type, at, length) => {
    if (type === VXLAN_ID) found.vni = u32At(body, at, length);
    else if (type === VXLAN_LINK) lower = nameOf(u32At(body, at, length));
    else if (type === VXLAN_LOCAL || type === VXLAN_LOCAL6) local = ipAt(body, at, length);
    else if (type === VXLAN_LEARNING) found.learning = length > 0 && body[at] !== 0;
    else if (type === VXLAN_PORT && length >= 2) found.port = body.readUInt16BE(at);
    else if (type === VXLAN_GBP) found.gbp = true;
    else if (VXLAN_ODD.has(type) && body.subarray(at, at + length).some((byte) => byte !== 0)) found.odd = true;
  });
  if (found.vni < 0 || found.odd || local === undefined || lower === undefined) return undefined;
  return { vni: found.vni, port: found.port, local, lower, learning: found.learning, gbp: found.gbp };
}
