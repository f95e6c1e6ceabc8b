/**
 * One round of fuzzing: settings and peers by chance, then batches both ways through all forms of the core at once
 * (`PacketCores` holds them against each other and watches what they touch), and what must be so of any outcome.
 */
import { deepEqual, equal, ok } from 'node:assert/strict';
import { COUNTERS, type CounterName } from '../../backends/data-path/counters.ts';
import type { PathPeer } from '../../backends/data-path/path-peer.ts';
import type { PathFilter, PathSettings } from '../../backends/data-path/path-settings.ts';
import type { Ip, Prefix } from '../../config/address.ts';
import { Chance } from '../chaos/chance.ts';
import { type PacketCores, type Received, UDP, VXLAN } from '../support/packet-cores.ts';
import { checksum } from '../support/packets.ts';
import { datagram, type Encapsulation, frame, happens, macOf, one } from './material.ts';

const HOSTS = 5;
const FILTERS: readonly PathFilter[] = ['off', 'report', 'enforce', 'strict'];

/** Packets that were looked at, both ways. */
export interface RoundResult {
  readonly packets: number;
}

function peer(host: number): PathPeer {
  const address = `192.0.2.${host}` as Ip;
  const subnets = [`10.5.${host}.0/24`, `fd00:5:0:${host}::/64`] as Prefix[];
  return { endpoint: address, sources: [address], subnets, mac: macOf(host) };
}

function settingsOf(chance: Chance, kind: Encapsulation): PathSettings {
  return {
    ...(kind === 'udp' ? UDP : VXLAN),
    local: '192.0.2.0' as Ip,
    own: ['10.5.0.0/24', 'fd00:5::/64'] as Prefix[],
    filter: one(chance, FILTERS),
    mtuBytes: one(chance, [576, 1400, 1450, 1472, 9000]),
  };
}

/** Throws where something that must always hold does not. */
export function runRound(cores: PacketCores, seed: number): RoundResult {
  const chance = new Chance(seed);
  const kind = one(chance, ['udp', 'vxlan'] as const);
  const settings = settingsOf(chance, kind);
  const offloads = {
    grouping: happens(chance, 0.8),
    mergingTcp: happens(chance, 0.9),
    mergingUdp: happens(chance, 0.8),
  };
  cores.begin(settings, [], offloads);
  for (let host = 1; host <= HOSTS; host++) if (happens(chance, 0.9)) cores.setPeer(`h${host}`, peer(host));
  for (let batch = 0; batch < 3; batch++) {
    send(cores, chance, kind);
    receive(cores, chance, kind, settings);
    const host = 1 + chance.below(HOSTS);
    if (happens(chance, 0.5)) cores.removePeer(`h${host}`);
    else cores.setPeer(`h${host}`, peer(1 + chance.below(HOSTS)));
  }
  const { 'tx-packets': out = 0, 'rx-packets': into = 0 } = cores.counters();
  return { packets: out + into };
}

function send(cores: PacketCores, chance: Chance, kind: Encapsulation): void {
  const before = cores.counters();
  const frames = Array.from({ length: 1 + chance.below(12) }, () => frame(chance, kind, HOSTS));
  const { messages, replies } = cores.transmit(frames);
  const counted = difference(before, cores.counters());
  let datagrams = 0;
  for (const [i, { data, segmentBytes }] of messages.entries()) {
    const held = segmentBytes === undefined ? 1 : Math.ceil(data.length / segmentBytes);
    ok(segmentBytes === undefined || (held >= 2 && held <= 64 && data.length <= 65_487));
    deepEqual(Buffer.concat(cores.split(i).map((part) => part.data)), data);
    equal(cores.split(i).length, held);
    datagrams += held;
  }
  equal(datagrams, counted['tx-packets'] ?? 0);
  for (const reply of replies) equal(checksum(reply.subarray(10, 30)) + checksum(reply.subarray(30)), 0);
}

/** How many datagrams the core was to see. */
function datagramsIn(received: readonly Received[]): number {
  return received.reduce((sum, { data, segmentBytes = 0 }) => {
    const size = segmentBytes <= 0 || segmentBytes > data.length ? data.length : segmentBytes;
    return sum + (data.length === 0 ? 1 : Math.ceil(data.length / size));
  }, 0);
}

function receive(cores: PacketCores, chance: Chance, kind: Encapsulation, { filter }: PathSettings): void {
  const before = cores.counters();
  const datagrams = Array.from({ length: 1 + chance.below(6) }, () => datagram(chance, kind, HOSTS));
  const written = cores.receive(datagrams);
  const counted = difference(before, cores.counters());
  equal(written.length, counted['rx-writes'] ?? 0);
  for (const write of written) soundWrite(write);
  // Nothing is lost without a word, nor counted twice.
  const dropped = COUNTERS.filter(({ name, kind: of }) => {
    return name.startsWith('rx-') && (of === 'drop' || (of === 'filter' && filter !== 'report'));
  });
  const sum = dropped.reduce((total, { name }) => total + (counted[name] ?? 0), counted['rx-packets'] ?? 0);
  equal(sum, datagramsIn(datagrams));
}

/** What <linux/virtio_net.h> asks of a header, and tun of what is behind it. */
function soundWrite(write: Buffer): void {
  const length = write.length - 10;
  ok(length >= 14);
  ok(length <= 65_535 + 14);
  const [flags, type, headers, size] = [
    write.readUInt8(0),
    write.readUInt8(1),
    write.readUInt16LE(2),
    write.readUInt16LE(4),
  ];
  if (flags === 0) {
    ok(write.subarray(0, 10).equals(Buffer.alloc(10)));
    return;
  }
  equal(flags, 1);
  ok(write.readUInt16LE(6) + write.readUInt16LE(8) + 2 <= length);
  if (type === 0) return;
  ok([1, 4, 5].includes(type));
  ok(size > 0 && headers + size < length);
}

function difference(
  before: Partial<Record<CounterName, number>>,
  after: Partial<Record<CounterName, number>>,
): Partial<Record<CounterName, number>> {
  return Object.fromEntries(COUNTERS.map(({ name }) => [name, (after[name] ?? 0) - (before[name] ?? 0)]));
}
