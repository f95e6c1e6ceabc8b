import test from 'ava';
import type { CounterName } from '../../../../backends/data-path/counters.ts';
import type { Ip, Mac } from '../../../../config/address.ts';
import {
  HERE,
  HERE6,
  OWN_MAC,
  PacketCores,
  PEER_MAC,
  PEER_OUTER,
  THERE,
  THERE6,
  UDP,
  VXLAN,
} from '../../../support/packet-cores.ts';
import {
  ethernet,
  ipPacket,
  type PacketWish,
  tcpPacket,
  udpPacket,
  vxlan,
  withPartialChecksum,
} from '../../../support/packets.ts';

const cores = await PacketCores.open();

test.afterEach(() => cores.compareMemory());

const bytes = (length: number): Buffer => Buffer.alloc(length, 0x5a);
const WAYS = { 4: { from: THERE, to: HERE }, 6: { from: THERE6, to: HERE6 } } as const;
const NOTHING = Buffer.alloc(10);

function wrapped(packet: Buffer): Buffer {
  return vxlan(7, ethernet(PEER_MAC, OWN_MAC, packet));
}

/** A copy with some bytes changed, by their offsets. */
function changed(packet: Buffer, changes: Readonly<Record<number, number>>): Buffer {
  const copy = Buffer.from(packet);
  for (const [at, value] of Object.entries(changes)) copy.writeUInt8(value, Number(at));
  return copy;
}

/** With the IPv4 header's checksum made right again. */
function mended(packet: Buffer): Buffer {
  const copy = Buffer.from(packet);
  copy.writeUInt16BE(0, 10);
  let sum = 0;
  for (let at = 0; at < (copy.readUInt8(0) & 15) * 4; at += 2) sum += copy.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  copy.writeUInt16BE(0xffff - sum, 10);
  return copy;
}

test('a packet comes out of its datagram with one hop less', (t) => {
  cores.begin(UDP);
  const written = cores.receive([{ data: udpPacket(WAYS[4], bytes(33)), address: PEER_OUTER }]);
  t.deepEqual(written, [Buffer.concat([NOTHING, udpPacket({ ...WAYS[4], ttl: 63 }, bytes(33))])]);
  t.deepEqual(cores.counters(), { 'rx-packets': 1, 'rx-bytes': 61, 'rx-messages': 1, 'rx-writes': 1 });
});

test('a frame comes out of its VXLAN as it is', (t) => {
  for (const family of [4, 6] as const) {
    cores.begin(VXLAN);
    const frame = ethernet(PEER_MAC, OWN_MAC, udpPacket(WAYS[family], bytes(33)));
    t.deepEqual(cores.receive([{ data: vxlan(7, frame), address: PEER_OUTER }]), [Buffer.concat([NOTHING, frame])]);
  }
});

test('what pads an Ethernet frame is left out; ARP stays whole', (t) => {
  cores.begin(VXLAN);
  const frame = ethernet(PEER_MAC, OWN_MAC, udpPacket(WAYS[4], bytes(2)));
  const padded = Buffer.concat([frame, Buffer.alloc(16)]);
  const arp = Buffer.from(padded);
  arp.writeUInt16BE(0x0806, 12);
  const data = [padded, arp].map((each) => ({ data: vxlan(7, each), address: PEER_OUTER }));
  t.deepEqual(cores.receive(data), [Buffer.concat([NOTHING, frame]), Buffer.concat([NOTHING, arp])]);
});

test('datagrams that the kernel put together are taken apart', (t) => {
  cores.begin(UDP);
  const packets = [0, 1, 2].map((id) => ipPacket({ ...WAYS[4], id, ttl: 9 }, 200, bytes(id === 2 ? 5 : 30)));
  const written = cores.receive([{ data: Buffer.concat(packets), address: PEER_OUTER, segmentBytes: 50 }]);
  const expected = [0, 1, 2].map((id) => ipPacket({ ...WAYS[4], id, ttl: 8 }, 200, bytes(id === 2 ? 5 : 30)));
  t.deepEqual(
    written,
    expected.map((packet) => Buffer.concat([NOTHING, packet])),
  );
  // Of every hop limit but the last.
  t.is(cores.counters()['rx-packets'], 3);
});

test('IP options and fragments pass', (t) => {
  const options = { ipOptions: Buffer.from('94040000', 'hex') };
  const wishes: readonly Partial<PacketWish>[] = [
    options,
    { fragment: 0x2000 },
    { fragment: 0x2010 },
    { fragment: 0x1fff - 8 },
  ];
  for (const wish of wishes) {
    cores.begin(UDP);
    const packet = ipPacket({ ...WAYS[4], ...wish }, 17, bytes(24));
    const written = cores.receive([{ data: packet, address: PEER_OUTER }]);
    t.deepEqual(written, [Buffer.concat([NOTHING, ipPacket({ ...WAYS[4], ...wish, ttl: 63 }, 17, bytes(24))])]);
  }
});

