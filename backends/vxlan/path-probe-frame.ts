/**
 * What a probe sends: an echo from this host's first address to the peer's, as the peer's VXLAN device takes it.
 *
 *   outer IP, UDP │ VXLAN 8 │ Ethernet 14 │ IP 20 (40) │ echo 8 │ nonce 8 │ zeros up to the size asked for │
 *   └ the kernel's ┘└──────────────────────────── the datagram ────────────────────────────────────────────┘
 *
 * Sizes are those of the outer IP packet: what the links between two hosts must carry.
 */
import { type Family, familyOf, type Ip, type Mac } from '../../config/address.ts';
import { ECHO_HEADER_BYTES, encodeEcho, ICMP } from './echo-message.ts';
import { ETHERNET_HEADER_BYTES, encodeEthernet } from './ethernet-header.ts';
import { encodeIp, IP_HEADER_BYTES } from './ip-header.ts';
import { encodeVxlan, VXLAN_HEADER_BYTES } from './vxlan-header.ts';

export const NONCE_BYTES = 8;
const UDP_HEADER_BYTES = 8;

/** This host's side of the overlay, in one family. */
export interface ProbeOrigin {
  readonly vni: number;
  /** Of our VXLAN device. */
  readonly mac: Mac;
  /** Our subnet's first address, which our VXLAN device has. */
  readonly address: Ip;
  /** Our end of the outer packets; its family may be another one than `address` has. */
  readonly local: Ip;
}

/** A peer's side of it. */
export interface ProbeTarget {
  /** Outer destination. */
  readonly endpoint: Ip;
  /** Of its VXLAN device. */
  readonly mac: Mac;
  /** Its subnet's first address. */
  readonly address: Ip;
}

export interface Question {
  /** 16 bits each. */
  readonly id: number;
  readonly sequence: number;
  /** NONCE_BYTES that nobody can guess. */
  readonly nonce: Buffer;
  /** Of the outer IP packet. */
  readonly bytes: number;
}

/** What an outer packet of `bytes` has beside the inner IP packet. */
export function overheadBytes(outer: Family): number {
  return IP_HEADER_BYTES[outer] + UDP_HEADER_BYTES + VXLAN_HEADER_BYTES + ETHERNET_HEADER_BYTES;
}

/** Size of the smallest probe's outer packet. */
export function smallestBytes({ address, local }: Pick<ProbeOrigin, 'address' | 'local'>): number {
  return overheadBytes(familyOf(local)) + IP_HEADER_BYTES[familyOf(address)] + ECHO_HEADER_BYTES + NONCE_BYTES;
}

/** The echo alone: what is asked through the kernel's own device. */
export function echoOf(origin: ProbeOrigin, target: ProbeTarget, { id, sequence, nonce, bytes }: Question): Buffer {
  // What is missing at the end is zero.
  const payload = Buffer.concat([nonce], NONCE_BYTES + Math.max(0, bytes - smallestBytes(origin)));
  const ends = { source: origin.address, destination: target.address };
  return encodeEcho({ kind: 'request', id, sequence, payload }, ends);
}

/** The whole datagram, for the peer's VXLAN port. */
export function probeDatagram(origin: ProbeOrigin, target: ProbeTarget, question: Question): Buffer {
  const family = familyOf(origin.address);
  const header = { source: origin.address, destination: target.address, protocol: ICMP[family] };
  const packet = encodeIp(header, echoOf(origin, target, question), question.sequence);
  return encodeVxlan(origin.vni, encodeEthernet({ destination: target.mac, source: origin.mac, family }, packet));
}
