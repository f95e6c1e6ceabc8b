/**
 * Datagrams of the kernel's own VXLAN devices (Linux 6.18), as tcpdump saw them on the wire between two hosts: a ping
 * by `flannel.1` (VNI 1) and by `flannel-v6.1`, and one by a device of VNI 0xabcdef with group policies, which sends
 * group 0x1234 with what is marked so.
 */
import { readFileSync } from 'node:fs';

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
