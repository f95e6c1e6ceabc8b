import test from 'ava';
import fc from 'fast-check';
import type { Ip, Mac, Prefix } from '../../../../config/address.ts';
import {
  type Frame,
  HERE,
  HERE6,
  OWN_MAC,
  OWN_OUTER,
  PacketCores,
  PEER,
  PEER_MAC,
  PEER_OUTER,
  THERE,
  THERE6,
  UDP,
  VXLAN,
} from '../../../support/packet-cores.ts';
import {
  ethernet,
  faultsOf,
  ipPacket,
  tcpPacket,
  transportAt,
  udpPacket,
  virtioHeader,
  vxlan,
  withPartialChecksum,
} from '../../../support/packets.ts';

const cores = await PacketCores.open();

test.afterEach(() => cores.compareMemory());

const bytes = (length: number): Buffer => Buffer.from(Array.from({ length }, (_, i) => (i * 7 + (i >>> 8)) & 255));
const framed = (packet: Buffer): Buffer => ethernet(OWN_MAC, PEER_MAC, packet);
const WAYS = { 4: { from: HERE, to: THERE }, 6: { from: HERE6, to: THERE6 } } as const;

/** A super-packet as the kernel hands it out. */
function superFrame(packet: Buffer, size: number, layer: 2 | 3): Frame {
  const partial = withPartialChecksum(packet);
  const virtio = virtioHeader(partial, layer === 2 ? 14 : 0, size);
  return { frame: layer === 2 ? framed(partial) : partial, virtio };
}

/** The datagrams of the messages, one by one. */
function datagrams({ messages }: ReturnType<PacketCores['transmit']>): Buffer[] {
  return messages.flatMap(({ data, segmentBytes = data.length }) => {
    const count = Math.ceil(data.length / segmentBytes);
    return Array.from({ length: count }, (_, i) =>
      Buffer.from(data.subarray(i * segmentBytes, (i + 1) * segmentBytes)),
    );
  });
}

/** The packets in VXLAN datagrams, whose headers are as they should be. */
function unwrapped(t: { deepEqual(a: unknown, b: unknown): void }, wrapped: readonly Buffer[]): Buffer[] {
  return wrapped.map((datagram) => {
    t.deepEqual(datagram.subarray(0, 20), vxlan(7, framed(Buffer.from([0x40]))).subarray(0, 20));
    return datagram.subarray(22);
  });
}

test('a packet of IPv4 goes to the peer of its subnet as it is, with one hop less', (t) => {
  cores.begin(UDP);
  const packet = udpPacket({ from: HERE, to: THERE, ttl: 64 }, bytes(33));
  const { messages } = cores.transmit([{ frame: packet }]);
  const expected = udpPacket({ from: HERE, to: THERE, ttl: 63 }, bytes(33));
  t.deepEqual(messages, [{ data: expected, address: PEER_OUTER, port: 8285, segmentBytes: undefined }]);
  t.deepEqual(cores.counters(), { 'tx-packets': 1, 'tx-bytes': packet.length, 'tx-messages': 1 });
});

test('every TTL and header checksum survives the hop', (t) => {
  cores.begin(UDP);
  for (const id of [0, 1, 0xabcd, 0xffff]) {
    const packets = Array.from({ length: 256 }, (_, ttl) => udpPacket({ from: HERE, to: THERE, ttl, id }, bytes(9)));
    const passed = datagrams(cores.transmit(packets.map((frame) => ({ frame }))));
    t.deepEqual(
      passed.map((packet) => [packet[8], faultsOf(packet)]),
      Array.from({ length: 254 }, (_, i) => [i + 1, []]),
    );
  }
  t.is(cores.counters()['tx-ttl'], 8);
});

test('a frame goes to the peer of its MAC behind a VXLAN header, its TTL as it was', (t) => {
  cores.begin(VXLAN);
  const frame = framed(udpPacket(WAYS[4], bytes(33)));
  const { messages } = cores.transmit([{ frame }]);
  t.deepEqual(messages, [{ data: vxlan(7, frame), address: PEER_OUTER, port: 8472, segmentBytes: undefined }]);
});

