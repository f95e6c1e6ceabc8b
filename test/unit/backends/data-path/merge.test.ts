import test from 'ava';
import fc from 'fast-check';
import type { Ip, Mac } from '../../../../config/address.ts';
import {
  HERE,
  HERE6,
  OWN_MAC,
  OWN_OUTER,
  PacketCores,
  PEER,
  PEER_MAC,
  PEER_OUTER,
  type Received,
  THERE,
  THERE6,
  UDP,
  VXLAN,
} from '../../../support/packet-cores.ts';
import {
  ethernet,
  ipPacket,
  type TcpWish,
  tcpPacket,
  transportAt,
  udpPacket,
  virtioHeader,
  vxlan,
  withPartialChecksum,
} from '../../../support/packets.ts';

const cores = await PacketCores.open();

test.afterEach(() => cores.compareMemory());

const WAYS = { 4: { from: THERE, to: HERE }, 6: { from: THERE6, to: HERE6 } } as const;
const bytes = (length: number, from = 0): Buffer =>
  Buffer.from(Array.from({ length }, (_, i) => ((from + i) * 13 + ((from + i) >>> 8)) & 255));
const NOTHING = Buffer.alloc(10);

function datagram(packet: Buffer): Received {
  return { data: vxlan(7, ethernet(PEER_MAC, OWN_MAC, packet)), address: PEER_OUTER };
}

/** How many packets each write holds, by the payload of 100 bytes each. */
function shapes(packets: readonly Buffer[], headers: number): number[] {
  cores.begin(VXLAN);
  return cores.receive(packets.map(datagram)).map((write) => (write.length - 10 - 14 - headers) / 100);
}

/** As the device is to get it. */
function superFrame(packet: Buffer, size: number, headers: number): Buffer {
  const partial = withPartialChecksum(packet);
  const virtio = virtioHeader(partial, 14, size);
  virtio.writeUInt16LE(14 + headers, 2);
  return Buffer.concat([virtio, ethernet(PEER_MAC, OWN_MAC, partial)]);
}

