/**
 * ICMP network unreachable (RFC 792) for a packet that no peer's subnet holds, as flannel's proxy makes it:
 *
 *    virtio_net_hdr ┬ IPv4: TTL 8, id 0, from our tunnel address ┬ type 3, code 0 ┬ offender's header and 8 bytes
 *
 * How many may be sent is a count that whoever drives the core fills up from time to time.
 */
import { fold, sumOfHalves, swap16 } from './bytes.ts';
import { count, TX_UNREACHABLES } from './counters.ts';
import { REPLIES, REPLY_IOVS, REPLY_WRITES } from './layout.ts';
import { copy, load8, load16, load32, store8, store16, store32 } from './memory.ts';
import { IOV_BYTES, storeIov } from './messages.ts';
import { ICMP } from './protocols.ts';
import { VIRTIO_BYTES } from './virtio-header.ts';

const PER_BATCH_MAX = 16;
const REPLY_BYTES = 256;

let made = 0;
let allowed = 0;
/** Our tunnel address as it is loaded, 0: none. */
let source = 0;

export function setTunnelAddress(address: i32): void {
  source = address;
}

/** How many may be made until this is said again. */
export function allowReplies(replies: i32): void {
  allowed = replies;
}

export function resetReplies(): void {
  made = 0;
}

export function replies(): i32 {
  return made;
}

/** Whether somebody can be told about this packet (RFC 1122 3.2.2); its header is not yet known to be sound. */
function answerable(ip: i32, length: i32, headerBytes: i32): boolean {
  if (source === 0 || allowed <= 0 || made >= PER_BATCH_MAX) return false;
  if (headerBytes < 20 || headerBytes >= 60 || headerBytes > length) return false;
  const first = load8(ip + 12);
  if (first === 0 || first === 127 || first >= 224) return false;
  return load8(ip + 9) !== ICMP && (load16(ip + 6) & 0xff1f) === 0;
}

export function replyUnreachable(ip: i32, length: i32): void {
  const headerBytes = (load8(ip) & 15) << 2;
  if (!answerable(ip, length, headerBytes)) return;
  const at = REPLIES + made * REPLY_BYTES;
  const header = at + VIRTIO_BYTES;
  const icmp = header + 20;
  const quoted = length < headerBytes + 8 ? length : headerBytes + 8;
  for (let i = 0; i < REPLY_BYTES; i += 4) store32(at + i, 0);
  copy(icmp + 8, ip, quoted);
  storeHeader(header, 28 + quoted, load32(ip + 12));
  store8(icmp, 3);
  // The byte behind an odd quotation is zero.
  store16(icmp + 2, ~fold(sumOfHalves(icmp, 8 + ((quoted + 1) & ~1))) & 0xffff);
  storeIov(REPLY_IOVS + made * IOV_BYTES, at, VIRTIO_BYTES + 28 + quoted);
  store32(REPLY_WRITES + (made << 3), REPLY_IOVS + made * IOV_BYTES);
  store32(REPLY_WRITES + (made << 3) + 4, 1);
  made++;
  allowed--;
  count(TX_UNREACHABLES, 1);
}

function storeHeader(header: i32, bytes: i32, to: i32): void {
  store8(header, 0x45);
  store16(header + 2, swap16(bytes));
  store8(header + 8, 8);
  store8(header + 9, ICMP);
  store32(header + 12, source);
  store32(header + 16, to);
  store16(header + 10, ~fold(sumOfHalves(header, 20)) & 0xffff);
}
