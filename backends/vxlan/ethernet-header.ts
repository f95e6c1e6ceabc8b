/**
 * Ethernet II, as it is inside VXLAN: without preamble, VLAN tag, padding and checksum.
 *
 *   │ destination MAC 6 │ source MAC 6 │ type u16 │ payload … │
 */
import { type Family, type Mac, macFromBytes, macToBytes } from '../../config/address.ts';

export const ETHERNET_HEADER_BYTES = 14;

const TYPE = { 4: 0x0800, 6: 0x86dd } as const;

export interface EthernetHeader {
  readonly destination: Mac;
  readonly source: Mac;
  /** Of the IP packet in it. */
  readonly family: Family;
}

export type DecodedEthernet =
  | ({ readonly ok: true; readonly payload: Buffer } & EthernetHeader)
  | { readonly ok: false; readonly reason: string };

export function encodeEthernet({ destination, source, family }: EthernetHeader, payload: Uint8Array): Buffer {
  const type = Buffer.from([TYPE[family] >> 8, TYPE[family] & 0xff]);
  return Buffer.concat([macToBytes(destination), macToBytes(source), type, payload]);
}

/** A frame that holds IP. The payload is a view of it, with what padding there is. */
export function decodeEthernet(frame: Buffer): DecodedEthernet {
  if (frame.length < ETHERNET_HEADER_BYTES)
    return { ok: false, reason: `${frame.length} bytes are no Ethernet header` };
  const type = frame.readUInt16BE(12);
  const family = type === TYPE[4] ? 4 : type === TYPE[6] ? 6 : undefined;
  if (family === undefined) return { ok: false, reason: `type 0x${type.toString(16).padStart(4, '0')} is not IP` };
  const payload = frame.subarray(ETHERNET_HEADER_BYTES);
  return { ok: true, destination: macFromBytes(frame, 0), source: macFromBytes(frame, 6), family, payload };
}