for (const family of [4, 6] as const) {
  test(`TCP packets in a row become one, IPv${family}`, (t) => {
    const options = Buffer.from('0101080a0000000100000002', 'hex');
    const wish = { ...WAYS[family], options, sequence: 0xffff_fff0 };
    const packets = [0, 1, 2].map((i) => {
      const at = { id: 7 + i, sequence: (0xffff_fff0 + i * 100) % 2 ** 32, flags: i === 2 ? 0x18 : 0x10 };
      return tcpPacket({ ...wish, ...at }, bytes(i === 2 ? 30 : 100, i * 100));
    });
    cores.begin(VXLAN);
    const whole = tcpPacket({ ...wish, id: 7, flags: 0x18 }, bytes(230));
    t.deepEqual(cores.receive(packets.map(datagram)), [superFrame(whole, 100, transportAt(whole) + 32)]);
    t.is(cores.counters()['rx-packets'], 3);
    t.is(cores.counters()['rx-writes'], 1);
  });

  test(`UDP datagrams in a row become one, IPv${family}`, (t) => {
    const packets = [0, 1, 2].map((i) => udpPacket({ ...WAYS[family], id: 7 + i }, bytes(i === 2 ? 30 : 100, i * 100)));
    const whole = udpPacket({ ...WAYS[family], id: 7 }, bytes(230));
    cores.begin(VXLAN);
    t.deepEqual(cores.receive(packets.map(datagram)), [superFrame(whole, 100, transportAt(whole) + 8)]);
    cores.begin(VXLAN, [PEER], { grouping: true, mergingTcp: true, mergingUdp: false });
    t.is(cores.receive(packets.map(datagram)).length, 3);
  });

  /** The second of two packets that would else become one. */
  const UNLIKE: readonly (readonly [string, Partial<TcpWish>])[] = [
    ['a gap', { sequence: 1101 }],
    ['one that was there before', { sequence: 1000 }],
    ['another acknowledgement', { acknowledgement: 78 }],
    ['another window', { window: 511 }],
    ['another urgent pointer', { urgent: 1 }],
    ['another source port', { ports: [5002, 80] }],
    ['another destination port', { ports: [5001, 81] }],
    ['another destination', { to: family === 4 ? ('10.5.1.6' as Ip) : ('fd00:5:0:1::6' as Ip) }],
    ['another source', { from: family === 4 ? ('10.5.2.6' as Ip) : ('fd00:5:0:2::6' as Ip) }],
    ['another TTL', { ttl: 63 }],
    ['congestion experienced', { tos: 3 }],
    ['FIN', { flags: 0x11 }],
    ['SYN', { flags: 0x12 }],
    ['RST', { flags: 0x14 }],
    ['URG', { flags: 0x30 }],
    ['ECE', { flags: 0x50 }],
    ['CWR', { flags: 0x90 }],
    ['no ACK', { flags: 0 }],
    ['options', { options: Buffer.from('01010101', 'hex') }],
    ...(family === 4
      ? ([
          ['fragments', { fragment: 0x2000 }],
          ['IP options', { ipOptions: Buffer.from('01010101', 'hex') }],
          ['may be fragmented', { fragment: 0 }],
        ] as const)
      : []),
  ];

  for (const [what, difference] of UNLIKE) {
    test(`not merged, IPv${family}: ${what}`, (t) => {
      const first = tcpPacket({ ...WAYS[family] }, bytes(100));
      const second = tcpPacket({ ...WAYS[family], sequence: 1100, ...difference }, bytes(100, 100));
      cores.begin(VXLAN);
      const written = cores.receive([first, second].map(datagram));
      t.deepEqual(
        written,
        [first, second].map((packet) => Buffer.concat([NOTHING, ethernet(PEER_MAC, OWN_MAC, packet)])),
      );
      // Nor the other way round.
      cores.begin(VXLAN);
      const turned = [
        tcpPacket({ ...WAYS[family], ...difference }, bytes(100)),
        tcpPacket({ ...WAYS[family], sequence: difference.sequence === undefined ? 1100 : 999 }, bytes(100)),
      ];
      t.is(cores.receive(turned.map(datagram)).length, 2);
    });
  }

  test(`a wrong checksum is left for the kernel to find, IPv${family}`, (t) => {
    const headers = family === 4 ? 40 : 60;
    const packets = [0, 1, 2, 3].map((i) =>
      tcpPacket({ ...WAYS[family], id: i, sequence: i * 100 }, bytes(100, i * 100)),
    );
    for (const [broken, expected] of [
      [0, [1, 3]],
      [1, [1, 1, 2]],
      [3, [3, 1]],
    ] as const) {
      const sent = packets.map((packet, i) => (i === broken ? Buffer.from(packet).fill(9, packet.length - 1) : packet));
      t.deepEqual(shapes(sent, headers), [...expected]);
    }
  });

  test(`PSH and a shorter packet end it, IPv${family}`, (t) => {
    const headers = family === 4 ? 40 : 60;
    const flags = [0x10, 0x18, 0x10, 0x10];
    const pushed = flags.map((each, i) => tcpPacket({ ...WAYS[family], sequence: i * 100, flags: each }, bytes(100)));
    t.deepEqual(shapes(pushed, headers), [2, 2]);
    const lengths = [100, 50, 50, 100];
    let sequence = 0;
    const uneven = lengths.map((length) => {
      sequence += length;
      return tcpPacket({ ...WAYS[family], sequence: sequence - length }, bytes(length));
    });
    t.deepEqual(shapes(uneven, headers), [1.5, 0.5, 1]);
  });

  test(`64 packets at most, and not more than an IP packet holds, IPv${family}`, (t) => {
    const headers = family === 4 ? 40 : 60;
    const many = (length: number, count: number): Buffer[] =>
      Array.from({ length: count }, (_, i) => tcpPacket({ ...WAYS[family], sequence: i * length }, bytes(length)));
    cores.begin(VXLAN);
    const small = Buffer.concat(many(100, 70).map((packet) => Buffer.from(datagram(packet).data)));
    const written = cores.receive([{ data: small, address: PEER_OUTER, segmentBytes: 122 + headers }]);
    t.deepEqual(
      written.map((write) => (write.length - 24 - headers) / 100),
      [64, 6],
    );
    cores.begin({ ...VXLAN, mtuBytes: 9000 });
    const large = many(8000, 10).map(datagram);
    t.deepEqual(
      cores.receive(large).map((write) => (write.length - 24 - headers) / 8000),
      [8, 2],
    );
  });

  test(`what a kernel peer on veth leaves open is told to the device, IPv${family}`, (t) => {
    const headers = family === 4 ? 40 : 60;
    cores.begin(VXLAN);
    const small = withPartialChecksum(tcpPacket(WAYS[family], bytes(100)));
    const datum = withPartialChecksum(udpPacket(WAYS[family], bytes(100)));
    const open = (packet: Buffer): Buffer =>
      Buffer.concat([virtioHeader(packet, 14), ethernet(PEER_MAC, OWN_MAC, packet)]);
    t.deepEqual(cores.receive([small, datum].map(datagram)), [open(small), open(datum)]);
    const large = tcpPacket(WAYS[family], bytes(20_000));
    const written = cores.receive([datagram(withPartialChecksum(large))]);
    t.deepEqual(written, [superFrame(large, 1450 - headers, headers)]);
    // Nobody tells where its datagrams end.
    const many = withPartialChecksum(udpPacket(WAYS[family], bytes(20_000)));
    t.deepEqual(cores.receive([datagram(many)]), []);
    t.is(cores.counters()['rx-oversized'], 1);
  });
}

