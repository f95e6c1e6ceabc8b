import test from 'ava';
import fc from 'fast-check';
import { decodeEcho, encodeEcho, ICMP } from '../../../../backends/vxlan/echo-message.ts';
import { decodeEthernet, encodeEthernet } from '../../../../backends/vxlan/ethernet-header.ts';
import { internetChecksum } from '../../../../backends/vxlan/internet-checksum.ts';
import { decodeIp, encodeIp } from '../../../../backends/vxlan/ip-header.ts';
import { decodeVxlan, encodeVxlan } from '../../../../backends/vxlan/vxlan-header.ts';
import { type Family, type Ip, ipFromBytes, type Mac, macFromBytes } from '../../../../config/address.ts';
import { ip } from '../values.ts';
import { DATAGRAMS, datagram, echoFrame } from './frames.ts';

interface Opened {
  readonly vni: number;
  readonly destination: Mac;
  readonly source: Mac;
  readonly family: Family;
  readonly from: Ip;
  readonly to: Ip;
  readonly kind: string;
  readonly id: number;
  readonly sequence: number;
  readonly payload: string;
}

/** A whole datagram, through all codecs, or the reason of the one that refuses it. */
function open(bytes: Buffer): Opened | string {
  const vxlan = decodeVxlan(bytes);
  if (!vxlan.ok) return vxlan.reason;
  const ethernet = decodeEthernet(vxlan.frame);
  if (!ethernet.ok) return ethernet.reason;
  const packet = decodeIp(ethernet.payload);
  if (!packet.ok) return packet.reason;
  if (packet.protocol !== ICMP[packet.family]) return `protocol ${packet.protocol}`;
  const echo = decodeEcho(packet.payload, packet);
  if (!echo.ok) return echo.reason;
  return {
    vni: vxlan.vni,
    destination: ethernet.destination,
    source: ethernet.source,
    family: ethernet.family,
    from: packet.source,
    to: packet.destination,
    kind: echo.kind,
    id: echo.id,
    sequence: echo.sequence,
    payload: echo.payload.toString('hex'),
  };
}

const PAYLOAD = 'f25f026b00000000d5b0090000000000616e74617274616e';
const REQUEST = {
  vni: 1,
  destination: '02:00:00:00:05:02',
  source: '02:00:00:00:05:01',
  family: 4,
  from: '10.5.1.0',
  to: '10.5.2.0',
  kind: 'request',
  id: 30_755,
  sequence: 1,
  payload: PAYLOAD,
};
const REQUEST_6 = {
  vni: 1,
  destination: '02:00:00:00:06:02',
  source: '02:00:00:00:06:01',
  family: 6,
  from: 'fd00:5:0:1::',
  to: 'fd00:5:0:2::',
  kind: 'request',
  id: 30_756,
  sequence: 1,
  payload: 'f25f026b0000000017c5090000000000616e74617274616e74',
};
const CAPTURED: readonly [name: string, expected: unknown][] = [
  ['echo request', REQUEST],
  [
    'echo reply',
    {
      ...REQUEST,
      destination: REQUEST.source,
      source: REQUEST.destination,
      from: REQUEST.to,
      to: REQUEST.from,
      kind: 'reply',
    },
  ],
  ['echo request, IPv6', REQUEST_6],
  [
    'echo reply, IPv6',
    {
      ...REQUEST_6,
      destination: REQUEST_6.source,
      source: REQUEST_6.destination,
      from: REQUEST_6.to,
      to: REQUEST_6.from,
      kind: 'reply',
    },
  ],
  ['neighbour solicitation', 'ICMP type 135, code 0'],
];

for (const [name, expected] of CAPTURED) {
  test(`the kernel's own ${name}`, (t) => t.deepEqual(open(datagram(name)) as unknown, expected));
}

test('what is reserved is not looked at: group policies', (t) => {
  for (const name of ['echo request, group policy', 'echo reply, no policy']) {
    const decoded = decodeVxlan(datagram(name));
    t.true(decoded.ok && decoded.vni === 0xabcdef, name);
  }
});

for (const name of ['echo request', 'echo reply', 'echo request, IPv6', 'echo reply, IPv6']) {
  test(`the kernel's bytes are made again, but for what an IP header may choose: ${name}`, (t) => {
    const captured = datagram(name);
    const { vni, ethernet, packet, echo, bytes } = echoFrame(captured);
    const chosen = Buffer.from(bytes);
    if (ethernet.family === 4) {
      // Don't fragment.
      chosen.writeUInt16BE(0, 6);
      chosen.writeUInt16BE(0, 10);
      chosen.writeUInt16BE(internetChecksum(chosen.subarray(0, 20)), 10);
    } else chosen.writeUInt32BE(0x60000000, 0);
    t.deepEqual(encodeIp(packet, encodeEcho(echo, packet), chosen.readUInt16BE(4)), chosen);
    t.deepEqual(encodeVxlan(vni, encodeEthernet(ethernet, bytes)), captured);
  });
}

function changed(name: string, at: number, ...bytes: readonly number[]): Buffer {
  const copy = datagram(name);
  copy.set(bytes, at);
  return copy;
}

