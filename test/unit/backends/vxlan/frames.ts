/**
 * Datagrams of the kernel's own VXLAN devices (Linux 6.18), as tcpdump saw them on the wire between two hosts: a ping
 * by `flannel.1` (VNI 1) and by `flannel-v6.1`, and one by a device of VNI 0xabcdef with group policies, which sends
 * group 0x1234 with what is marked so.
 */
import { readFileSync } from 'node:fs';
import { decodeEcho, type Echo } from '../../../../backends/vxlan/echo-message.ts';
import { decodeEthernet, type EthernetHeader } from '../../../../backends/vxlan/ethernet-header.ts';
import { decodeIp, type IpHeader } from '../../../../backends/vxlan/ip-header.ts';
import { decodeVxlan } from '../../../../backends/vxlan/vxlan-header.ts';

const FILE = new URL('../../../../../test/golden/vxlan/frames.tsv', import.meta.url);
/** Ethernet, IPv4 or IPv6, UDP. */
const OUTER_BYTES = { '0800': 14 + 20 + 8, '86dd': 14 + 40 + 8 } as const;

/** UDP payloads by what they are. */
export const DATAGRAMS: ReadonlyMap<string, Buffer> = new Map(
  readFileSync(FILE, 'utf8')
    .trim()
    .split('\n')
    .map((line) => {
      const [name = '', hex = ''] = line.split('\t');
      const isIpv4 = hex.slice(24, 28) === '0800';
      return [name, Buffer.from(hex, 'hex').subarray(OUTER_BYTES[isIpv4 ? '0800' : '86dd'])] as const;
    }),
);

export function datagram(name: string): Buffer {
  const found = DATAGRAMS.get(name);
  if (found === undefined) throw new Error(`no capture: ${name}`);
  return Buffer.from(found);
}

export interface EchoFrame {
  readonly vni: number;
  readonly ethernet: EthernetHeader;
  readonly packet: IpHeader;
  readonly echo: Echo;
  /** The IP packet as it is. */
  readonly bytes: Buffer;
}

/** A datagram that holds an echo, or its answer, through all codecs. Throws the reason of the one that refuses it. */
export function echoFrame(bytes: Buffer): EchoFrame {
  const { vni, frame } = accepted(decodeVxlan(bytes));
  const ethernet = accepted(decodeEthernet(frame));
  const packet = accepted(decodeIp(ethernet.payload));
  return { vni, ethernet, packet, echo: accepted(decodeEcho(packet.payload, packet)), bytes: ethernet.payload };
}

function accepted<T extends { readonly ok: true }>(decoded: T | { readonly ok: false; readonly reason: string }): T {
  if (!decoded.ok) throw new Error(decoded.reason);
  return decoded;
}