test('a right checksum that is also the pseudo-header’s sum is not taken for an open one', (t) => {
  // The two bytes that make it so.
  const plain = withPartialChecksum(udpPacket(WAYS[4], Buffer.alloc(2)));
  const open = plain.readUInt16BE(26);
  const data = Buffer.alloc(2);
  const rest = 0xffff - udpPacket(WAYS[4], Buffer.alloc(2)).readUInt16BE(26);
  data.writeUInt16BE((0xffff - open + 0xffff - rest) % 0xffff);
  const packet = udpPacket(WAYS[4], data);
  t.is(packet.readUInt16BE(26), open);
  cores.begin(VXLAN);
  t.deepEqual(cores.receive([datagram(packet)]), [Buffer.concat([NOTHING, ethernet(PEER_MAC, OWN_MAC, packet)])]);
});

test('IPv4 that may be fragmented is merged only with the next id', (t) => {
  const packets = [5, 6, 8, 9].map((id, i) =>
    tcpPacket({ ...WAYS[4], fragment: 0, id, sequence: i * 100 }, bytes(100, i * 100)),
  );
  t.deepEqual(shapes(packets, 40), [2, 2]);
  const wrapping = [0xfffe, 0xffff, 0, 1].map((id, i) =>
    tcpPacket({ ...WAYS[4], fragment: 0, id, sequence: i * 100 }, bytes(100, i * 100)),
  );
  t.deepEqual(shapes(wrapping, 40), [4]);
});

test('frames of other stations stay apart', (t) => {
  const packets = [0, 1, 2].map((i) => tcpPacket({ ...WAYS[4], sequence: i * 100 }, bytes(100, i * 100)));
  cores.begin(VXLAN);
  const other = '02:00:00:00:00:07' as Mac;
  const frames = packets.map((packet, i) => ethernet(i === 1 ? other : PEER_MAC, OWN_MAC, packet));
  t.is(cores.receive(frames.map((frame) => ({ data: vxlan(7, frame), address: PEER_OUTER }))).length, 3);
});

test('an IP packet of 65,535 bytes is the largest', (t) => {
  for (const [family, size, rest] of [
    [4, 8186, 7],
    [6, 8184, 3],
  ] as const) {
    for (const more of [0, 1]) {
      cores.begin({ ...VXLAN, mtuBytes: 9000 });
      const packets = Array.from({ length: 9 }, (_, i) =>
        tcpPacket({ ...WAYS[family], sequence: i * size }, bytes(i < 8 ? size : rest + more)),
      );
      t.is(cores.receive(packets.map(datagram)).length, 1 + more);
    }
  }
});

