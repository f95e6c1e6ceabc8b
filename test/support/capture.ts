/**
 * What passes a wire of the lab, by tcpdump, taken at the switch: there it is what the host's card has sent. tcpdump also
 * judges the checksums, of what is inside as well: packets are taken out of their datagrams and shown to it.
 */
import { readFile, writeFile } from 'node:fs/promises';
import type { Host } from './host.ts';
import type { Lab } from './hosts.ts';
import type { Place } from './namespace.ts';
import type { LabProcess } from './process.ts';

/** What is around a packet in a datagram. */
export type Encapsulation = 'udp' | 'vxlan';

/** pcap's numbers for what a packet begins with. */
const LINK_TYPES = { udp: 101, vxlan: 1 } as const;
const PCAP_HEADER = 24;
const RECORD_HEADER = 16;
const ETHERNET = 14;
const UDP = 8;
const VXLAN = 8;

const BROKEN = /incorrect|bad (udp )?cksum|bad-len|truncated|invalid/;

export class Capture {
  readonly #at: Place & { path(inside: string): string };
  readonly #tcpdump: LabProcess;
  readonly #file: string;

  private constructor(at: Place & { path(inside: string): string }, tcpdump: LabProcess, file: string) {
    this.#at = at;
    this.#tcpdump = tcpdump;
    this.#file = file;
  }

  /** At the switch's end of the host's cable. `filter`: as tcpdump takes it. */
  static async start(lab: Lab, host: Host, filter: string): Promise<Capture> {
    const file = `/run/${host.port}-${Math.floor(performance.now())}.pcap`;
    const options = ['-i', host.port, '-n', '-U', '-Z', 'root', '-B', '16384', '-s', '0', '-w', file];
    const tcpdump = lab.switch.spawn('tcpdump', [...options, filter]);
    await tcpdump.until(/listening on/);
    return new Capture(lab.switch, tcpdump, file);
  }

  async stop(): Promise<void> {
    await this.#tcpdump.stop('SIGINT');
  }

  /** A line or several a packet, as `tcpdump -vv` prints them. */
  packets(): Promise<readonly string[]> {
    return this.#read(this.#file);
  }

  /** The same of what is inside of UDP datagrams. */
  async inner(encapsulation: Encapsulation): Promise<readonly string[]> {
    const file = `${this.#file}.inner`;
    const inside = innerPackets(await readFile(this.#at.path(this.#file)), encapsulation);
    await writeFile(this.#at.path(file), inside);
    return await this.#read(file);
  }

  /** One packet a line. */
  async #read(file: string): Promise<readonly string[]> {
    const { stdout } = await this.#at.exec('tcpdump', ['-n', '-vv', '-t', '-r', file], { timeoutMs: 60_000 });
    return stdout
      .replace(/\n\s+/g, ' ')
      .split('\n')
      .filter((line) => line !== '');
  }
}

/** Those of the lines that tcpdump finds fault with. */
export function broken(packets: readonly string[]): readonly string[] {
  return packets.filter((line) => BROKEN.test(line));
}

/** A capture of Ethernet frames as one of what their UDP datagrams carry; fragments are left out. */
function innerPackets(capture: Buffer, encapsulation: Encapsulation): Buffer {
  const header = Buffer.from(capture.subarray(0, PCAP_HEADER));
  header.writeUInt32LE(LINK_TYPES[encapsulation], 20);
  const parts: Uint8Array[] = [header];
  for (let at = PCAP_HEADER; at + RECORD_HEADER <= capture.length; ) {
    const length = capture.readUInt32LE(at + 8);
    const frame = capture.subarray(at + RECORD_HEADER, at + RECORD_HEADER + length);
    const packet = innerPacket(frame, encapsulation);
    if (packet !== undefined) {
      const record = Buffer.from(capture.subarray(at, at + RECORD_HEADER));
      record.writeUInt32LE(packet.length, 8);
      record.writeUInt32LE(packet.length, 12);
      parts.push(record, packet);
    }
    at += RECORD_HEADER + length;
  }
  return Buffer.concat(parts);
}

function innerPacket(frame: Buffer, encapsulation: Encapsulation): Buffer | undefined {
  const isIpv4 = frame.readUInt16BE(12) === 0x0800;
  const isFragment = (frame.readUInt16BE(ETHERNET + 6) & 0x3fff) !== 0;
  if (!isIpv4 || isFragment || frame[ETHERNET + 9] !== 17) return undefined;
  const udp = ETHERNET + ((frame[ETHERNET] ?? 0) & 15) * 4;
  const end = udp + frame.readUInt16BE(udp + 4);
  return frame.subarray(udp + UDP + (encapsulation === 'vxlan' ? VXLAN : 0), end);
}
