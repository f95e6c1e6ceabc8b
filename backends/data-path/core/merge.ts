/**
 * Packets that follow each other in one flow are handed to the device as one: the kernel then has a tenth of the work.
 * Only with the packet just before; nothing is held beyond its batch. Inner checksums of both are verified first, since
 * the device is told that they are right.
 *
 * A write is an array of iovecs: virtio_net_hdr, the first packet, then the payload of each other one.
 */
import { fold, pseudoSum, sumOfHalves, swap16, swap32, transportSumRight } from './bytes.ts';
import { count, RX_WRITES_MADE } from './counters.ts';
import { RX_HEADERS, RX_IOVS, RX_IOVS_MAX, RX_WRITES, RX_WRITES_MAX, ZERO_HEADER } from './layout.ts';
import { load8, load16, load32, store8, store16, store32 } from './memory.ts';
import { IOV_BYTES, storeIov } from './messages.ts';
import { ACK, PSH, TCP, TCP_CHECKSUM, UDP, UDP_CHECKSUM } from './protocols.ts';
import { linkBytes, mergingTcp, mergingUdp } from './settings.ts';
import { GSO_TCP4, GSO_TCP6, GSO_UDP, storeVirtio, VIRTIO_BYTES } from './virtio-header.ts';

const DONT_FRAGMENT = 0x40;
const PACKETS_MAX = 64;
const BYTES_MAX = 65535;

const UNKNOWN = 0;
const RIGHT = 1;
const WRONG = 2;

let writes = 0;
let iovs = 0;

/** The packet that others may be added to. */
let pending = false;
let mergeable = false;
let frame = 0;
let frameBytes = 0;
let ip = 0;
let transport = 0;
let version = 0;
let protocol = 0;
let headers = 0;
let size = 0;
let firstIov = 0;
let packets = 0;
let total = 0;
let nextSequence = 0;
let lastId = 0;
let pushed = false;
let checksum = UNKNOWN;

export function resetWrites(): void {
  writes = 0;
  iovs = 0;
  pending = false;
}

export function roomForWrites(): boolean {
  return writes + 4 <= RX_WRITES_MAX && iovs + 8 <= RX_IOVS_MAX;
}

/** The count of writes. */
export function finishWrites(): i32 {
  flush();
  count(RX_WRITES_MADE, writes);
  return writes;
}

/** A frame that is written as it is. */
export function addFrame(at: i32, bytes: i32): void {
  flush();
  open(at, bytes);
  pending = true;
  mergeable = false;
  flush();
}

/** A frame with what the device is to know of it: the checksum is partial; of `segment` bytes, if not 0. */
export function addPartial(
  at: i32,
  bytes: i32,
  type: i32,
  segment: i32,
  headerBytes: i32,
  start: i32,
  offset: i32,
): void {
  flush();
  const header = RX_HEADERS + (writes << 4);
  storeVirtio(header, type, headerBytes, segment, start, offset);
  open(at, bytes);
  storeIov(RX_IOVS + firstIov * IOV_BYTES, header, VIRTIO_BYTES);
  pending = true;
  mergeable = false;
  flush();
}

/** A sound packet without IP options or extension headers, not a fragment: it may join the one before, or be joined. */
export function addPacket(at: i32, bytes: i32, ipVersion: i32, ipProtocol: i32): void {
  const ipAt = at + linkBytes;
  const headerBytes = mergeableHeaders(at, bytes, ipVersion, ipProtocol);
  if (headerBytes === 0) {
    addFrame(at, bytes);
    return;
  }
  if (joins(at, bytes, ipAt, ipVersion, ipProtocol, headerBytes)) {
    join(at, bytes, ipAt, headerBytes);
    return;
  }
  flush();
  open(at, bytes);
  pending = true;
  mergeable = true;
  ip = ipAt;
  version = ipVersion;
  protocol = ipProtocol;
  headers = headerBytes;
  transport = ipAt + (ipVersion === 4 ? 20 : 40);
  size = bytes - headerBytes;
  total = size;
  packets = 1;
  pushed = false;
  checksum = UNKNOWN;
  noteLast(ipAt, size);
}

/** Bytes in front of the payload, or 0: it is not to be merged. */
function mergeableHeaders(at: i32, bytes: i32, ipVersion: i32, ipProtocol: i32): i32 {
  const start = linkBytes + (ipVersion === 4 ? 20 : 40);
  if (ipProtocol === TCP && mergingTcp && bytes > start + 20) {
    const headerBytes = start + ((load8(at + start + 12) >>> 4) << 2);
    const plain = (load8(at + start + 13) & ~PSH) === ACK;
    return plain && headerBytes >= start + 20 && headerBytes < bytes ? headerBytes : 0;
  }
  if (ipProtocol === UDP && mergingUdp && bytes > start + 8) {
    const whole = swap16(load16(at + start + 4)) === bytes - start;
    return whole && load16(at + start + UDP_CHECKSUM) !== 0 ? start + 8 : 0;
  }
  return 0;
}

/** Remembers of the packet that was added last what the next one is held against. */
function noteLast(ipAt: i32, payload: i32): void {
  if (version === 4) lastId = swap16(load16(ipAt + 4));
  if (protocol !== TCP) return;
  const tcp = ipAt + (transport - ip);
  nextSequence = (swap32(load32(tcp + 4)) + payload) | 0;
  if ((load8(tcp + 13) & PSH) !== 0) {
    pushed = true;
    mergeable = false;
  }
}