test('outer addresses may be IPv6', (t) => {
  const [local, endpoint] = ['2001:db8::1', '2001:db8::2'] as Ip[];
  if (local === undefined || endpoint === undefined) throw new Error('two addresses');
  cores.begin({ ...VXLAN, local }, [{ ...PEER, endpoint }]);
  const frame = framed(udpPacket(WAYS[6], bytes(33)));
  const { messages } = cores.transmit([{ frame }]);
  t.deepEqual(messages, [{ data: vxlan(7, frame), address: endpoint, port: 8472, segmentBytes: undefined }]);
});

test('a missing checksum is completed', (t) => {
  for (const way of [WAYS[4], WAYS[6]]) {
    for (const packet of [udpPacket(way, bytes(101)), tcpPacket(way, bytes(100)), tcpPacket(way, bytes(0))]) {
      cores.begin(VXLAN);
      const partial = withPartialChecksum(packet);
      const { messages } = cores.transmit([{ frame: framed(partial), virtio: virtioHeader(partial, 14) }]);
      t.deepEqual(messages[0]?.data, vxlan(7, framed(packet)));
    }
  }
});

test('a UDP checksum that comes out as 0 is sent as 0xffff', (t) => {
  // The two bytes that make the sum full.
  const plain = udpPacket(WAYS[4], Buffer.alloc(2));
  const missing = plain.readUInt16BE(26);
  const data = Buffer.alloc(2);
  data.writeUInt16BE(missing);
  const packet = udpPacket(WAYS[4], data);
  t.is(packet.readUInt16BE(26), 0xffff);
  const partial = withPartialChecksum(packet);
  cores.begin(VXLAN);
  const { messages } = cores.transmit([{ frame: framed(partial), virtio: virtioHeader(partial, 14) }]);
  t.deepEqual(messages[0]?.data, vxlan(7, framed(packet)));
  cores.begin(VXLAN);
  const twice = udpPacket(WAYS[4], Buffer.concat([data, data]));
  const cut = cores.transmit([superFrame(twice, 2, 2)]);
  t.deepEqual(
    unwrapped(t, datagrams(cut)).map((each) => each.readUInt16BE(26)),
    [0xffff, 0xffff],
  );
});

