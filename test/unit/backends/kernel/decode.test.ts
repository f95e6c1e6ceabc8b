import { readFileSync } from 'node:fs';
import test from 'ava';
import fc from 'fast-check';
import { decodeAddress } from '../../../../backends/kernel/address-message.ts';
import { DeviceTable } from '../../../../backends/kernel/device-table.ts';
import { decodeEvents } from '../../../../backends/kernel/event-message.ts';
import { decodeLink, encodeNewVxlan } from '../../../../backends/kernel/link-message.ts';
import { failureIn, type Message, NLMSG_ERROR, parseMessages } from '../../../../backends/kernel/message.ts';
import { MessageWriter } from '../../../../backends/kernel/message-writer.ts';
import { decodeFdbEntry, decodeNeighbour } from '../../../../backends/kernel/neighbour-message.ts';
import { decodeNexthop, nexthopIdIn } from '../../../../backends/kernel/nexthop-message.ts';
import { encodeOperation } from '../../../../backends/kernel/operation-message.ts';
import { decodeLookup, decodeRoute } from '../../../../backends/kernel/route-message.ts';
import type { KernelObject } from '../../../../backends/state.ts';
import { ipFromBytes, macFromBytes, prefixOf } from '../../../../config/address.ts';

type Dump = readonly { readonly type: number; readonly body: string }[];
const file = new URL('../../../../../test/golden/kernel-dumps.json', import.meta.url);
const golden: Record<string, Dump> = JSON.parse(readFileSync(file, 'utf8'));

function dump(name: string): Message[] {
  return (golden[name] ?? []).map(({ type, body }) => ({
    type,
    flags: 2,
    port: 0,
    seq: 1,
    body: Buffer.from(body, 'hex'),
  }));
}

const devices = new DeviceTable();
const links = devices.replace(dump('links'));
const { nameOf } = devices;

test('links as the kernel dumps them', (t) => {
  t.deepEqual(
    links.map(({ name, index, type, up, loopback }) => ({ name, index, type, up, loopback })),
    [
      { name: 'lo', index: 1, type: '', up: true, loopback: true },
      { name: 'tk9', index: 2, type: 'veth', up: true, loopback: false },
      { name: 'tk0', index: 3, type: 'veth', up: true, loopback: false },
      { name: 'flannel.1', index: 4, type: 'vxlan', up: true, loopback: false },
      { name: 'flannel-v6.1', index: 5, type: 'vxlan', up: true, loopback: false },
      { name: 'other', index: 6, type: 'vxlan', up: false, loopback: false },
    ],
  );
  t.like(links[3], {
    mac: '02:42:00:00:00:01',
    mtuBytes: 1450,
    vxlan: { vni: 1, port: 8472, local: '192.0.2.1', lower: 'tk0', learning: false, gbp: false },
  });
  t.like(links[4]?.vxlan, { local: 'fd00::1', gbp: true });
  t.is(links[5]?.vxlan, undefined, 'one with a group and no local address is none of ours');
});

test('a tun has no MAC, a tap has one; what each is like is told', (t) => {
  const [tun, tap] = dump('tunLinks').map((message) => decodeLink(message, nameOf));
  const mine = { isPersistent: true, isMultiQueue: false };
  t.like(tun, { name: 'tn0', mac: undefined, up: true, type: 'tun', vxlan: undefined, tun: { ...mine, isTap: false } });
  t.like(tap, {
    name: 'tp0',
    mac: '02:42:00:00:00:0a',
    up: false,
    type: 'tun',
    tun: { isTap: true, isMultiQueue: true },
  });
});

test('what a kernel before 4.17 leaves out of a tun, its MAC tells', (t) => {
  for (const [message, isTap] of dump('tunLinks').map((one, place) => [one, place === 1] as const)) {
    const body = Buffer.from(message.body);
    // IFLA_INFO_DATA becomes an attribute that nobody knows.
    const at = body.indexOf(Buffer.from('74756e00', 'hex')) + 4;
    body.writeUInt16LE(99, at + 2);
    t.deepEqual(decodeLink({ ...message, body }, nameOf)?.tun, { isTap, isPersistent: true, isMultiQueue: false });
  }
});

