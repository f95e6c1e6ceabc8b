/**
 * What sendmmsg(2), recvmmsg(2) and writev(2) read, on LP64 (x86_64 and arm64 alike; musl has int and padding where
 * glibc has size_t, which is the same where the upper half is zero):
 *
 *    struct mmsghdr, 64 bytes                     struct iovec, 16 bytes      struct cmsghdr and its data
 *    ┌────┬───────────────────────────┐           ┌───┬─────────────┐         ┌────┬──────────────────────┐
 *    │  0 │ msg_name      pointer     │           │ 0 │ iov_base    │         │  0 │ cmsg_len   u64       │
 *    │  8 │ msg_namelen   u32, pad    │           │ 8 │ iov_len u64 │         │  8 │ cmsg_level i32       │
 *    │ 16 │ msg_iov       pointer     │           └───┴─────────────┘         │ 12 │ cmsg_type  i32       │
 *    │ 24 │ msg_iovlen    u64         │                                       │ 16 │ UDP_SEGMENT u16, or  │
 *    │ 32 │ msg_control   pointer     │                                       │    │ UDP_GRO     i32      │
 *    │ 40 │ msg_controllen u64        │                                       └────┴──────────────────────┘
 *    │ 48 │ msg_flags     i32, pad    │
 *    │ 56 │ msg_len       u32, pad    │
 *    └────┴───────────────────────────┘
 */
import { load32, store16, store32 } from './memory.ts';
import { storePointer } from './settings.ts';

export const MESSAGE_BYTES = 64;
export const IOV_BYTES = 16;
export const CONTROL_BYTES = 32;

const SOL_UDP = 17;
const UDP_SEGMENT = 103;
const UDP_GRO = 104;
export const MSG_TRUNC = 0x20;

export function storeIov(at: i32, offset: i32, length: i32): void {
  storePointer(at, offset);
  store32(at + 8, length);
  store32(at + 12, 0);
}

/** A message without control data. */
export function storeMessage(at: i32, name: i32, nameBytes: i32, iovs: i32, iovCount: i32): void {
  storePointer(at, name);
  store32(at + 8, nameBytes);
  store32(at + 12, 0);
  storePointer(at + 16, iovs);
  store32(at + 24, iovCount);
  store32(at + 28, 0);
  store32(at + 32, 0);
  store32(at + 36, 0);
  store32(at + 40, 0);
  store32(at + 44, 0);
  store32(at + 48, 0);
}

export function storeControl(message: i32, control: i32, bytes: i32): void {
  storePointer(message + 32, control);
  store32(message + 40, bytes);
}

/** Tells the kernel to cut the message into datagrams of `size` bytes. */
export function storeSegmentSize(message: i32, control: i32, size: i32): void {
  store32(control, 18);
  store32(control + 4, 0);
  store32(control + 8, SOL_UDP);
  store32(control + 12, UDP_SEGMENT);
  store32(control + 16, 0);
  store16(control + 16, size);
  storeControl(message, control, 24);
}

/** The size of the datagrams that the kernel put together in a received message, or 0. */
export function segmentSize(message: i32, control: i32): i32 {
  if (load32(message + 40) < 20) return 0;
  if (load32(control) < 20 || load32(control + 8) !== SOL_UDP || load32(control + 12) !== UDP_GRO) return 0;
  return load32(control + 16);
}
