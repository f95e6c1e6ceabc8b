/**
 * The header that VXLAN puts between UDP and the inner Ethernet frame, RFC 7348 section 5. In network order:
 *
 *    0                   1                   2                   3
 *    0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *   ┌─┬─┬─┬─┬─┬─┬─┬─┬───────────────────────────────────────────────┐
 *   │R R R R I R R R│                   reserved                    │
 *   ├───────────────┴───────────────────────────────┬───────────────┤
 *   │         VXLAN network identifier (VNI)        │   reserved    │
 *   └───────────────────────────────────────────────┴───────────────┘
 *
 * I says that there is a VNI. What is reserved is zero when sent. This codec does not look at it when received: group
 * policies (GBP) are in there; a VTEP without them refuses such frames (core/receive.ts, as the kernel does). Around it, for an inner packet of 1450 bytes on a link of 1500:
 *
 *   │ IP 20 (IPv6: 40) │ UDP 8 │ VXLAN 8 │ Ethernet 14 │ inner IP packet … │
 */
export const VXLAN_HEADER_BYTES = 8;
/** The last that 24 bits can hold. */
const LAST_VNI = 0xffffff;

const HAS_VNI = 0x08;

export type DecodedVxlan =
  | { readonly ok: true; readonly vni: number; readonly frame: Buffer }
  | { readonly ok: false; readonly reason: string };

/** What goes into the datagram. A `vni` beyond 24 bits is a fault of the caller. */
export function encodeVxlan(vni: number, frame: Uint8Array): Buffer {
  if (!Number.isInteger(vni) || vni < 0 || vni > LAST_VNI) throw new RangeError(`no VNI: ${vni}`);
  const header = Buffer.allocUnsafe(VXLAN_HEADER_BYTES);
  header.writeUInt32BE(HAS_VNI << 24, 0);
  header.writeUInt32BE(vni * 256, 4);
  return Buffer.concat([header, frame]);
}

/** What is in a datagram. The frame is a view of it, as long as it is there: its own headers are not looked at. */
export function decodeVxlan(datagram: Buffer): DecodedVxlan {
  if (datagram.length < VXLAN_HEADER_BYTES)
    return { ok: false, reason: `${datagram.length} bytes are no VXLAN header` };
  if (((datagram[0] ?? 0) & HAS_VNI) === 0) return { ok: false, reason: 'the header has no VNI' };
  return { ok: true, vni: datagram.readUIntBE(4, 3), frame: datagram.subarray(VXLAN_HEADER_BYTES) };
}
