/**
 * Frames from the device become datagrams. Each is read into its place with its virtio_net_hdr in front; where a VXLAN header
 * is needed, it is written over the last bytes of that.
 */
import { fold } from './bytes.ts';
import {
  count,
  TX_BYTES,
  TX_MULTICAST,
  TX_NO_ROUTE,
  TX_OFFLOAD,
  TX_PACKETS,
  TX_SHORT,
  TX_TTL,
  TX_UNKNOWN_MAC,
} from './counters.ts';
import { peerOfAddress, peerOfMac } from './destination.ts';
import { addDatagram, finishMessages, resetMessages, roomForSegments, splitMessage } from './group.ts';
import { TX_FRAMES, TX_FRAMES_END } from './layout.ts';
import { load8, load16, load32, store16, sum } from './memory.ts';
import { resetSegments, roomForHeaders, SEGMENTS_MAX, segmentFrame } from './segment.ts';
import { linkBytes, tunnelBytes } from './settings.ts';
import { lowerTtl } from './ttl.ts';
import { storeTunnelHeader } from './tunnel-header.ts';
import { replies, replyUnreachable, resetReplies } from './unreachable.ts';
import { GSO_ECN, GSO_NONE, NEEDS_CSUM, VIRTIO_BYTES } from './virtio-header.ts';

/** A virtio header, an Ethernet header and the largest IP packet, rounded up. */
export const TX_FRAME_MAX = 65600;
/** A batch ends here, or it would keep incoming packets waiting. */
const BATCH_BYTES = 131072;

/** Where the next frame is read to. */
let next = TX_FRAMES;
/** Bytes read in this batch, whatever became of them. */
let seen = 0;
let packets = 0;
let bytesSent = 0;

function place(from: i32): i32 {
  // The IP header comes to lie at a multiple of four.
  return ((from + 15) & ~15) + (linkBytes === 0 ? 6 : 8);
}

/** Begins a batch. What the one before made is void. */
export function txReset(): void {
  next = place(TX_FRAMES);
  seen = 0;
  packets = 0;
  bytesSent = 0;
  resetMessages();
  resetSegments();
  resetReplies();
}

/** Where the next frame is to be read to. */
export function txPointer(): i32 {
  return next;
}

/** How many bytes may be read there; 0: the batch is full. */
export function txRoomBytes(): i32 {
  const room = seen < BATCH_BYTES && next + TX_FRAME_MAX <= TX_FRAMES_END;
  return room && roomForSegments(SEGMENTS_MAX) && roomForHeaders() ? TX_FRAME_MAX : 0;
}

/** Takes the frame of `bytes`, virtio header included, that was read to `txPointer()`. */
export function tx(bytes: i32): void {
  const header = next;
  const frame = header + VIRTIO_BYTES;
  const length = bytes - VIRTIO_BYTES;
  if (bytes > TX_FRAME_MAX || txRoomBytes() === 0) return;
  seen += bytes;
  const peer = linkBytes === 0 ? routed(frame, length) : switched(frame, length);
  if (peer === 0) return;
  const type = load8(header + 1) & ~GSO_ECN;
  const sent =
    type === GSO_NONE ? single(header, frame, length, peer) : segmentFrame(header, type, frame, length, peer);
  if (sent === 0) {
    count(TX_OFFLOAD, 1);
    return;
  }
  next = place(header + bytes);
  packets += sent;
  bytesSent += length;
}

/** Ends the batch: the count of messages at TX_MESSAGES. */
export function txDone(): i32 {
  count(TX_PACKETS, packets);
  count(TX_BYTES, bytesSent);
  packets = 0;
  bytesSent = 0;
  seen = BATCH_BYTES;
  return finishMessages();
}

/** Of the batch: how many ICMP errors are to be written to the device, as REPLY_WRITES says. */
export function txReplies(): i32 {
  return replies();
}

/** Takes message `index` apart, for a path that does not take it whole: the count of messages at TX_SPLIT. */
export function txSplit(index: i32): i32 {
  return splitMessage(index);
}

/** The peer that a packet is routed to, its TTL lowered; 0: it is dropped, and counted. */
function routed(ip: i32, length: i32): i32 {
  const version = length > 0 ? load8(ip) >>> 4 : 0;
  if (!(version === 4 && length >= 20) && !(version === 6 && length >= 40)) return dropped(TX_SHORT);
  // Nobody takes IPv6: the kernel's own router solicitations, mostly.
  if (version === 6) return dropped(load8(ip + 24) === 255 ? TX_MULTICAST : TX_NO_ROUTE);
  if (load8(ip + 16) >= 224) return dropped(TX_MULTICAST);
  const peer = peerOfAddress(ip + 16);
  if (peer === 0) {
    replyUnreachable(ip, length);
    return dropped(TX_NO_ROUTE);
  }
  return lowerTtl(ip) ? peer : dropped(TX_TTL);
}

/** The peer that a frame is addressed to. */
function switched(frame: i32, length: i32): i32 {
  if (length < linkBytes) return dropped(TX_SHORT);
  if ((load8(frame) & 1) !== 0) return dropped(TX_MULTICAST);
  const peer = peerOfMac(load32(frame), load16(frame + 4));
  return peer === 0 ? dropped(TX_UNKNOWN_MAC) : peer;
}

function dropped(counter: i32): i32 {
  count(counter, 1);
  return 0;
}

/** One packet as it is, its checksum completed; 0 where the kernel's word about it makes no sense. */
function single(header: i32, frame: i32, length: i32, peer: i32): i32 {
  if ((load8(header) & NEEDS_CSUM) !== 0) {
    const start = load16(header + 6);
    const at = start + load16(header + 8);
    if (start >= length || at + 2 > length) return 0;
    const checksum = ~fold(sum(frame + start, length - start)) & 0xffff;
    // As the kernel: 0 would say that UDP has none.
    store16(frame + at, checksum === 0 ? 0xffff : checksum);
  }
  if (tunnelBytes !== 0) storeTunnelHeader(frame - tunnelBytes);
  addDatagram(peer, frame - tunnelBytes, length + tunnelBytes, 0, 0);
  return 1;
}
