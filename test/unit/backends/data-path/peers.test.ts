import test from 'ava';
import fc from 'fast-check';
import type { PathPeer } from '../../../../backends/data-path/path-peer.ts';
import {
  containsIp,
  type Ip,
  ipFromBigInt,
  type Mac,
  type Prefix,
  parsePrefix,
  prefixLength,
} from '../../../../config/address.ts';
import { HERE, HERE6, OWN_MAC, PacketCores, PEER, PEER_MAC, UDP, VXLAN } from '../../../support/packet-cores.ts';
import { ethernet, ipPacket, vxlan } from '../../../support/packets.ts';

const cores = await PacketCores.open();

test.afterEach(() => cores.compareMemory());

const EVERYTHING = { ...UDP, own: [], networks: [], filter: 'off' } as const;
const CHECKED = { ...VXLAN, own: [], networks: ['0.0.0.0/0', '::/0'] as Prefix[] };

/** Where a packet to `to` goes. */
function next(to: Ip): Ip | undefined {
  const frame = ipPacket({ from: HERE, to }, 200, Buffer.alloc(4));
  return cores.transmit([{ frame }]).messages[0]?.address;
}

/** The obvious way: go through all of them. The first that came wins among those of one prefix. */
function naive(peers: ReadonlyMap<string, PathPeer>, to: Ip): Ip | undefined {
  const all = [...peers.values()].flatMap(({ endpoint, subnets }) => subnets.map((subnet) => ({ endpoint, subnet })));
  const holding = all.filter(({ subnet }) => containsIp(subnet, to));
  return holding.sort((a, b) => prefixLength(b.subnet) - prefixLength(a.subnet))[0]?.endpoint;
}

/** Whether a packet of `from` out of a VXLAN that the peer at `outer` sent is its own. */
function isOwnOf(outer: Ip, from: Ip): boolean {
  const packet = ipPacket({ from, to: from.includes(':') ? HERE6 : HERE }, 200, Buffer.alloc(4));
  return cores.receive([{ data: vxlan(7, ethernet(PEER_MAC, OWN_MAC, packet)), address: outer }]).length === 1;
}

const address4 = fc.integer({ min: 0, max: 0x3ff }).map((low) => ipFromBigInt(0x0a05_0000n + BigInt(low), 4));
const address6 = fc
  .integer({ min: 0, max: 0x3ff })
  .map((low) => ipFromBigInt((0xfdn << 120n) + (BigInt(low) << 60n), 6));
const subnet = fc.oneof(
  fc.tuple(address4, fc.integer({ min: 20, max: 32 })),
  fc.tuple(address6, fc.integer({ min: 58, max: 70 })),
  fc.constantFrom(['10.0.0.0', 8] as const, ['0.0.0.0', 0] as const, ['::', 0] as const, ['fd00::', 128] as const),
);
const step = fc.record({
  key: fc.integer({ min: 0, max: 9 }),
  subnets: fc.option(
    fc.uniqueArray(
      subnet.map(([ip, length]) => parsePrefix(`${ip}/${length}`)),
      { maxLength: 4 },
    ),
    {
      nil: undefined,
    },
  ),
});

/** Does as the step says, to the cores and to `known`. */
function take(
  { key, subnets }: { key: number; subnets: readonly (Prefix | undefined)[] | undefined },
  known: Map<string, PathPeer>,
): void {
  const name = `peer ${key}`;
  known.delete(name);
  if (subnets === undefined) {
    cores.removePeer(name);
    return;
  }
  const endpoint = `192.0.2.${100 + key}` as Ip;
  const held = subnets.filter((each) => each !== undefined);
  const peer = { endpoint, sources: [endpoint], subnets: held, mac: undefined };
  known.set(name, peer);
  cores.setPeer(name, peer);
}

test('peers come and go; the longest prefix that holds an address decides', (t) => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 25 }), fc.array(address4, { minLength: 8 }), (steps, asked) => {
      cores.begin(EVERYTHING, []);
      const known = new Map<string, PathPeer>();
      for (const each of steps) {
        take(each, known);
        for (const to of asked.slice(0, 2)) t.is(next(to), naive(known, to));
      }
      for (const to of asked) t.is(next(to), naive(known, to));
    }),
    { numRuns: 60 },
  );
});

test('peers come and go; any of its prefixes that holds an address makes it a peer’s own', (t) => {
  const asked = fc.array(fc.tuple(fc.integer({ min: 0, max: 9 }), fc.oneof(address4, address6)), { minLength: 8 });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 25 }), asked, (steps, questions) => {
      cores.begin(CHECKED, []);
      const known = new Map<string, PathPeer>();
      const check = ([key, from]: readonly [number, Ip]): void => {
        const expected = known.get(`peer ${key}`)?.subnets.some((each) => containsIp(each, from)) ?? false;
        t.is(isOwnOf(`192.0.2.${100 + key}` as Ip, from), expected);
      };
      for (const each of steps) {
        take(each, known);
        for (const question of questions.slice(0, 2)) check(question);
      }
      for (const question of questions) check(question);
    }),
    { numRuns: 60 },
  );
});

test('a peer that moves is reached at its new address at once', (t) => {
  cores.begin(UDP);
  t.is(next('10.5.2.9' as Ip), PEER.endpoint);
  cores.setPeer('peer 0', { ...PEER, endpoint: '192.0.2.99' as Ip });
  t.is(next('10.5.2.9' as Ip), '192.0.2.99' as Ip);
  cores.removePeer('peer 0');
  t.is(next('10.5.2.9' as Ip), undefined);
  cores.removePeer('never heard of');
});

