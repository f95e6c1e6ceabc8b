/**
 * Cuts what TCP or UDP gave the device whole into packets, as the kernel's GSO would. Headers are made anew for each, in
 * an arena; the payload stays where it was read to.
 */
import { fold, pseudoSum, sumOfHalves, swap16, swap32 } from './bytes.ts';
import { addDatagram } from './group.ts';
import { TX_FRAMES, TX_HEADERS } from './layout.ts';
import { copy, load8, load16, load32, store8, store16, store32, sum } from './memory.ts';
import { CWR, ETHERTYPE_IPV4, ETHERTYPE_IPV6, FIN, PSH, TCP, TCP_CHECKSUM, UDP, UDP_CHECKSUM } from './protocols.ts';
import { linkBytes, tunnelBytes } from './settings.ts';
import { storeTunnelHeader } from './tunnel-header.ts';
import { GSO_TCP4, GSO_TCP6, GSO_UDP, NEEDS_CSUM } from './virtio-header.ts';

/** A full frame of the smallest segments that TCP makes is less. */
export const SEGMENTS_MAX = 2048;
/** Ethernet, IP and TCP with all options, and some IPv6 extension headers. */
const HEADERS_MAX = 256;
const HEADERS_STEP_MAX = 272;

/** Of the last packet only. */
const FIN_PSH = FIN | PSH;

/** Where the next headers are made. */
let arena = TX_HEADERS;

export function resetSegments(): void {
  arena = TX_HEADERS;
}

export function roomForHeaders(): boolean {
  return arena + SEGMENTS_MAX * HEADERS_STEP_MAX <= TX_FRAMES;
}

/** The IP version of a super-packet whose headers are what they are said to be, or 0. */
function versionOf(header: i32, type: i32, frame: i32, length: i32): i32 {
  const start = load16(header + 6);
  const ip = frame + linkBytes;
  if ((load8(header) & NEEDS_CSUM) === 0 || start < linkBytes + 20 || start + 8 > length) return 0;
  const version = load8(ip) >>> 4;
  if (linkBytes !== 0 && load16(frame + 12) !== (version === 4 ? ETHERTYPE_IPV4 : ETHERTYPE_IPV6)) return 0;
  if (version === 4) {
    const protocol = type === GSO_TCP4 ? TCP : UDP;
    const whole = load8(ip + 9) === protocol && linkBytes + ((load8(ip) & 15) << 2) === start;
    return whole && type !== GSO_TCP6 ? 4 : 0;
  }
  return version === 6 && start >= linkBytes + 40 && type !== GSO_TCP4 ? 6 : 0;
}

/** How many packets it became; 0: what the virtio header says of it makes no sense. */
export function segmentFrame(header: i32, type: i32, frame: i32, length: i32, peer: i32): i32 {
  if (type !== GSO_TCP4 && type !== GSO_TCP6 && type !== GSO_UDP) return 0;
  const version = versionOf(header, type, frame, length);
  if (version === 0) return 0;
  const tcp = type !== GSO_UDP;
  const start = load16(header + 6);
  const size = load16(header + 4);
  if (tcp && start + 20 > length) return 0;
  const transportBytes = tcp ? (load8(frame + start + 12) >>> 4) << 2 : 8;
  const headers = start + transportBytes;
  if (headers > length || headers > HEADERS_MAX || (tcp && transportBytes < 20)) return 0;
  const payload = length - headers;
  if (size === 0 || payload === 0 || payload > size * SEGMENTS_MAX) return 0;
  const ip = frame + linkBytes;
  if (tcp) segmentTcp(frame, ip, version, start, headers, payload, size, peer);
  else segmentUdp(frame, ip, version, start, headers, payload, size, peer);
  return 1 + (((payload - 1) / size) | 0);
}

/** Clears the fields that differ between packets. The sum of the rest of an IPv4 header. */
function prepareIp(ip: i32, version: i32): i32 {
  if (version === 6) {
    store16(ip + 4, 0);
    return 0;
  }
  store16(ip + 2, 0);
  store16(ip + 4, 0);
  store16(ip + 10, 0);
  return sumOfHalves(ip, (load8(ip) & 15) << 2);
}

