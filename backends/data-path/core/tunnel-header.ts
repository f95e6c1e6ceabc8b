/**
 * VXLAN (RFC 7348), 8 bytes in front of an Ethernet frame:
 *
 *    ┌ 0x08: the VNI is valid ┬ reserved, 24 bits ┬ VNI, 24 bits ┬ reserved, 8 bits ┐
 *
 * Linux drops what has other flags, or reserved bits that are not zero: they may mean extensions that it was not told of.
 */
import { RX_LOOPED, RX_SHORT, RX_VNI, RX_VXLAN_HEADER } from './counters.ts';
import { load16, load32, store32 } from './memory.ts';
import { linkBytes, ownMac16, ownMac32, tunnelBytes, vniWord } from './settings.ts';

/** Its first word as it is loaded. */
const VNI_VALID = 0x08;

export function storeTunnelHeader(at: i32): void {
  store32(at, VNI_VALID);
  store32(at + 4, vniWord);
}

/** The counter that speaks against a datagram's outer part, or 0: a frame with a whole Ethernet header is in it. */
export function tunnelFault(at: i32, bytes: i32): i32 {
  if (bytes < tunnelBytes + linkBytes) return RX_SHORT;
  if (load32(at) !== VNI_VALID) return RX_VXLAN_HEADER;
  const word = load32(at + 4);
  if (word !== vniWord) return (word ^ vniWord) << 8 === 0 ? RX_VXLAN_HEADER : RX_VNI;
  const frame = at + tunnelBytes;
  return load32(frame + 6) === ownMac32 && load16(frame + 10) === ownMac16 ? RX_LOOPED : 0;
}