test('addresses that differ in one place only are of different peers', (t) => {
  const all = ['fd00::', 'fe00::', 'fd00:0:1::', 'fd00::1:0:0:0', 'fd00::1'] as Ip[];
  const endpoint = (i: number): Ip => `192.0.2.${10 + i}` as Ip;
  const peerOf = (ip: Ip, i: number): PathPeer => {
    return { endpoint: endpoint(i), sources: [endpoint(i)], subnets: [`${ip}/128` as Prefix], mac: undefined };
  };
  cores.begin(CHECKED, all.map(peerOf));
  for (const [i] of all.entries()) {
    for (const [j, ip] of all.entries()) t.is(isOwnOf(endpoint(i), ip), i === j);
  }
});

test('what waits to be sent goes where it was to go, whatever becomes of the peer', (t) => {
  cores.begin(UDP);
  t.is(next('10.5.2.9' as Ip), PEER.endpoint);
  cores.removePeer('peer 0');
  cores.setPeer('another', { ...PEER, endpoint: '192.0.2.98' as Ip });
  t.deepEqual(
    cores.waiting(1).map(({ address }) => address),
    [PEER.endpoint],
  );
});

test('a MAC that goes to another peer', (t) => {
  const to = (mac: Mac): Ip | undefined =>
    cores.transmit([{ frame: ethernet(OWN_MAC, mac, Buffer.alloc(60, 0x45)) }]).messages[0]?.address;
  const [one, two] = ['02:00:00:00:00:11', '02:00:00:01:00:11'] as Mac[];
  if (one === undefined || two === undefined) throw new Error('two MACs');
  const other = { ...PEER, endpoint: '192.0.2.3' as Ip, subnets: [], mac: two };
  cores.begin(VXLAN, [{ ...PEER, mac: one }, other]);
  t.deepEqual([to(one), to(two)], [PEER.endpoint, other.endpoint]);
  cores.setPeer('peer 0', { ...PEER, mac: undefined });
  t.is(to(one), undefined);
  cores.setPeer('peer 1', { ...other, mac: one });
  t.deepEqual([to(one), to(two)], [other.endpoint, undefined]);
});

test('a peer of the other outer family is refused, and known again where it fits', (t) => {
  cores.begin(UDP, []);
  const six = { ...PEER, endpoint: '2001:db8::2' as Ip };
  t.is(cores.setPeer('six', six), '2001:db8::2 is not IPv4');
  t.deepEqual(cores.refusedPeers(), new Map([['six', '2001:db8::2 is not IPv4']]));
  t.is(next('10.5.2.9' as Ip), undefined);
  cores.configure({ ...UDP, local: '2001:db8::1' as Ip });
  t.is(next('10.5.2.9' as Ip), six.endpoint);
  t.deepEqual(cores.refusedPeers(), new Map());
  cores.removePeer('six');
});

test('a peer has room for four subnets, and for as many of its first sources as fill six entries', (t) => {
  const subnets = Array.from({ length: 5 }, (_, i) => `10.5.${i}.0/24` as Prefix);
  const sources = Array.from({ length: 16 }, (_, i) => `192.0.2.${100 + i}` as Ip);
  cores.begin(UDP, []);
  t.is(cores.setPeer('peer', { ...PEER, subnets }), 'more than 4 subnets');
  for (const [held, known] of [
    [1, 4],
    [4, 1],
  ] as const) {
    cores.begin({ ...CHECKED, own: [] }, []);
    t.is(cores.setPeer('peer', { ...PEER, subnets: subnets.slice(0, held), sources }), undefined);
    t.deepEqual(
      sources.filter((source) => isOwnOf(source, '10.5.0.9' as Ip)),
      sources.slice(0, known),
    );
    cores.removePeer('peer');
    t.false(isOwnOf(PEER.endpoint, '10.5.0.9' as Ip));
  }
});

/** Peer number `i`, with as many subnets and sources. */
function many(i: number, each: number): PathPeer {
  const ips = Array.from({ length: each }, (_, j) => ipFromBigInt(0x0b00_0000n + BigInt(i * 16 + j) * 256n, 4));
  const mac = `02:01:00:00:${Buffer.from([i >>> 8, i])
    .toString('hex')
    .replace(/^../, '$&:')}` as Mac;
  return { endpoint: ips[0] ?? PEER.endpoint, sources: ips, subnets: ips.map((ip) => `${ip}/24` as Prefix), mac };
}

for (const each of [1, 4, 16]) {
  test(`32,767 peers have room, whatever they ask for: ${each}`, (t) => {
    const peerOf = (i: number): PathPeer => ({ ...many(i, each), subnets: many(i, Math.min(each, 4)).subnets });
    const ofPeer = (i: number): Ip => many(i, 1).subnets[0]?.replace('.0/24', '.9') as Ip;
    cores.begin(EVERYTHING, []);
    for (let i = 0; i < 32_767; i++) if (cores.setPeer(`m${i}`, peerOf(i)) !== undefined) t.fail(`refused ${i}`);
    t.is(cores.setPeer('one more', PEER), 'there is room for 32767 peers');
    t.deepEqual(cores.refusedPeers(), new Map([['one more', 'there is room for 32767 peers']]));
    for (const i of [0, 977, 32_766]) t.is(next(ofPeer(i)), peerOf(i).endpoint);
    // Room that is given back is room again.
    cores.removePeer('m5');
    t.deepEqual(cores.refusedPeers(), new Map());
    t.is(next('10.5.2.9' as Ip), PEER.endpoint);
    t.is(next(ofPeer(5)), undefined);
  });
}