function joins(at: i32, bytes: i32, ipAt: i32, ipVersion: i32, ipProtocol: i32, headerBytes: i32): boolean {
  if (!pending || !mergeable || ipProtocol !== protocol || ipVersion !== version || headerBytes !== headers)
    return false;
  const payload = bytes - headerBytes;
  if (payload > size || packets >= PACKETS_MAX || headers - linkBytes + total + payload > BYTES_MAX) return false;
  if (linkBytes !== 0 && !sameLink(at)) return false;
  if (ipVersion === 4 ? !sameIp4(ipAt) : !sameIp6(ipAt)) return false;
  const other = ipAt + (transport - ip);
  if (load32(other) !== load32(transport)) return false;
  if (ipProtocol === TCP && !sameTcp(other, headerBytes - (other - at))) return false;
  return bothRight(ipAt, other, bytes - (other - at));
}

function sameLink(at: i32): boolean {
  return load32(at) === load32(frame) && load32(at + 4) === load32(frame + 4) && load32(at + 8) === load32(frame + 8);
}

function sameIp4(ipAt: i32): boolean {
  const same =
    load16(ipAt) === load16(ip) &&
    load16(ipAt + 6) === load16(ip + 6) &&
    load16(ipAt + 8) === load16(ip + 8) &&
    load32(ipAt + 12) === load32(ip + 12) &&
    load32(ipAt + 16) === load32(ip + 16);
  // RFC 6864: the id of what is never fragmented means nothing.
  return same && ((load8(ipAt + 6) & DONT_FRAGMENT) !== 0 || swap16(load16(ipAt + 4)) === ((lastId + 1) & 0xffff));
}

function sameIp6(ipAt: i32): boolean {
  if (load32(ipAt) !== load32(ip) || load16(ipAt + 6) !== load16(ip + 6)) return false;
  for (let i = 8; i < 40; i += 4) if (load32(ipAt + i) !== load32(ip + i)) return false;
  return true;
}

/** The next bytes of the same conversation, with the same acknowledgement, window and options. */
function sameTcp(other: i32, headerBytes: i32): boolean {
  if (swap32(load32(other + 4)) !== nextSequence || load32(other + 8) !== load32(transport + 8)) return false;
  if (load8(other + 12) !== load8(transport + 12) || load16(other + 14) !== load16(transport + 14)) return false;
  if (load16(other + 18) !== load16(transport + 18)) return false;
  for (let i = 20; i < headerBytes; i += 4) if (load32(other + i) !== load32(transport + i)) return false;
  return true;
}

function bothRight(ipAt: i32, other: i32, bytes: i32): boolean {
  if (checksum === UNKNOWN) {
    const first = frameBytes - (transport - frame);
    checksum = transportSumRight(ip, version, protocol, transport, first) ? RIGHT : WRONG;
  }
  return checksum === RIGHT && transportSumRight(ipAt, version, protocol, other, bytes);
}

function join(at: i32, bytes: i32, ipAt: i32, headerBytes: i32): void {
  const payload = bytes - headerBytes;
  storeIov(RX_IOVS + iovs * IOV_BYTES, at + headerBytes, payload);
  iovs++;
  packets++;
  total += payload;
  if (payload < size) mergeable = false;
  noteLast(ipAt, payload);
}

/** Begins a write with a header that says nothing. */
function open(at: i32, bytes: i32): void {
  frame = at;
  frameBytes = bytes;
  packets = 1;
  firstIov = iovs;
  storeIov(RX_IOVS + iovs * IOV_BYTES, ZERO_HEADER, VIRTIO_BYTES);
  storeIov(RX_IOVS + (iovs + 1) * IOV_BYTES, at, bytes);
  iovs += 2;
}

function flush(): void {
  if (!pending) return;
  pending = false;
  if (packets > 1) describeMerged();
  store32(RX_WRITES + (writes << 3), RX_IOVS + firstIov * IOV_BYTES);
  store32(RX_WRITES + (writes << 3) + 4, iovs - firstIov);
  writes++;
}

/** The first packet's headers become those of all. */
function describeMerged(): void {
  const tcp = protocol === TCP;
  const bytes = headers - (transport - frame) + total;
  if (version === 4) {
    store16(ip + 2, swap16(20 + bytes));
    store16(ip + 10, 0);
    store16(ip + 10, ~fold(sumOfHalves(ip, 20)) & 0xffff);
  } else store16(ip + 4, swap16(bytes));
  if (!tcp) store16(transport + 4, swap16(bytes));
  else if (pushed) store8(transport + 13, load8(transport + 13) | PSH);
  const offset = tcp ? TCP_CHECKSUM : UDP_CHECKSUM;
  store16(transport + offset, fold(pseudoSum(ip, version, protocol, bytes)));
  const header = RX_HEADERS + (writes << 4);
  const type = tcp ? (version === 4 ? GSO_TCP4 : GSO_TCP6) : GSO_UDP;
  storeVirtio(header, type, headers, size, transport - frame, offset);
  storeIov(RX_IOVS + firstIov * IOV_BYTES, header, VIRTIO_BYTES);
}