for (const layer of [2, 3] as const) {
  for (const family of [4, 6] as const) {
    // udp has no IPv6.
    if (layer === 3 && family === 6) continue;
    const settings = layer === 2 ? VXLAN : UDP;
    const name = `${settings.encapsulation.kind}, IPv${family}`;
    const ttl = layer === 2 ? 64 : 63;

    test(`TCP is cut as RFC 9293 and RFC 3168 have it: ${name}`, (t) => {
      const options = Buffer.from('0101080a0000000100000002', 'hex');
      // CWR, ECE, ACK, PSH, FIN; the sequence wraps, and the id.
      const wish = { ...WAYS[family], options, tos: 2, id: 0xfffe, sequence: 0xffff_ff00 };
      const data = bytes(3333);
      cores.begin(settings);
      const sent = cores.transmit([superFrame(tcpPacket({ ...wish, flags: 0xd9 }, data), 1000, layer)]);
      const packets = layer === 2 ? unwrapped(t, datagrams(sent)) : datagrams(sent);
      const expected = [0xd0, 0x50, 0x50, 0x59].map((flags, i) => {
        const at = { id: (0xfffe + i) & 0xffff, sequence: (0xffff_ff00 + i * 1000) % 2 ** 32 };
        return tcpPacket({ ...wish, ...at, ttl, flags }, data.subarray(i * 1000, (i + 1) * 1000));
      });
      t.deepEqual(packets, expected);
      t.is(sent.messages.length, 1);
      t.is(cores.counters()['tx-packets'], 4);
    });

    test(`UDP is cut into datagrams: ${name}`, (t) => {
      const data = bytes(2500);
      cores.begin(settings);
      const sent = cores.transmit([superFrame(udpPacket({ ...WAYS[family], id: 5 }, data), 1200, layer)]);
      const packets = layer === 2 ? unwrapped(t, datagrams(sent)) : datagrams(sent);
      const expected = [0, 1, 2].map((i) =>
        udpPacket({ ...WAYS[family], ttl, id: 5 + i }, data.subarray(i * 1200, (i + 1) * 1200)),
      );
      t.deepEqual(packets, expected);
    });

    test(`whatever the sizes, what is cut is sound and whole: ${name}`, (t) => {
      const cases = fc.record({
        tcp: fc.boolean(),
        length: fc.integer({ min: 1, max: 65_000 }),
        size: fc.integer({ min: 40, max: 9000 }),
        words: fc.integer({ min: 0, max: 10 }),
      });
      fc.assert(
        fc.property(cases, ({ tcp, length, size, words }) => {
          cores.begin(settings);
          const data = bytes(length);
          const options = Buffer.alloc(words * 4, 1);
          const packet = tcp ? tcpPacket({ ...WAYS[family], options }, data) : udpPacket(WAYS[family], data);
          const sent = cores.transmit([superFrame(packet, size, layer)]);
          const headers = transportAt(packet) + (tcp ? 20 + words * 4 : 8);
          const packets = datagrams(sent).map((each) => each.subarray(layer === 2 ? 22 : 0));
          for (const each of packets) t.deepEqual(faultsOf(each), []);
          t.deepEqual(Buffer.concat(packets.map((each) => each.subarray(headers))), data);
          t.true(packets.slice(0, -1).every((each) => each.length === headers + size));
          for (const { data: message, segmentBytes = message.length } of sent.messages) {
            t.true(message.length === segmentBytes || message.length <= 65_487);
            t.true(Math.ceil(message.length / segmentBytes) <= 64);
          }
        }),
        { numRuns: 25 },
      );
    });
  }
}

test('datagrams of one size to one peer share a message; a shorter one ends it', (t) => {
  cores.begin(UDP, [
    PEER,
    { ...PEER, endpoint: '192.0.2.3' as Ip, subnets: ['10.5.3.0/24' as Prefix], mac: undefined },
  ]);
  const to = (address: string, length: number): Frame => ({
    frame: udpPacket({ from: HERE, to: address as Ip }, bytes(length)),
  });
  const there = [to('10.5.2.1', 100), to('10.5.2.2', 100), to('10.5.2.3', 60), to('10.5.2.3', 60)];
  const { messages } = cores.transmit([...there, to('10.5.3.1', 60), to('10.5.2.3', 60), to('10.5.2.3', 61)]);
  t.deepEqual(
    messages.map(({ address, data, segmentBytes }) => [address, data.length, segmentBytes]),
    [
      ['192.0.2.2', 128 + 128 + 88, 128],
      ['192.0.2.2', 88, undefined],
      ['192.0.2.3', 88, undefined],
      ['192.0.2.2', 88, undefined],
      ['192.0.2.2', 89, undefined],
    ],
  );
});

test('no message has more than 64 datagrams, nor more bytes than an IPv6 packet holds', (t) => {
  cores.begin(UDP);
  const small = Array.from({ length: 130 }, () => ({ frame: udpPacket(WAYS[4], bytes(10)) }));
  t.deepEqual(
    cores.transmit(small).messages.map(({ data }) => data.length / 38),
    [64, 64, 2],
  );
  const large = Array.from({ length: 90 }, () => ({ frame: udpPacket(WAYS[4], bytes(1422)) }));
  t.deepEqual(
    cores.transmit(large).messages.map(({ data }) => data.length / 1450),
    [45, 45],
  );
});

test('without UDP_SEGMENT every datagram is a message', (t) => {
  cores.begin(UDP, [PEER], { grouping: false, mergingTcp: true, mergingUdp: true });
  const { messages } = cores.transmit([superFrame(tcpPacket(WAYS[4], bytes(65_000)), 100, 3)]);
  t.is(messages.length, 650);
  t.true(messages.every(({ segmentBytes }) => segmentBytes === undefined));
});

