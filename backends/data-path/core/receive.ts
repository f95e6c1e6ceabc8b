/**
 * Datagrams from the socket become frames for the device. The kernel may have put several of one size into one message
 * (UDP_GRO). Outer ECN marks are not looked at: RFC 6040 would need them told with every message.
 */
import { fold, pseudoSum, transportSumRight } from './bytes.ts';
import {
  count,
  RX_BYTES,
  RX_HEADER,
  RX_LENGTH,
  RX_MESSAGES_TAKEN,
  RX_OVERSIZED,
  RX_PACKETS,
  RX_SHORT,
  RX_TRUNCATED,
  RX_TTL,
} from './counters.ts';
import { passes, passesUnread, takeSender } from './filter.ts';
import {
  RX_BUFFER_BYTES,
  RX_BUFFER_IOVS,
  RX_BUFFERS,
  RX_CONTROLS,
  RX_MESSAGES,
  RX_MESSAGES_MAX,
  RX_NAMES,
} from './layout.ts';
import { load8, load16, load32, store32 } from './memory.ts';
import { addFrame, addPacket, addPartial, finishWrites, resetWrites, roomForWrites } from './merge.ts';
import {
  CONTROL_BYTES,
  IOV_BYTES,
  MESSAGE_BYTES,
  MSG_TRUNC,
  segmentSize,
  storeControl,
  storeIov,
  storeMessage,
} from './messages.ts';
import { ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, TCP, TCP_CHECKSUM, UDP, UDP_CHECKSUM } from './protocols.ts';
import { linkBytes, mtu, tunnelBytes } from './settings.ts';
import { lowerTtl } from './ttl.ts';
import { tunnelFault } from './tunnel-header.ts';
import { faultOf, packetBytes } from './validity.ts';
import { GSO_NONE, GSO_TCP4, GSO_TCP6 } from './virtio-header.ts';

const NAME_BYTES = 32;
/** Of an ARP packet with addresses of 6 and 4 bytes, and where it says so, as it is loaded. */
const ARP_BYTES = 28;
const ARP_LENGTHS = 0x0406;

/** The message at hand, how many there are, and how much of the one at hand is done. */
let message = 0;
let messages = 0;
let done = 0;
let packets = 0;
let bytesTaken = 0;

function bufferOf(index: i32): i32 {
  // The IP header comes to lie at a multiple of four.
  return RX_BUFFERS + index * RX_BUFFER_BYTES + (linkBytes === 0 ? 0 : 2);
}

/** Makes the first `n` messages at RX_MESSAGES ready to be received into. */
export function rxPrepare(n: i32): void {
  for (let i = 0; i < n && i < RX_MESSAGES_MAX; i++) {
    const at = RX_MESSAGES + i * MESSAGE_BYTES;
    const iov = RX_BUFFER_IOVS + i * IOV_BYTES;
    const room = RX_BUFFER_BYTES - (linkBytes === 0 ? 0 : 2);
    storeMessage(at, RX_NAMES + i * NAME_BYTES, NAME_BYTES, iov, 1);
    storeControl(at, RX_CONTROLS + i * CONTROL_BYTES, CONTROL_BYTES);
    storeIov(iov, bufferOf(i), room);
    store32(at + 56, 0);
  }
}

/** Takes the first `n` messages. The count of writes at RX_WRITES; then `rxMore()` until it says 0. */
export function rx(n: i32): i32 {
  message = 0;
  messages = n < RX_MESSAGES_MAX ? n : RX_MESSAGES_MAX;
  done = 0;
  count(RX_MESSAGES_TAKEN, messages);
  return rxMore();
}

/** What found no room before. The writes told before are void. */
export function rxMore(): i32 {
  resetWrites();
  while (message < messages) {
    if (!takeMessage()) break;
    message++;
    done = 0;
  }
  count(RX_PACKETS, packets);
  count(RX_BYTES, bytesTaken);
  packets = 0;
  bytesTaken = 0;
  return finishWrites();
}

/** Whether all of it found room. */
function takeMessage(): boolean {
  const at = RX_MESSAGES + message * MESSAGE_BYTES;
  const bytes = load32(at + 56);
  if ((load32(at + 48) & MSG_TRUNC) !== 0 || bytes < 0 || bytes > RX_BUFFER_BYTES - (linkBytes === 0 ? 0 : 2)) {
    count(RX_TRUNCATED, 1);
    return true;
  }
  if (done === 0 && bytes === 0) {
    count(RX_SHORT, 1);
    return true;
  }
  const told = segmentSize(at, RX_CONTROLS + message * CONTROL_BYTES);
  const size = told <= 0 || told > bytes ? bytes : told;
  const start = bufferOf(message);
  takeSender(RX_NAMES + message * NAME_BYTES, load32(at + 8));
  while (done < bytes) {
    if (!roomForWrites()) return false;
    const left = bytes - done;
    takeDatagram(start + done, left < size ? left : size);
    done += size;
  }
  return true;
}