test('a route to a device alone, with its metric', (t) => {
  const table = new DeviceTable();
  table.learn(2, 'tn0', 'tun');
  const [route] = dump('tunRoutes').flatMap((message) => decodeRoute(message, table.nameOf) ?? []);
  t.like(route?.info, { dst: '10.5.0.0/16', metric: 84, protocol: 84, dev: 'tn0', gateway: undefined, onlink: false });
});

test('addresses as the kernel dumps them', (t) => {
  const found = [...dump('addresses4'), ...dump('addresses6')].flatMap((m) => decodeAddress(m, nameOf) ?? []);
  const flags = { permanent: true, temporary: false, deprecated: false };
  t.deepEqual(
    found.filter(({ ip }) => !ip.startsWith('fe80:')),
    [
      ['lo', '127.0.0.1', 8],
      ['tk0', '192.0.2.1', 24],
      ['flannel.1', '10.5.1.0', 32],
      ['lo', '::1', 128],
      ['tk0', 'fd00::1', 64],
      ['flannel-v6.1', 'fd05:0:0:1::', 128],
    ].map(([dev, ip, length]) => ({ dev, ip, length, ...flags })) as never,
  );
});

test('neighbours and forwarding entries as the kernel dumps them', (t) => {
  const neighbours = dump('neighbours4').flatMap((m) => decodeNeighbour(m, nameOf) ?? []);
  t.deepEqual(neighbours.map(({ object, permanent }) => `${object.ip} ${object.mac} ${permanent}`).sort(), [
    '10.5.2.0 02:42:00:00:00:02 true',
    '10.5.3.0 02:42:00:00:00:03 false',
  ]);
  const v6 = dump('neighbours6').flatMap((m) => decodeNeighbour(m, nameOf) ?? []);
  t.true(v6.some(({ object, permanent }) => permanent && object.ip === 'fd05:0:0:2::'));
  t.true(v6.every(({ object, permanent }) => !(permanent && object.ip.startsWith('ff02:'))));
  const fdb = [...dump('fdb4'), ...dump('fdb6')].flatMap((m) => decodeFdbEntry(m, nameOf) ?? []);
  t.deepEqual(fdb.map(({ object: { dev, mac, dst }, permanent }) => `${dev} ${mac} ${dst} ${permanent}`).sort(), [
    'flannel-v6.1 02:42:00:00:00:02 fd00::2 true',
    'flannel.1 02:42:00:00:00:02 192.0.2.2 true',
    'flannel.1 02:42:00:00:00:03 192.0.2.3 false',
  ]);
});

test('nexthops as the kernel dumps them, those without a gateway by their id', (t) => {
  t.deepEqual(dump('nexthops').map(nexthopIdIn), [5, 6, 1409286144, 1409286145]);
  t.deepEqual(
    dump('nexthops')
      .flatMap((m) => decodeNexthop(m, nameOf) ?? [])
      .map(({ object, protocol }) => ({ object, protocol })),
    [
      { id: 1409286144, dev: 'flannel.1', gateway: '10.5.2.0' },
      { id: 1409286145, dev: 'flannel-v6.1', gateway: 'fd05:0:0:2::' },
    ].map((o) => ({ object: { kind: 'nexthop', onlink: true, ...o }, protocol: 84 })) as never,
  );
});