function storeIp(ip: i32, version: i32, bytes: i32, id: i32, constant: i32): void {
  if (version === 6) {
    store16(ip + 4, swap16(bytes - 40));
    return;
  }
  const total = swap16(bytes);
  const number = swap16(id & 0xffff);
  store16(ip + 2, total);
  store16(ip + 4, number);
  store16(ip + 10, ~fold(constant + total + number) & 0xffff);
}

/** The place for a packet's headers, the tunnel's made and the others copied from `frame`. */
function makeHeaders(frame: i32, headers: i32): i32 {
  // The IP header comes to lie at a multiple of four.
  const at = arena + (tunnelBytes === 0 ? 0 : 2);
  arena += (tunnelBytes + headers + 17) & ~15;
  if (tunnelBytes !== 0) storeTunnelHeader(at);
  copy(at + tunnelBytes, frame, headers);
  return at;
}

function segmentTcp(
  frame: i32,
  ip: i32,
  version: i32,
  start: i32,
  headers: i32,
  payload: i32,
  size: i32,
  peer: i32,
): void {
  const transport = frame + start;
  const transportBytes = headers - start;
  const flags = load8(transport + 13);
  let id = version === 4 ? swap16(load16(ip + 4)) : 0;
  let sequence = swap32(load32(transport + 4));
  const ipConstant = prepareIp(ip, version);
  store32(transport + 4, 0);
  store8(transport + 13, 0);
  store16(transport + TCP_CHECKSUM, 0);
  const constant = pseudoSum(ip, version, TCP, 0) + sumOfHalves(transport, transportBytes);
  let at = frame + headers;
  let left = payload;
  let shown = flags & ~FIN_PSH;
  while (left > 0) {
    const bytes = left < size ? left : size;
    const made = makeHeaders(frame, headers);
    const copied = made + tunnelBytes;
    storeIp(copied + linkBytes, version, headers - linkBytes + bytes, id, ipConstant);
    if (left <= size) shown |= flags & FIN_PSH;
    const number = swap32(sequence);
    store32(copied + start + 4, number);
    store8(copied + start + 13, shown);
    const total =
      constant + swap16(transportBytes + bytes) + (number & 0xffff) + (number >>> 16) + (shown << 8) + sum(at, bytes);
    store16(copied + start + TCP_CHECKSUM, ~fold(total) & 0xffff);
    addDatagram(peer, made, tunnelBytes + headers, at, bytes);
    at += bytes;
    left -= bytes;
    sequence = (sequence + bytes) | 0;
    id++;
    shown &= ~CWR;
  }
}

function segmentUdp(
  frame: i32,
  ip: i32,
  version: i32,
  start: i32,
  headers: i32,
  payload: i32,
  size: i32,
  peer: i32,
): void {
  const transport = frame + start;
  let id = version === 4 ? swap16(load16(ip + 4)) : 0;
  const ipConstant = prepareIp(ip, version);
  store32(transport + 4, 0);
  const constant = pseudoSum(ip, version, UDP, 0) + sumOfHalves(transport, 8);
  let at = frame + headers;
  let left = payload;
  while (left > 0) {
    const bytes = left < size ? left : size;
    const made = makeHeaders(frame, headers);
    const copied = made + tunnelBytes;
    storeIp(copied + linkBytes, version, headers - linkBytes + bytes, id, ipConstant);
    const length = swap16(8 + bytes);
    store16(copied + start + 4, length);
    const checksum = ~fold(constant + 2 * length + sum(at, bytes)) & 0xffff;
    store16(copied + start + UDP_CHECKSUM, checksum === 0 ? 0xffff : checksum);
    addDatagram(peer, made, tunnelBytes + headers, at, bytes);
    at += bytes;
    left -= bytes;
    id++;
  }
}
