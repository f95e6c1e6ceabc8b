/**
 * What is counted, each as a u64 at COUNTERS_AT + 8 * number. Names and meanings: `../counters.ts`, in this order.
 */
import { unsignedLess } from './bytes.ts';
import { COUNTERS_AT } from './layout.ts';
import { load32, store32 } from './memory.ts';

export const TX_PACKETS = 0;
export const TX_BYTES = 1;
export const TX_MESSAGES_MADE = 2;
export const TX_UNREACHABLES = 3;
export const TX_SHORT = 4;
export const TX_OFFLOAD = 5;
export const TX_MULTICAST = 6;
export const TX_NO_ROUTE = 7;
export const TX_UNKNOWN_MAC = 8;
export const TX_TTL = 9;
export const RX_PACKETS = 10;
export const RX_BYTES = 11;
export const RX_MESSAGES_TAKEN = 12;
export const RX_WRITES_MADE = 13;
export const RX_TRUNCATED = 14;
export const RX_SHORT = 15;
export const RX_VXLAN_HEADER = 16;
export const RX_VNI = 17;
export const RX_HEADER = 18;
export const RX_LENGTH = 19;
export const RX_FRAGMENT = 20;
export const RX_TTL = 21;
export const RX_CHECKSUM = 22;
export const RX_OVERSIZED = 23;
export const RX_LOOPED = 24;
export const RX_STRANGER = 25;
export const RX_SPOOFED = 26;
export const RX_FOREIGN = 27;
export const RX_ETHERTYPE = 28;
export const COUNTER_COUNT = 29;

export function count(counter: i32, by: i32): void {
  const at = COUNTERS_AT + (counter << 3);
  const before = load32(at);
  const after = (before + by) | 0;
  store32(at, after);
  if (unsignedLess(after, before)) store32(at + 4, load32(at + 4) + 1);
}