test('TCP and UDP that are too short for it pass as they are', (t) => {
  for (const family of [4, 6] as const) {
    for (const protocol of [6, 17]) {
      for (let length = 0; length <= 20; length++) {
        const [there, here] = [64, 63].map((ttl) => ipPacket({ ...WAYS[family], ttl }, protocol, bytes(length)));
        if (there === undefined || here === undefined) throw new Error('two packets');
        cores.begin(UDP);
        const arriving = family === 4 ? [Buffer.concat([NOTHING, here])] : [];
        t.deepEqual(cores.receive([{ data: there, address: PEER_OUTER }]), arriving);
        cores.begin(VXLAN);
        const frame = ethernet(PEER_MAC, OWN_MAC, there);
        t.deepEqual(cores.receive([{ data: vxlan(7, frame), address: PEER_OUTER }]), [Buffer.concat([NOTHING, frame])]);
      }
    }
  }
});

test('an open checksum in a TCP header of an impossible length', (t) => {
  for (const [family, byte] of [
    [4, 32],
    [6, 52],
  ] as const) {
    for (const words of [0, 4, 6, 15]) {
      const packet = tcpPacket(WAYS[family], bytes(1));
      packet.writeUInt8(words << 4, byte);
      cores.begin(VXLAN);
      t.deepEqual(cores.receive([{ data: wrapped(withPartialChecksum(packet)), address: PEER_OUTER }]), []);
      t.deepEqual(cores.counters(), { 'rx-messages': 1, 'rx-length': 1 });
    }
  }
});

test('a fragment may end where the largest packet does', (t) => {
  for (const [length, passes] of [
    [11, true],
    [12, false],
  ] as const) {
    cores.begin(VXLAN);
    const data = wrapped(ipPacket({ ...WAYS[4], fragment: 65_504 / 8 }, 17, bytes(length)));
    t.is(cores.receive([{ data, address: PEER_OUTER }]).length, passes ? 1 : 0);
  }
});

const whole4 = udpPacket(WAYS[4], bytes(40));
const whole6 = udpPacket(WAYS[6], bytes(40));
const frame4 = wrapped(whole4);
const frame6 = wrapped(whole6);

const FAULTS: readonly (readonly [string, typeof UDP, Buffer, CounterName])[] = [
  ['nothing', UDP, Buffer.alloc(0), 'rx-short'],
  ['one byte', UDP, whole4.subarray(0, 1), 'rx-short'],
  ['19 bytes of IPv4', UDP, whole4.subarray(0, 19), 'rx-short'],
  ['IPv6', UDP, whole6, 'rx-header'],
  ['IPv6 from its own link', UDP, udpPacket({ from: 'fe80::1' as Ip, to: HERE6 }, bytes(40)), 'rx-header'],
  ['neither IPv4 nor IPv6', UDP, changed(whole4, { 0: 0x55 }), 'rx-header'],
  ['a header of four words', UDP, mended(changed(whole4, { 0: 0x44 })), 'rx-header'],
  ['a header longer than the packet', UDP, changed(whole4.subarray(0, 40), { 0: 0x4f }), 'rx-header'],
  ['a total length within the header', UDP, mended(changed(whole4, { 2: 0, 3: 19 })), 'rx-length'],
  ['a total length beyond the datagram', UDP, mended(changed(whole4, { 3: whole4.length + 1 })), 'rx-length'],
  ['a total length short of the datagram', UDP, mended(changed(whole4, { 3: whole4.length - 1 })), 'rx-length'],
  ['a fragment that ends too far', UDP, mended(changed(whole4, { 6: 0x1f, 7: 0xff })), 'rx-fragment'],
  ['no hop', UDP, mended(changed(whole4, { 8: 0 })), 'rx-ttl'],
  ['the last hop', UDP, mended(changed(whole4, { 8: 1 })), 'rx-ttl'],
  ['a wrong header checksum', UDP, changed(whole4, { 11: 0 }), 'rx-checksum'],
  ['more than the device takes', UDP, udpPacket(WAYS[4], bytes(1472 - 27)), 'rx-oversized'],
  ['VXLAN: nothing', VXLAN, Buffer.alloc(0), 'rx-short'],
  ['VXLAN: no whole Ethernet header', VXLAN, frame4.subarray(0, 21), 'rx-short'],
  ['VXLAN: no flag', VXLAN, changed(frame4, { 0: 0 }), 'rx-vxlan-header'],
  ['VXLAN: group policy', VXLAN, changed(frame4, { 0: 0x88 }), 'rx-vxlan-header'],
  ['VXLAN: remote checksum offload', VXLAN, changed(frame4, { 1: 0x20 }), 'rx-vxlan-header'],
  ['VXLAN: a reserved bit', VXLAN, changed(frame4, { 3: 1 }), 'rx-vxlan-header'],
  ['VXLAN: the last reserved byte', VXLAN, changed(frame4, { 7: 1 }), 'rx-vxlan-header'],
  ['VXLAN: another network', VXLAN, changed(frame4, { 6: 8 }), 'rx-vni'],
  ['VXLAN: a network a little like ours', VXLAN, changed(frame4, { 4: 1 }), 'rx-vni'],
  ['VXLAN: 19 bytes of IPv4', VXLAN, frame4.subarray(0, 41), 'rx-short'],
  ['VXLAN: 39 bytes of IPv6', VXLAN, frame6.subarray(0, 61), 'rx-short'],
  ['VXLAN: IPv6 as IPv4', VXLAN, changed(frame6, { 20: 8, 21: 0 }), 'rx-header'],
  ['VXLAN: IPv4 as IPv6', VXLAN, changed(frame4, { 20: 0x86, 21: 0xdd }), 'rx-header'],
  ['VXLAN: longer than the frame', VXLAN, wrapped(mended(changed(whole4, { 3: 69 }))), 'rx-length'],
  ['VXLAN: IPv6 longer than the frame', VXLAN, changed(frame6, { 27: 49 }), 'rx-length'],
  ['VXLAN: no hop', VXLAN, wrapped(mended(changed(whole4, { 8: 0 }))), 'rx-ttl'],
  ['VXLAN: no hop of IPv6', VXLAN, wrapped(changed(whole6, { 7: 0 })), 'rx-ttl'],
  ['VXLAN: more than the device takes', VXLAN, wrapped(udpPacket(WAYS[4], bytes(1450 - 27))), 'rx-oversized'],
  [
    'VXLAN: a large frame, not of IP',
    VXLAN,
    changed(wrapped(udpPacket(WAYS[4], bytes(1423))), { 21: 6 }),
    'rx-oversized',
  ],
  ['VXLAN: from our own MAC', VXLAN, vxlan(7, ethernet(OWN_MAC, OWN_MAC, whole4)), 'rx-looped'],
];