test('routes as the kernel dumps them', (t) => {
  const found = [...dump('routes4'), ...dump('routes6')].flatMap((m) => decodeRoute(m, nameOf) ?? []);
  const lines = found
    .filter(({ table }) => table === 254)
    .map(
      ({ info: r }) =>
        `${r.dst} ${r.type} p${r.protocol} m${r.metric} ${r.dev} ${r.gateway} ${r.onlink} ${r.nexthopId}`,
    )
    .filter((line) => !line.startsWith('fe80:'));
  t.deepEqual(lines, [
    '10.5.0.0/16 6 p84 m0 undefined undefined false undefined',
    '10.5.2.0/24 1 p84 m0 flannel.1 10.5.2.0 true 1409286144',
    '10.5.3.0/24 1 p3 m0 flannel.1 10.5.3.0 true undefined',
    '10.6.0.0/16 1 p3 m0 undefined undefined false undefined',
    '10.7.0.0/16 1 p3 m7 flannel-v6.1 fd05:0:0:2:: true undefined',
    '192.0.2.0/24 1 p2 m0 tk0 undefined false undefined',
    'fd00::/64 1 p2 m256 tk0 undefined false undefined',
    'fd05:0:0:1::/128 1 p2 m256 flannel-v6.1 undefined false undefined',
    'fd05:0:0:2::/64 1 p84 m1024 flannel-v6.1 fd05:0:0:2:: true 1409286145',
    'fd05:0:0:3::/64 1 p3 m1024 flannel-v6.1 fd05:0:0:3:: true undefined',
  ]);
});

const ipBytes = fc.oneof(
  fc.uint8Array({ minLength: 4, maxLength: 4 }),
  fc.uint8Array({ minLength: 16, maxLength: 16 }),
);
const anyIp = ipBytes.map((bytes) => ipFromBytes(bytes)).filter((ip) => ip !== undefined);
const anyMac = fc
  .uint8Array({ minLength: 6, maxLength: 6 })
  .map((b) => macFromBytes(b.map((x, i) => (i === 0 ? 2 : x))));
const dev = 'flannel.1';

const roundTrips: { [name: string]: [fc.Arbitrary<KernelObject>, (m: Message) => KernelObject | undefined] } = {
  neighbour: [
    fc.record({ kind: fc.constant('neighbour' as const), dev: fc.constant(dev), ip: anyIp, mac: anyMac }),
    (m) => decodeNeighbour(m, nameOf)?.object,
  ],
  'forwarding entry': [
    fc.record({ kind: fc.constant('fdb' as const), dev: fc.constant(dev), dst: anyIp, mac: anyMac }),
    (m) => decodeFdbEntry(m, nameOf)?.object,
  ],
  nexthop: [
    fc.record({
      kind: fc.constant('nexthop' as const),
      id: fc.integer({ min: 1, max: 0xffffffff }),
      dev: fc.constant(dev),
      gateway: anyIp,
      onlink: fc.boolean(),
    }),
    (m) => decodeNexthop(m, nameOf)?.object,
  ],
  route: [
    fc.tuple(anyIp, fc.nat(32), fc.boolean()).map(([ip, length, onlink]) => ({
      kind: 'route' as const,
      dst: prefixOf(ip, length),
      dev,
      gateway: ip,
      onlink,
      nexthopId: undefined,
    })),
    (m) => {
      const info = decodeRoute(m, nameOf)?.info;
      if (info?.dev === undefined || info.gateway === undefined) return undefined;
      const { dst, gateway, onlink, nexthopId } = info;
      return { kind: 'route', dst, dev: info.dev, gateway, onlink, nexthopId };
    },
  ],
  address: [
    fc.tuple(anyIp, fc.nat(32)).map(([ip, length]) => ({ kind: 'address' as const, dev, ip, length })),
    (m) => {
      const found = decodeAddress(m, nameOf);
      return found && { kind: 'address', dev: found.dev, ip: found.ip, length: found.length };
    },
  ],
};

for (const [name, [objects, decode]] of Object.entries(roundTrips)) {
  test(`what is written for a ${name} reads as the same`, (t) => {
    fc.assert(
      fc.property(objects, (object) => {
        const writer = new MessageWriter(256);
        writer.reset(1);
        encodeOperation(writer, { verb: 'set', object, why: '' }, 4);
        const [message] = parseMessages(writer.bytes());
        t.deepEqual(message && decode(message), object);
      }),
      { numRuns: 300 },
    );
  });
}

test('a new vxlan reads as what was asked for', (t) => {
  const writer = new MessageWriter(256);
  const vxlan = links[3]?.vxlan;
  const mac = links[3]?.mac;
  if (vxlan === undefined || mac === undefined) return t.fail();
  writer.reset(1);
  encodeNewVxlan(writer, { kind: 'link', name: 'x', mac, mtuBytes: 1400, up: true, vxlan }, 3);
  const [message] = parseMessages(writer.bytes());
  t.like(message && decodeLink(message, nameOf), { name: 'x', mac, mtuBytes: 1400, up: true, type: 'vxlan', vxlan });
});