test('a message is taken apart into its datagrams', (t) => {
  cores.begin(VXLAN);
  const sent = cores.transmit([superFrame(tcpPacket(WAYS[6], bytes(10_500)), 1000, 2), { frame: framed(bytes(60)) }]);
  t.is(sent.messages.length, 2);
  const parts = cores.split(0);
  t.deepEqual(
    parts.map(({ data }) => Buffer.from(data)),
    datagrams(sent).slice(0, 11),
  );
  t.true(parts.every(({ address, segmentBytes }) => address === PEER_OUTER && segmentBytes === undefined));
  t.is(cores.split(1).length, 1);
});

const DROPPED: readonly (readonly [string, typeof UDP, Frame, string])[] = [
  ['nothing', UDP, { frame: bytes(0) }, 'tx-short'],
  ['half an IPv4 header', UDP, { frame: udpPacket(WAYS[4], bytes(9)).subarray(0, 19) }, 'tx-short'],
  ['half an IPv6 header', UDP, { frame: udpPacket(WAYS[6], bytes(9)).subarray(0, 39) }, 'tx-short'],
  ['no IP', UDP, { frame: Buffer.alloc(60, 0x50) }, 'tx-short'],
  ['half an Ethernet header', VXLAN, { frame: framed(bytes(1)).subarray(0, 13) }, 'tx-short'],
  ['a multicast', UDP, { frame: udpPacket({ from: HERE, to: '224.0.0.5' as Ip }, bytes(9)) }, 'tx-multicast'],
  ['an IPv6 multicast', UDP, { frame: udpPacket({ from: HERE6, to: 'ff02::2' as Ip }, bytes(9)) }, 'tx-multicast'],
  ['a broadcast', VXLAN, { frame: ethernet(OWN_MAC, 'ff:ff:ff:ff:ff:ff' as Mac, bytes(60)) }, 'tx-multicast'],
  ['a group’s MAC', VXLAN, { frame: ethernet(OWN_MAC, '01:00:5e:00:00:05' as Mac, bytes(60)) }, 'tx-multicast'],
  ['nobody’s MAC', VXLAN, { frame: ethernet(OWN_MAC, '02:00:00:00:00:09' as Mac, bytes(60)) }, 'tx-unknown-mac'],
  ['IPv6', UDP, { frame: udpPacket(WAYS[6], bytes(9)) }, 'tx-no-route'],
  ['to nobody', UDP, { frame: ipPacket({ from: HERE, to: '10.5.9.1' as Ip }, 1, bytes(9)) }, 'tx-no-route'],
];

for (const [what, settings, frame, counter] of DROPPED) {
  test(`dropped and counted: ${what}`, (t) => {
    cores.begin(settings);
    t.deepEqual(cores.transmit([frame]), { messages: [], replies: [], taken: 1 });
    t.deepEqual(cores.counters(), { [counter]: 1 });
  });
}

const tcp4 = withPartialChecksum(tcpPacket(WAYS[4], bytes(3000)));
const tcp6 = withPartialChecksum(tcpPacket(WAYS[6], bytes(3000)));
const short = withPartialChecksum(tcpPacket(WAYS[4], bytes(0)));

/** A virtio header and what it says falsely, at which byte. */
function lying(packet: Buffer, size: number | undefined, at: number, ...values: readonly number[]): Frame {
  const virtio = virtioHeader(packet, 14, size);
  virtio.set(values, at);
  return { frame: framed(packet), virtio };
}

