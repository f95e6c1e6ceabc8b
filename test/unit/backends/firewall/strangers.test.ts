import test from 'ava';
import { type FilterPeer, NamedPeers } from '../../../../backends/firewall/named-peers.ts';
import {
  judge,
  type Sighting,
  type StrangerFacts,
  Strangers,
  type Verdict,
} from '../../../../backends/firewall/strangers.ts';
import { type Ip, ipFromBigInt } from '../../../../config/address.ts';
import { silentLog } from '../../../../config/log.ts';
import { VirtualClock } from '../../../fakes/clock.ts';
import { ip } from '../values.ts';
import { peer } from './peer.ts';

const NEWCOMER: StrangerFacts = { isLeased: true, isHeard: false, probes: 0, hasRoom: true };
const CASES: readonly [what: string, facts: StrangerFacts, verdict: Verdict][] = [
  ['a peer that nobody asked yet', NEWCOMER, 'asked'],
  ['asked once: an answer may be lost', { ...NEWCOMER, probes: 1 }, 'asked'],
  ['no answer by its own address', { ...NEWCOMER, probes: 2 }, 'tolerated'],
  ['heard by its own address', { ...NEWCOMER, probes: 1, isHeard: true }, 'spoofing'],
  ['heard late', { ...NEWCOMER, probes: 2, isHeard: true }, 'spoofing'],
  ['one too many', { ...NEWCOMER, probes: 2, hasRoom: false }, 'spoofing'],
  ['in the name of no peer', { ...NEWCOMER, isLeased: false }, 'unknown'],
  ['in the name of no peer, whatever else', { isLeased: false, isHeard: true, probes: 9, hasRoom: true }, 'unknown'],
];

for (const [what, facts, verdict] of CASES) {
  test(`${what}: ${verdict}`, (t) => t.is(judge(facts), verdict));
}

const TWO = peer('two', '10.5.2.0/24', '192.0.2.2');

class Bench {
  readonly clock = new VirtualClock();
  readonly peers = new NamedPeers(4);
  readonly probes: string[] = [];
  readonly lines: string[] = [];
  /** Packets from the address that the lease names. */
  heard = 0;
  readonly strangers: Strangers;

  constructor(...peers: readonly FilterPeer[]) {
    for (const one of peers) this.peers.set(one.key, one);
    const log = { ...silentLog, warn: (message: string): void => void this.lines.push(message) };
    const probe = (ip: Ip): void => void this.probes.push(ip);
    this.strangers = new Strangers({ peers: this.peers, clock: this.clock, log, device: 'flannel.1', probe });
  }

  async look(...seen: readonly Sighting[]): Promise<(Verdict | undefined)[]> {
    this.strangers.look(seen, () => this.heard);
    await this.clock.advance(1_000);
    return this.strangers.list().map(({ verdict }) => verdict);
  }
}

function seen(source: string, inner: string, packets: number): Sighting {
  return { source: ip(source), inner: ip(inner), packets };
}

test('a peer behind NAT is asked twice, let through for its subnet, and told once', async (t) => {
  const bench = new Bench(TWO);
  t.deepEqual(await bench.look(seen('203.0.113.1', '10.5.2.9', 1)), ['asked']);
  t.true(bench.strangers.isAsking);
  t.deepEqual(bench.probes, ['10.5.2.0']);
  t.deepEqual(await bench.look(seen('203.0.113.1', '10.5.2.9', 2)), ['asked']);
  t.deepEqual(await bench.look(seen('203.0.113.1', '10.5.2.9', 3)), ['tolerated']);
  t.deepEqual(bench.probes, ['10.5.2.0', '10.5.2.0']);
  t.deepEqual(bench.strangers.tolerated(), [{ source: ip('203.0.113.1'), subnet: TWO.subnet }]);
  t.is(bench.lines.length, 1);
  t.is(bench.strangers.list()[0]?.packets, 3);

  bench.heard = 1;
  t.deepEqual(await bench.look(seen('203.0.113.1', '10.5.2.0', 9)), ['spoofing'], 'heard after all');
  t.deepEqual(bench.strangers.tolerated(), []);
  t.is(bench.lines.length, 2);
});

test('one who pretends to be a peer is found out by its answer, and asked about again after a minute', async (t) => {
  const bench = new Bench(TWO);
  await bench.look(seen('203.0.113.1', '10.5.2.9', 1));
  bench.heard = 1;
  t.deepEqual(await bench.look(seen('203.0.113.1', '10.5.2.9', 2)), ['spoofing']);
  for (let second = 0; second < 59; second++) await bench.look(seen('203.0.113.1', '10.5.2.9', 3 + second));
  t.is(bench.probes.length, 1);
  await bench.look(seen('203.0.113.1', '10.5.2.9', 100));
  await bench.look(seen('203.0.113.1', '10.5.2.9', 101));
  t.is(bench.probes.length, 3, 'the peer may have moved behind a NAT');
  t.is(bench.lines.length, 1);
});

