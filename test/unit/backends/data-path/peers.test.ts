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
import { HERE, HERE6, OWN_MAC, PacketCores, PEER, UDP, VXLAN } from '../../../support/packet-cores.ts';
import { ethernet, ipPacket } from '../../../support/packets.ts';

const cores = await PacketCores.open();

test.afterEach(() => cores.compareMemory());

const EVERYTHING = { ...UDP, own: [], networks: [], filter: 'off' } as const;

/** Where a packet to `to` goes. */
function next(to: Ip): Ip | undefined {
  const frame = ipPacket({ from: to.includes(':') ? HERE6 : HERE, to }, 200, Buffer.alloc(4));
  return cores.transmit([{ frame }]).messages[0]?.address;
}

/** The obvious way: go through all of them. The first that came wins among those of one prefix. */
function naive(peers: ReadonlyMap<string, PathPeer>, to: Ip): Ip | undefined {
  const all = [...peers.values()].flatMap(({ endpoint, subnets }) => subnets.map((subnet) => ({ endpoint, subnet })));
  const holding = all.filter(({ subnet }) => containsIp(subnet, to));
  return holding.sort((a, b) => prefixLength(b.subnet) - prefixLength(a.subnet))[0]?.endpoint;
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

test('peers come and go; the longest prefix that holds an address decides', (t) => {
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 25 }),
      fc.array(fc.oneof(address4, address6), { minLength: 8 }),
      (steps, asked) => {
        cores.begin(EVERYTHING, []);
        const known = new Map<string, PathPeer>();
        for (const { key, subnets } of steps) {
          const name = `peer ${key}`;
          known.delete(name);
          if (subnets === undefined) cores.removePeer(name);
          else {
            const peer = {
              endpoint: `192.0.2.${100 + key}` as Ip,
              sources: [],
              subnets: subnets.filter((each) => each !== undefined),
              mac: undefined,
            };
            known.set(name, peer);
            cores.setPeer(name, peer);
          }
          for (const to of asked.slice(0, 2)) t.is(next(to), naive(known, to));
        }
        for (const to of asked) t.is(next(to), naive(known, to));
      },
    ),
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

test('addresses that differ in one place only go to different peers, each after the other', (t) => {
  const all = ['fd00::', 'fe00::', 'fd00:0:1::', 'fd00::1:0:0:0', 'fd00::1'] as Ip[];
  const endpoint = (i: number): Ip => `192.0.2.${10 + i}` as Ip;
  cores.begin(
    EVERYTHING,
    all.map((ip, i) => ({ endpoint: endpoint(i), sources: [], subnets: [`${ip}/128` as Prefix], mac: undefined })),
  );
  for (const [i, a] of all.entries()) {
    for (const [j, b] of all.entries()) t.deepEqual([next(a), next(b)], [endpoint(i), endpoint(j)]);
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

test('one peer cannot fill the tables', (t) => {
  cores.begin(UDP, []);
  const subnets = Array.from({ length: 17 }, (_, i) => `10.5.${i}.0/24` as Prefix);
  const sources = Array.from({ length: 17 }, (_, i) => `192.0.2.${i}` as Ip);
  t.is(cores.setPeer('a', { ...PEER, subnets }), 'more than 16 subnets');
  t.is(cores.setPeer('a', { ...PEER, sources }), 'more than 16 sources');
  t.is(cores.setPeer('a', { ...PEER, subnets: subnets.slice(1), sources: sources.slice(1) }), undefined);
  t.is(next('10.5.16.1' as Ip), PEER.endpoint);
});

/** Peer number `i`, with as many subnets and sources. */
function many(i: number, each: number): PathPeer {
  const ips = Array.from({ length: each }, (_, j) => ipFromBigInt(0x0b00_0000n + BigInt(i * 16 + j) * 256n, 4));
  const mac = `02:01:00:00:${Buffer.from([i >>> 8, i])
    .toString('hex')
    .replace(/^../, '$&:')}` as Mac;
  return { endpoint: ips[0] ?? PEER.endpoint, sources: ips, subnets: ips.map((ip) => `${ip}/24` as Prefix), mac };
}

test('20,000 peers with four subnets and sources each have room; beyond, they are refused and nothing else is harmed', (t) => {
  cores.begin(EVERYTHING, []);
  for (let i = 0; i < 20_000; i++) if (cores.setPeer(`m${i}`, many(i, 4)) !== undefined) t.fail(`refused ${i}`);
  const refused: number[] = [];
  for (let i = 20_000; i < 22_500; i++) if (cores.setPeer(`m${i}`, many(i, 4)) !== undefined) refused.push(i);
  t.true(refused.length > 0 && refused.length < 2500);
  const [first = 0] = refused;
  t.is(cores.refusedPeers().get(`m${first}`), 'there is no more room for subnets and sources');
  for (let i = 0; i < first; i += 977)
    t.is(next(many(i, 4).subnets[3]?.replace('.0/24', '.9') as Ip), many(i, 4).endpoint);
  t.is(next(many(first, 4).subnets[0]?.replace('.0/24', '.9') as Ip), undefined);
  // Room that is given back is room again, for those who came first.
  for (let i = 0; i < 10; i++) cores.removePeer(`m${i}`);
  t.is(cores.refusedPeers().size, refused.length - 10);
  t.is(next(many(first, 4).subnets[0]?.replace('.0/24', '.9') as Ip), many(first, 4).endpoint);
});

test('there are 32,767 numbers', (t) => {
  cores.begin(EVERYTHING, []);
  for (let i = 0; i < 32_767; i++) if (cores.setPeer(`m${i}`, many(i, 1)) !== undefined) t.fail(`refused ${i}`);
  t.is(cores.setPeer('one more', PEER), 'there is room for 32767 peers');
  t.is(next(many(32_766, 1).subnets[0]?.replace('.0/24', '.9') as Ip), many(32_766, 1).endpoint);
  cores.removePeer('m5');
  t.deepEqual(cores.refusedPeers(), new Map());
  t.is(next('10.5.2.9' as Ip), PEER.endpoint);
});