const DECODERS = [decodeLink, decodeAddress, decodeNeighbour, decodeFdbEntry, decodeNexthop, decodeRoute, decodeLookup];
const TYPES = [2, 3, 16, 17, 20, 21, 24, 25, 28, 29, 104, 105];

/** Every decoder on the bytes. Reads beyond them would throw, or show what stands behind. */
function decodeAll(body: Buffer): string {
  const results: unknown[] = DECODERS.map((decode) => decode({ type: 0, flags: 0x200, port: 0, seq: 1, body }, nameOf));
  for (const type of TYPES) {
    const table = new DeviceTable();
    table.learn(4, 'flannel.1', 'vxlan');
    results.push(decodeEvents({ type, flags: 0, port: 0, seq: 1, body }, table));
  }
  results.push(
    failureIn({ type: NLMSG_ERROR, flags: 0x200, port: 0, seq: 1, body }),
    nexthopIdIn({ type: 0, flags: 0, port: 0, seq: 1, body }),
  );
  return JSON.stringify(results);
}

/** The bytes in the middle of others, which are not to matter. */
function within(body: Uint8Array, around: number): Buffer {
  const buffer = Buffer.alloc(body.length + 200, around);
  buffer.set(body, 100);
  return buffer.subarray(100, 100 + body.length);
}

test('random bytes are refused or read, without a throw and without a look beyond their end', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      t.is(decodeAll(within(bytes, 0)), decodeAll(within(bytes, 0xff)));
      parseMessages(Buffer.from(bytes));
    }),
  );
});

const realBodies = Object.values(golden)
  .filter((value) => Array.isArray(value))
  .flatMap((messages) => messages.map(({ body }) => Buffer.from(body, 'hex')));
const mutation = fc.record({
  body: fc.constantFrom(...realBodies),
  cut: fc.nat(1400),
  changes: fc.array(fc.tuple(fc.nat(1400), fc.nat(255)), { maxLength: 8 }),
});

test('real messages, cut and changed, are refused or read', (t) => {
  fc.assert(
    fc.property(mutation, ({ body, cut, changes }) => {
      const bytes = Buffer.from(body.subarray(0, Math.max(0, body.length - (cut % 40))));
      for (const [at, value] of changes) if (bytes.length > 0) bytes[at % bytes.length] = value;
      t.is(decodeAll(within(bytes, 0)), decodeAll(within(bytes, 0xff)));
    }),
    { numRuns: 500 },
  );
});

test('a datagram is read up to the first message that leads outside of it', (t) => {
  const writer = new MessageWriter(256);
  writer.reset(7);
  for (let i = 0; i < 3; i++) {
    writer.begin(24, 1);
    writer.u32(i);
    writer.end();
  }
  const bytes = writer.bytes();
  t.deepEqual(
    parseMessages(bytes).map(({ seq, body }) => [seq, body.readUInt32LE(0)]),
    [
      [7, 0],
      [8, 1],
      [9, 2],
    ],
  );
  t.is(parseMessages(bytes.subarray(0, bytes.length - 1)).length, 2);
  bytes.writeUInt32LE(3, 20);
  t.is(parseMessages(bytes).length, 1);
});

test('a refusal carries the number and the words of the kernel', (t) => {
  const body = Buffer.alloc(4 + 16 + 16);
  body.writeInt32LE(-22, 0);
  body.writeUInt32LE(500, 4);
  body.writeUInt16LE(15, 20);
  body.writeUInt16LE(1, 22);
  body.write('bad thing\0', 24);
  const message = { type: NLMSG_ERROR, flags: 0x300, port: 0, seq: 1, body };
  t.deepEqual(failureIn(message), { errno: 22, detail: 'bad thing' });
  t.deepEqual(failureIn({ ...message, flags: 0x200 }), { errno: 22, detail: '' }, 'the echo leads outside');
  t.is(failureIn({ ...message, body: Buffer.alloc(20) }), undefined);
});