test('acknowledgements without data stay apart, as does TCP whose header is longer than the packet', (t) => {
  for (const way of [WAYS[4], WAYS[6]]) {
    const options = Buffer.from('0101080a0000000100000002', 'hex');
    const empty = tcpPacket({ ...way, options }, bytes(0));
    cores.begin(VXLAN);
    t.is(cores.receive([empty, empty].map(datagram)).length, 2);
    const long = tcpPacket(way, bytes(12));
    long.writeUInt8(0xf0, transportAt(long) + 12);
    cores.begin(VXLAN);
    t.is(cores.receive([long, long].map(datagram)).length, 2);
  }
});

test('UDP without a checksum is not merged', (t) => {
  const plain = udpPacket(WAYS[4], bytes(100));
  plain.writeUInt16BE(0, 26);
  t.deepEqual(shapes([plain, plain], 28), [1, 1]);
});

test('what is not TCP or UDP is not merged', (t) => {
  const packet = ipPacket(WAYS[4], 132, bytes(100));
  t.deepEqual(shapes([packet, packet], 20), [1, 1]);
});

test('no merging where the device takes none', (t) => {
  const packets = [0, 1].map((i) => tcpPacket({ ...WAYS[4], sequence: i * 100 }, bytes(100)));
  cores.begin(VXLAN, [PEER], { grouping: true, mergingTcp: false, mergingUdp: false });
  t.is(cores.receive(packets.map(datagram)).length, 2);
});

for (const settings of [UDP, VXLAN]) {
  const { kind } = settings.encapsulation;
  test(`what is cut is put together again: ${kind}`, (t) => {
    const cases = fc.record({
      family: kind === 'udp' ? fc.constant(4 as const) : fc.constantFrom(4 as const, 6 as const),
      tcp: fc.boolean(),
      size: fc.integer({ min: 100, max: kind === 'udp' ? 1400 : 1370 }),
      packets: fc.integer({ min: 2, max: 64 }),
      rest: fc.integer({ min: 0, max: 99 }),
      push: fc.boolean(),
    });
    fc.assert(
      fc.property(cases, ({ family, tcp, size, packets, rest, push }) => {
        const payload = bytes(Math.min((packets - 1) * size + Math.min(rest, size), 65_000));
        const link = kind === 'udp' ? 0 : 14;
        const wish = { ...WAYS[family], flags: push ? 0x18 : 0x10 };
        const make = (ttl: number): Buffer =>
          tcp ? tcpPacket({ ...wish, ttl }, payload) : udpPacket({ ...wish, ttl }, payload);
        const frame = (packet: Buffer): Buffer => (link === 0 ? packet : ethernet(PEER_MAC, OWN_MAC, packet));
        // The peer sends.
        const here = { ...PEER, endpoint: OWN_OUTER, sources: [OWN_OUTER], subnets: settings.own, mac: OWN_MAC };
        const theirs = { ...settings, local: PEER_OUTER, own: PEER.subnets };
        const side =
          kind === 'udp' ? theirs : { ...theirs, encapsulation: { kind: 'vxlan', vni: 7, mac: PEER_MAC } as const };
        cores.begin(side, [here]);
        const partial = withPartialChecksum(make(64));
        const sent = cores.transmit([{ frame: frame(partial), virtio: virtioHeader(partial, link, size) }]);
        // We receive.
        cores.begin(settings);
        const written = cores.receive(
          sent.messages.map(({ data, segmentBytes }) =>
            segmentBytes === undefined ? { data, address: PEER_OUTER } : { data, address: PEER_OUTER, segmentBytes },
          ),
        );
        const whole = withPartialChecksum(make(kind === 'udp' ? 62 : 64));
        if (payload.length <= size) {
          t.deepEqual(written, [Buffer.concat([NOTHING, frame(make(kind === 'udp' ? 62 : 64))])]);
          return;
        }
        const virtio = virtioHeader(whole, link, size);
        virtio.writeUInt16LE(link + transportAt(whole) + (tcp ? 20 : 8), 2);
        t.deepEqual(written, [Buffer.concat([virtio, frame(whole)])]);
        t.is(cores.counters()['rx-packets'], Math.ceil(payload.length / size));
      }),
      { numRuns: 100 },
    );
  });
}