for (const [what, settings, data, counter] of FAULTS) {
  test(`dropped and counted: ${what}`, (t) => {
    cores.begin(settings);
    t.deepEqual(cores.receive([{ data, address: PEER_OUTER }]), []);
    t.deepEqual(cores.counters(), { 'rx-messages': 1, [counter]: 1 });
    // Whatever the filter.
    cores.begin({ ...settings, filter: 'off' });
    t.deepEqual(cores.receive([{ data, address: PEER_OUTER }]), []);
  });
}

test('one hop is enough for a VXLAN', (t) => {
  cores.begin(VXLAN);
  t.is(cores.receive([{ data: wrapped(udpPacket({ ...WAYS[4], ttl: 1 }, bytes(9))), address: PEER_OUTER }]).length, 1);
});

test('the largest packet passes', (t) => {
  cores.begin(VXLAN);
  t.is(cores.receive([{ data: wrapped(udpPacket(WAYS[4], bytes(1450 - 28))), address: PEER_OUTER }]).length, 1);
});

test('a size that the kernel would not tell does no harm', (t) => {
  const small = ipPacket(WAYS[4], 200, bytes(30));
  for (const segmentBytes of [-5, 0, 1, 19, 49, 51, 0x7fffffff]) {
    cores.begin(UDP);
    const written = cores.receive([{ data: small, address: PEER_OUTER, segmentBytes }]);
    t.is(written.length, segmentBytes > 0 && segmentBytes < 50 ? 0 : 1);
  }
});

test('what finds no room at once comes with the next writes', (t) => {
  cores.begin(UDP);
  const small = ipPacket(WAYS[4], 200, bytes(0));
  const data = Buffer.concat(Array.from({ length: 3000 }, () => small));
  const written = cores.receive([
    { data, address: PEER_OUTER, segmentBytes: 20 },
    { data: whole4, address: PEER_OUTER },
  ]);
  t.is(written.length, 3001);
  t.is(cores.counters()['rx-packets'], 3001);
});

test('32 messages of the largest size are taken at once', (t) => {
  cores.begin({ ...UDP, mtuBytes: 65_000 });
  const packet = tcpPacket(WAYS[4], bytes(64_000));
  const written = cores.receive(Array.from({ length: 32 }, () => ({ data: packet, address: PEER_OUTER })));
  t.is(written.length, 32);
  t.is('02:00:00:00:00:02' as Mac, PEER_MAC);
});
