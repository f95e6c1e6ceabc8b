/**
 * What the kernel says of a frame that it hands out, and is told of one that it gets:
 *
 *    struct virtio_net_hdr, 10 bytes, host order (<linux/virtio_net.h>)
 *    ┌───┬──────────────┬────────────────────────────────────────────────────────────────┐
 *    │ 0 │ flags     u8 │ 1: the checksum at start + offset holds the pseudo-header only │
 *    │ 1 │ gso_type  u8 │ 0 one packet, 1 TCP/IPv4, 4 TCP/IPv6, 5 UDP; 0x80: with ECN    │
 *    │ 2 │ hdr_len  u16 │ bytes of all headers; a hint                                   │
 *    │ 4 │ gso_size u16 │ payload of each packet but the last                            │
 *    │ 6 │ csum_start   │ u16, from the frame's first byte: where TCP or UDP begins      │
 *    │ 8 │ csum_offset  │ u16, from there                                                │
 *    └───┴──────────────┴────────────────────────────────────────────────────────────────┘
 */
import { store8, store16 } from './memory.ts';

export const VIRTIO_BYTES = 10;
export const NEEDS_CSUM = 1;

export const GSO_NONE = 0;
export const GSO_TCP4 = 1;
export const GSO_TCP6 = 4;
export const GSO_UDP = 5;
export const GSO_ECN = 0x80;

/** Of a frame with an open checksum; a super-packet where `type` and `size` say so. */
export function storeVirtio(at: i32, type: i32, headers: i32, size: i32, start: i32, offset: i32): void {
  store8(at, NEEDS_CSUM);
  store8(at + 1, type);
  store16(at + 2, headers);
  store16(at + 4, size);
  store16(at + 6, start);
  store16(at + 8, offset);
}
