/**
 * Datagrams become messages. Those that follow each other to one peer and are of one size (the last may be shorter)
 * share a message, which the kernel cuts again (UDP_SEGMENT).
 */
import { count as increase, TX_MESSAGES_MADE } from './counters.ts';
import {
  PEERS,
  TX_CONTROLS,
  TX_IOVS,
  TX_IOVS_MAX,
  TX_MESSAGES,
  TX_MESSAGES_MAX,
  TX_NAMES,
  TX_SPLIT,
} from './layout.ts';
import { copy, load16, load32 } from './memory.ts';
import { CONTROL_BYTES, IOV_BYTES, MESSAGE_BYTES, storeIov, storeMessage, storeSegmentSize } from './messages.ts';
import { addressBytes, grouping, loadPointer } from './settings.ts';

/** What an IPv6 packet of the largest size holds; an IPv4 one holds a little more. */
const TOTAL_MAX = 65487;
/** UDP_MAX_SEGMENTS, of the kernels that allow least. */
const SEGMENTS_MAX = 64;

const NAME_BYTES = 28;

let messages = 0;
let iovs = 0;
/** Of the message that the next datagram may join. */
let joinable = false;
let peer = 0;
let size = 0;
let total = 0;
let datagrams = 0;
let firstIov = 0;

export function resetMessages(): void {
  messages = 0;
  iovs = 0;
  joinable = false;
  datagrams = 0;
}

/** Whether a frame of `segments` finds room, whatever becomes of it. */
export function roomForSegments(segments: i32): boolean {
  return messages + segments <= TX_MESSAGES_MAX && iovs + 2 * segments <= TX_IOVS_MAX;
}

/** A datagram of two pieces; the second may be empty. */
export function addDatagram(to: i32, first: i32, firstBytes: i32, second: i32, secondBytes: i32): void {
  const bytes = firstBytes + secondBytes;
  const joins = joinable && to === peer && bytes <= size && total + bytes <= TOTAL_MAX && datagrams < SEGMENTS_MAX;
  if (joins) {
    datagrams++;
    total += bytes;
    if (bytes < size) joinable = false;
  } else {
    closeMessage();
    peer = to;
    size = bytes;
    total = bytes;
    datagrams = 1;
    firstIov = iovs;
    joinable = grouping;
  }
  storeIov(TX_IOVS + iovs * IOV_BYTES, first, firstBytes);
  iovs++;
  if (secondBytes > 0) {
    storeIov(TX_IOVS + iovs * IOV_BYTES, second, secondBytes);
    iovs++;
  }
}

function closeMessage(): void {
  if (datagrams === 0) return;
  const message = TX_MESSAGES + messages * MESSAGE_BYTES;
  const name = TX_NAMES + messages * NAME_BYTES;
  // Until it is sent the peer may be another.
  copy(name, PEERS + (peer << 5), addressBytes);
  storeMessage(message, name, addressBytes, TX_IOVS + firstIov * IOV_BYTES, iovs - firstIov);
  if (datagrams > 1) storeSegmentSize(message, TX_CONTROLS + messages * CONTROL_BYTES, size);
  messages++;
  datagrams = 0;
}

/** The count of messages. */
export function finishMessages(): i32 {
  closeMessage();
  joinable = false;
  increase(TX_MESSAGES_MADE, messages);
  return messages;
}

/** Each datagram of message `index` as a message of its own, at TX_SPLIT; how many they are. */
export function splitMessage(index: i32): i32 {
  const message = TX_MESSAGES + index * MESSAGE_BYTES;
  const name = loadPointer(message);
  const iovCount = load32(message + 24);
  const firstOf = loadPointer(message + 16);
  const segment = load32(message + 40) === 0 ? TOTAL_MAX + 1 : load16(TX_CONTROLS + index * CONTROL_BYTES + 16);
  let parts = 0;
  let from = 0;
  let bytes = 0;
  for (let i = 0; i < iovCount; i++) {
    bytes += load32(firstOf + i * IOV_BYTES + 8);
    if (bytes < segment && i + 1 < iovCount) continue;
    storeMessage(TX_SPLIT + parts * MESSAGE_BYTES, name, addressBytes, firstOf + from * IOV_BYTES, i + 1 - from);
    parts++;
    from = i + 1;
    bytes = 0;
  }
  return parts;
}