function takeDatagram(at: i32, bytes: i32): void {
  if (tunnelBytes === 0) {
    if (load8(at) >>> 4 === 4) takePacket(at, bytes, 4);
    else count(RX_HEADER, 1);
    return;
  }
  const fault = tunnelFault(at, bytes);
  if (fault !== 0) {
    count(fault, 1);
    return;
  }
  takeFrame(at + tunnelBytes, bytes - tunnelBytes);
}

function takeFrame(frame: i32, bytes: i32): void {
  const type = load16(frame + 12);
  if (type === ETHERTYPE_IPV4) takePacket(frame, bytes, 4);
  else if (type === ETHERTYPE_IPV6) takePacket(frame, bytes, 6);
  else if (bytes - linkBytes > mtu) count(RX_OVERSIZED, 1);
  else if (type === ETHERTYPE_ARP ? passesAsArp(frame, bytes) : passesUnread(false)) {
    note(bytes);
    addFrame(frame, bytes);
  }
}

/** RFC 826: of IPv4 on Ethernet, whose sender is a source as any other. Linux drops every other ARP packet. */
function passesAsArp(frame: i32, bytes: i32): boolean {
  const arp = frame + linkBytes;
  const whole = bytes >= linkBytes + ARP_BYTES;
  const ofIpv4 = whole && load16(arp + 2) === ETHERTYPE_IPV4 && load16(arp + 4) === ARP_LENGTHS;
  return ofIpv4 ? passes(4, arp + 14) : passesUnread(true);
}

function note(bytes: i32): void {
  packets++;
  bytesTaken += bytes;
}

function takePacket(frame: i32, bytes: i32, version: i32): void {
  const ip = frame + linkBytes;
  const fault = faultOf(ip, version, bytes - linkBytes, linkBytes === 0);
  if (fault !== 0) {
    count(fault, 1);
    return;
  }
  const length = packetBytes;
  if (!passes(version, version === 4 ? ip + 12 : ip + 8)) return;
  const plain = version === 4 ? load8(ip) === 0x45 && (load16(ip + 6) & 0xff3f) === 0 : true;
  const protocol = version === 4 ? load8(ip + 9) : load8(ip + 6);
  if (tunnelBytes !== 0 && plain && isPartial(ip, version, protocol, length)) {
    takePartial(frame, ip, version, protocol, length);
    return;
  }
  if (length > mtu) {
    count(RX_OVERSIZED, 1);
    return;
  }
  if (tunnelBytes === 0 && !lowerTtl(ip)) {
    count(RX_TTL, 1);
    return;
  }
  note(linkBytes + length);
  if (plain) addPacket(frame, linkBytes + length, version, protocol);
  else addFrame(frame, linkBytes + length);
}

/**
 * A kernel peer on veth or virtio leaves the inner checksum partial, and an inner TCP super-packet whole: the receiver's
 * kernel would know, but the socket does not tell. The field then holds the pseudo-header's sum; one right checksum in
 * 65536 looks the same.
 */
function isPartial(ip: i32, version: i32, protocol: i32, length: i32): boolean {
  const start = version === 4 ? 20 : 40;
  if (protocol === TCP && length < start + 20) return false;
  if (protocol === UDP && length < start + 8) return false;
  if (protocol !== TCP && protocol !== UDP) return false;
  const field = load16(ip + start + (protocol === TCP ? TCP_CHECKSUM : UDP_CHECKSUM));
  if (field !== fold(pseudoSum(ip, version, protocol, length - start))) return false;
  return !transportSumRight(ip, version, protocol, ip + start, length - start);
}

/** A whole UDP super-packet is dropped: nothing tells where its datagrams end. */
function takePartial(frame: i32, ip: i32, version: i32, protocol: i32, length: i32): void {
  const start = version === 4 ? 20 : 40;
  const tcp = protocol === TCP;
  const headers = start + (tcp ? (load8(ip + start + 12) >>> 4) << 2 : 8);
  const bytes = linkBytes + length;
  const offset = tcp ? TCP_CHECKSUM : UDP_CHECKSUM;
  if (tcp && (headers < start + 20 || headers > length)) {
    count(RX_LENGTH, 1);
    return;
  }
  if (length > mtu && (!tcp || headers >= mtu)) {
    count(RX_OVERSIZED, 1);
    return;
  }
  note(bytes);
  if (length <= mtu) {
    addPartial(frame, bytes, GSO_NONE, 0, 0, linkBytes + start, offset);
    return;
  }
  const type = version === 4 ? GSO_TCP4 : GSO_TCP6;
  addPartial(frame, bytes, type, mtu - headers, linkBytes + headers, linkBytes + start, offset);
}
