/** Whether an IP header is sound, and agrees with the bytes that are there. */
import { fold, sumOfHalves, swap16 } from './bytes.ts';
import { RX_CHECKSUM, RX_FRAGMENT, RX_HEADER, RX_LENGTH, RX_SHORT, RX_TTL } from './counters.ts';
import { load8, load16 } from './memory.ts';

/** The IP packet's own length, of the last one that was sound. */
export let packetBytes = 0;

/**
 * The counter that speaks against the packet of `version` in these bytes, or 0. Behind it there may be more bytes (an
 * Ethernet frame's padding) unless it is to be `exact`.
 */
export function faultOf(ip: i32, version: i32, bytes: i32, exact: boolean): i32 {
  if (bytes < (version === 4 ? 20 : 40)) return RX_SHORT;
  if (load8(ip) >>> 4 !== version) return RX_HEADER;
  const fault = version === 4 ? faultOf4(ip, bytes) : faultOf6(ip, bytes);
  return fault === 0 && exact && packetBytes !== bytes ? RX_LENGTH : fault;
}

function faultOf4(ip: i32, bytes: i32): i32 {
  const headerBytes = (load8(ip) & 15) << 2;
  if (headerBytes < 20 || headerBytes > bytes) return RX_HEADER;
  packetBytes = swap16(load16(ip + 2));
  if (packetBytes < headerBytes || packetBytes > bytes) return RX_LENGTH;
  // Put together, it would be larger than a packet can be.
  if (((swap16(load16(ip + 6)) & 0x1fff) << 3) + packetBytes > 65535) return RX_FRAGMENT;
  if (load8(ip + 8) === 0) return RX_TTL;
  return fold(sumOfHalves(ip, headerBytes)) === 0xffff ? 0 : RX_CHECKSUM;
}

function faultOf6(ip: i32, bytes: i32): i32 {
  packetBytes = 40 + swap16(load16(ip + 4));
  if (packetBytes > bytes) return RX_LENGTH;
  return load8(ip + 7) === 0 ? RX_TTL : 0;
}