const IP_AT = 8 + 14;
const ICMP_AT = IP_AT + 20;
const DAMAGED: readonly [what: string, bytes: Buffer, reason: string | RegExp][] = [
  ['nothing', Buffer.alloc(0), '0 bytes are no VXLAN header'],
  ['half a VXLAN header', datagram('echo request').subarray(0, 7), '7 bytes are no VXLAN header'],
  ['no VNI in it', changed('echo request', 0, 0), 'the header has no VNI'],
  ['half an Ethernet header', datagram('echo request').subarray(0, 21), '13 bytes are no Ethernet header'],
  ['ARP', changed('echo request', 20, 0x08, 0x06), 'type 0x0806 is not IP'],
  ['half an IP header', datagram('echo request').subarray(0, IP_AT + 19), '19 bytes are no IP header'],
  ['half an IPv6 header', datagram('echo request, IPv6').subarray(0, IP_AT + 39), '39 bytes are no IP header'],
  ['version 5', changed('echo request', IP_AT, 0x55), 'IP version 5'],
  ['a header of 16 bytes', changed('echo request', IP_AT, 0x44), 'a header of 16 bytes'],
  ['a header longer than the packet', changed('echo request', IP_AT, 0x4f), 'length 52 ends within the header'],
  ['longer than it is', changed('echo request', IP_AT + 2, 0, 53), 'length 53, but 52 bytes are there'],
  ['shorter than its header', changed('echo request', IP_AT + 2, 0, 19), 'length 19 ends within the header'],
  ['longer than it is, IPv6', changed('echo request, IPv6', IP_AT + 4, 0, 34), 'length 74, but 73 bytes are there'],
  ['another time to live', changed('echo request', IP_AT + 8, 63), 'wrong header checksum'],
  ['a fragment', changed('echo request', IP_AT + 6, 0x20, 0, 0x40, 1, 0x7b, 0x22), 'a fragment'],
  ['UDP', changed('echo request', IP_AT + 8, 64, 17, 0x5b, 0x12), 'protocol 17'],
  ['another payload', changed('echo request', ICMP_AT + 8, 0), 'wrong ICMP checksum'],
  ['another payload, IPv6', changed('echo request, IPv6', IP_AT + 48, 0), 'wrong ICMP checksum'],
  ['another destination, IPv6', changed('echo request, IPv6', IP_AT + 24, 0xfc), 'wrong ICMP checksum'],
];

for (const [what, bytes, reason] of DAMAGED) {
  test(`refused: ${what}`, (t) => t.deepEqual(open(bytes), reason as string));
}

test('what stands behind the end of an IP packet is left off', (t) => {
  const padded = Buffer.concat([datagram('echo request'), Buffer.alloc(6, 0xff)]);
  t.deepEqual(open(padded) as unknown, REQUEST);
});

test('a VNI has 24 bits', (t) => {
  for (const vni of [-1, 0x1000000, 1.5, Number.NaN]) t.throws(() => encodeVxlan(vni, Buffer.alloc(0)));
});

test('RFC 1071: the example of section 3, and an odd byte', (t) => {
  t.is(internetChecksum(Buffer.from('0001f203f4f5f6f7', 'hex')), 0xffff - 0xddf2);
  t.is(internetChecksum(Buffer.from('0001f2', 'hex'), Buffer.from('03f4f5f6f7', 'hex')), 0xffff - 0xddf2);
  t.is(internetChecksum(Buffer.from('01', 'hex')), 0xffff - 0x0100);
});

const bytes = (length: number): fc.Arbitrary<Buffer> =>
  fc.uint8Array({ minLength: length, maxLength: length }).map((array) => Buffer.from(array));
const mac = bytes(6).map((raw) => macFromBytes(raw));
const address = (family: Family): fc.Arbitrary<Ip> =>
  bytes(family === 4 ? 4 : 16).map((raw) => ipFromBytes(raw) ?? ip('0.0.0.0'));

test('property: what is encoded is decoded', (t) => {
  const echo = fc.record({
    kind: fc.constantFrom('request', 'reply'),
    id: fc.nat(0xffff),
    sequence: fc.nat(0xffff),
    payload: fc.uint8Array({ maxLength: 2_000 }).map((array) => Buffer.from(array)),
  });
  const headers = fc.constantFrom<Family>(4, 6).chain((family) =>
    fc.record({
      family: fc.constant(family),
      source: mac,
      destination: mac,
      from: address(family),
      to: address(family),
    }),
  );
  fc.assert(
    fc.property(
      fc.nat(0xffffff),
      headers,
      echo,
      fc.nat(0xffff),
      (vni, { family, source, destination, from, to }, said, n) => {
        const ends = { source: from, destination: to };
        const packet = encodeIp({ ...ends, protocol: ICMP[family] }, encodeEcho(said, ends), n);
        const payload = said.payload.toString('hex');
        const opened = open(encodeVxlan(vni, encodeEthernet({ source, destination, family }, packet)));
        t.deepEqual(opened as unknown, { vni, source, destination, family, from, to, ...said, payload });
      },
    ),
  );
});

test('property: nothing is read beyond the end, and nothing throws', (t) => {
  const captures = [...DATAGRAMS.values()];
  const flips = fc.array(fc.tuple(fc.nat(160), fc.nat(255)), { maxLength: 6 });
  fc.assert(
    fc.property(fc.constantFrom(...captures), fc.nat(160), flips, (capture, end, changes) => {
      // In a larger buffer: what is behind the end must not matter.
      const decode = (filling: number): Opened | string => {
        const room = Buffer.alloc(capture.length + 64, filling);
        capture.copy(room);
        const cut = Math.min(end, capture.length);
        for (const [at, value] of changes) if (at < cut) room[at] = value;
        return open(room.subarray(0, cut));
      };
      t.deepEqual(decode(0), decode(0xff));
    }),
    { numRuns: 2_000 },
  );
});