const LIES: readonly (readonly [string, Frame])[] = [
  ['a checksum from beyond the frame', lying(short, undefined, 6, 255, 255)],
  ['a checksum beyond the frame', lying(short, undefined, 8, 20, 0)],
  ['a checksum far beyond the frame', lying(short, undefined, 8, 255, 255)],
  ['no checksum to complete', lying(tcp4, 1000, 0, 0)],
  ['a size of 0', lying(tcp4, 0, 4, 0, 0)],
  ['a size of 1', lying(tcp4, 1, 4, 1, 0)],
  ['UDP fragmentation', lying(tcp4, 1000, 1, 3)],
  ['an unknown type', lying(tcp4, 1000, 1, 9)],
  ['IPv6 that is IPv4', lying(tcp4, 1000, 1, 4)],
  ['IPv4 that is IPv6', lying(tcp6, 1000, 1, 1)],
  ['UDP that is TCP', lying(tcp4, 1000, 1, 5)],
  ['TCP where IP begins', lying(tcp4, 1000, 6, 14, 0)],
  ['TCP before IP', lying(tcp4, 1000, 6, 0, 0)],
  ['TCP a little later', lying(tcp4, 1000, 6, 38, 0)],
  ['TCP at the end', lying(tcp4, 1000, 6, tcp4.length & 255, tcp4.length >>> 8)],
  ['TCP beyond the frame', lying(tcp4, 1000, 6, 255, 255)],
  ['TCP over IPv6 inside of the header', lying(tcp6, 1000, 6, 34, 0)],
  ['TCP over IPv6 too far behind', lying(tcp6, 1000, 6, 0, 2)],
  ['no payload', lying(short, 1000, 1, 1)],
];

for (const [what, frame] of LIES) {
  test(`a virtio header that lies is refused: ${what}`, (t) => {
    cores.begin(VXLAN);
    t.deepEqual(cores.transmit([frame]).messages, []);
    t.deepEqual(cores.counters(), { 'tx-offload': 1 });
  });
}

test('TCP headers of an impossible length are refused', (t) => {
  for (const word of [0x00, 0x40]) {
    const packet = Buffer.from(tcp4);
    packet.writeUInt8(word, 32);
    cores.begin(VXLAN);
    cores.transmit([{ frame: framed(packet), virtio: virtioHeader(tcp4, 14, 1000) }]);
    t.deepEqual(cores.counters(), { 'tx-offload': 1 });
  }
});

test('a batch ends before its room does, and the next one begins anew', (t) => {
  cores.begin(UDP);
  const frames = Array.from({ length: 5 }, () => superFrame(tcpPacket(WAYS[4], bytes(60_000)), 1400, 3));
  t.is(cores.transmit(frames).taken, 3);
  t.is(cores.transmit(frames).taken, 3);
  // Dropped ones count too, or a flood of them would never let anything in.
  const nowhere = Array.from({ length: 5000 }, () => ({ frame: udpPacket({ from: HERE, to: HERE }, bytes(60)) }));
  t.is(cores.transmit(nowhere).taken, Math.ceil(131_072 / 98));
  const tiny = Array.from({ length: 3000 }, () => superFrame(tcpPacket(WAYS[4], bytes(2000)), 1, 3));
  const { taken, messages } = cores.transmit(tiny);
  t.true(taken > 0 && messages.length > 0);
});

test('IPv4 with options is cut too', (t) => {
  const ipOptions = Buffer.from('94040000', 'hex');
  cores.begin(VXLAN);
  const packet = tcpPacket({ ...WAYS[4], ipOptions }, bytes(2000));
  const packets = unwrapped(t, datagrams(cores.transmit([superFrame(packet, 1000, 2)])));
  t.deepEqual(
    packets.map((each) => [each.length, faultsOf(each)]),
    [
      [1044, []],
      [1044, []],
    ],
  );
});

test('what is not IP passes a VXLAN', (t) => {
  cores.begin(VXLAN);
  const frame = ethernet(OWN_MAC, PEER_MAC, ipPacket(WAYS[4], 200, bytes(20)));
  frame.writeUInt16BE(0x0806, 12);
  t.deepEqual(cores.transmit([{ frame }]).messages[0]?.data, vxlan(7, frame));
  t.is(OWN_OUTER, VXLAN.local);
});