test('who is not seen for ten minutes is forgotten, who is let through after a day, and at once who is named, or whose peer is gone', async (t) => {
  const bench = new Bench(TWO);
  const look = (packets: number): Promise<unknown> => bench.look(seen('203.0.113.1', '10.5.2.9', packets));
  for (const packets of [1, 2, 3]) await look(packets);
  t.is(bench.strangers.tolerated().length, 1);
  await bench.look(seen('203.0.113.1', '10.5.2.9', 3), seen('203.0.113.7', '10.9.9.9', 1));
  await bench.clock.advance(590_000);
  await look(3);
  t.is(bench.strangers.list().length, 2);
  await bench.clock.advance(20_000);
  await look(3);
  t.is(bench.strangers.list().length, 1);
  await bench.clock.advance(85_000_000);
  await look(3);
  t.is(bench.strangers.tolerated().length, 1);
  await bench.clock.advance(1_000_000);
  await look(3);
  t.deepEqual(bench.strangers.list(), []);

  for (const packets of [4, 5, 6]) await look(packets);
  t.is(bench.strangers.tolerated().length, 1);
  bench.peers.set('two', peer('two', '10.5.2.0/24', '192.0.2.2', '203.0.113.1'));
  await look(7);
  t.deepEqual(bench.strangers.list(), []);

  bench.peers.set('two', TWO);
  for (const packets of [8, 9, 10]) await look(packets);
  t.is(bench.strangers.tolerated().length, 1);
  bench.peers.set('two', undefined);
  t.deepEqual(bench.strangers.tolerated(), []);
});

test('a counter that begins anew is no answer, unless it has begun', async (t) => {
  const bench = new Bench(TWO);
  bench.heard = 50;
  await bench.look(seen('203.0.113.1', '10.5.2.9', 1));
  bench.heard = 0;
  t.deepEqual(await bench.look(seen('203.0.113.1', '10.5.2.9', 2)), ['asked']);
  bench.heard = 1;
  t.deepEqual(await bench.look(seen('203.0.113.1', '10.5.2.9', 3)), ['spoofing']);
});

test('what an earlier agent let through is let through until the peer is heard', async (t) => {
  const bench = new Bench(TWO);
  bench.heard = 7;
  const inKernel = [seen('203.0.113.1', '10.5.2.0', 9), seen('203.0.113.1', '10.9.9.0', 9)];
  bench.strangers.adopt(inKernel, () => bench.heard);
  t.deepEqual(bench.strangers.tolerated(), [{ source: ip('203.0.113.1'), subnet: TWO.subnet }]);
  t.deepEqual(await bench.look(seen('203.0.113.1', '10.5.2.0', 9)), ['tolerated']);
  bench.heard = 8;
  t.deepEqual(await bench.look(seen('203.0.113.1', '10.5.2.0', 10)), ['spoofing']);
});

test('a flood of made-up senders leaves little: no more strangers, lines and questions than there may be', async (t) => {
  const crowd = Array.from({ length: 100 }, (_, i) => peer(`p${i}`, `10.5.${i}.0/24`, `192.0.2.${i}`));
  const bench = new Bench(...crowd);
  for (let round = 0; round < 200; round++) {
    const flood = Array.from({ length: 256 }, (_, i) => {
      const inner = i % 2 === 0 ? `10.5.${i % 100}.7` : `172.16.${round}.${i}`;
      return { ...seen('192.0.2.1', inner, 1), source: ipFromBigInt(BigInt(0xc6120000 + round * 256 + i), 4) };
    });
    const before = bench.probes.length;
    await bench.look(...flood);
    t.true(bench.probes.length - before <= crowd.length);
  }
  t.true(bench.strangers.list().length <= 256 + 100 * 8);
  t.true(bench.lines.length <= 2 * (10 + 200 / 60), String(bench.lines.length));
});

test('of one silent peer only so many senders are let through', async (t) => {
  const bench = new Bench(TWO);
  for (let round = 1; round <= 3; round++) {
    await bench.look(...Array.from({ length: 20 }, (_, i) => seen(`203.0.113.${i}`, '10.5.2.9', round)));
  }
  t.is(bench.strangers.tolerated().length, 8);
  await bench.clock.advance(600_000);
  for (const round of [1, 2, 3]) await bench.look(seen('203.0.113.99', '10.5.2.9', round));
  t.is(bench.strangers.tolerated().length, 8, 'who was not seen lately gives way');
  t.true(bench.strangers.tolerated().some(({ source }) => source === '203.0.113.99'));
});
