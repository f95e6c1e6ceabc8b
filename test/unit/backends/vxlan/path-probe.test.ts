import test from 'ava';
import fc from 'fast-check';
import type { KernelRefusal } from '../../../../backends/kernel/kernel.ts';
import { PathProbe, type PathProbePeer, type PathProbeSettings } from '../../../../backends/vxlan/path-probe.ts';
import type { Heard } from '../../../../backends/vxlan/path-probe-rounds.ts';
import type { ProbeWire, ProbeWireSettings } from '../../../../backends/vxlan/path-probe-wire.ts';
import type { Ip } from '../../../../config/address.ts';
import { type Log, type LogFields, silentLog } from '../../../../config/log.ts';
import { VirtualClock } from '../../../fakes/clock.ts';
import { ip, mac } from '../values.ts';
import { echoFrame } from './frames.ts';

const SETTINGS: PathProbeSettings = {
  device: 'flannel.1',
  vni: 7,
  port: 8_472,
  local: ip('192.0.2.1'),
  mac: mac('02:00:00:00:05:01'),
  address: ip('10.5.1.0'),
  mtuBytes: 1_450,
};

function peer(n: number): PathProbePeer {
  const [high, low] = [Math.floor(n / 256), n % 256];
  const hex = n.toString(16).padStart(4, '0');
  return {
    endpoint: ip(`198.18.${high}.${low}`),
    mac: mac(`02:00:00:01:${hex.slice(0, 2)}:${hex.slice(2)}`),
    address: ip(`10.${6 + high}.${low}.0`),
  };
}

function peers(count: number): Map<string, PathProbePeer> {
  return new Map(Array.from({ length: count }, (_, n) => [`peer${n}`, peer(n)]));
}

interface Sent {
  readonly at: number;
  readonly to: Ip;
  readonly what: 'small' | 'large' | 'introduction';
}

/** Hosts that answer, and links between them. */
class Network {
  readonly clock = new VirtualClock();
  readonly sent: Sent[] = [];
  readonly logged: { message: string; fields: LogFields | undefined }[] = [];
  readonly log: Log = { ...silentLog, warn: this.#note, info: this.#note };
  /** Outer destinations that answer nothing. */
  readonly silent = new Set<Ip>();
  readonly mtu = new Map<Ip, number>();
  refuses: string | undefined;
  missing: KernelRefusal | undefined;
  /** Whether this host's packet filter drops answers that it saw no question of. */
  dropsInvalid = false;
  #known = new Map<Ip, number>();
  #answers: Heard[] = [];
  opened: ProbeWireSettings | undefined;
  closed = 0;

  get #note(): Log['warn'] {
    return (message, fields) => void this.logged.push({ message, fields });
  }

  probe(count: number, intervalSeconds = 60): PathProbe {
    const { clock, log } = this;
    const openWire = (settings: ProbeWireSettings): ProbeWire | KernelRefusal => this.#open(settings);
    const probe = new PathProbe({ settings: SETTINGS, clock, log, intervalSeconds, openWire });
    probe.setPeers(peers(count));
    return probe;
  }

  #open(settings: ProbeWireSettings): ProbeWire | KernelRefusal {
    if (this.missing) return this.missing;
    this.opened = settings;
    const send =
      (what: Sent['what']) =>
      (datagram: Buffer, endpoint: Ip, refused: (errno: string) => void): bigint => {
        this.sent.push({ at: this.clock.monotonic(), to: endpoint, what });
        const bytes = datagram.length + 28;
        if (this.refuses !== undefined) refused(this.refuses);
        else if (bytes <= (this.mtu.get(endpoint) ?? 1_500) && !this.silent.has(endpoint)) this.#answer(datagram);
        return this.#ns();
      };
    return {
      small: send('small'),
      large: send('large'),
      introduce: (_, to) => {
        this.sent.push({ at: this.clock.monotonic(), to, what: 'introduction' });
        this.#known.set(to, this.clock.monotonic());
      },
      heard: () => this.#answers.splice(0),
      close: () => {
        this.closed += 1;
      },
    };
  }

  #answer(datagram: Buffer): void {
    const { packet, echo } = echoFrame(datagram);
    const seen = this.#known.get(packet.destination);
    if (this.dropsInvalid && (seen === undefined || this.clock.monotonic() - seen > 30_000)) return;
    const { sequence, payload } = echo;
    this.#answers.push({ source: packet.destination, sequence, payload, at: this.#ns() + 2_000_000n });
  }

  forge(heard: Heard): void {
    this.#answers.push(heard);
  }

  #ns(): bigint {
    return BigInt(Math.round(this.clock.now() * 1_000)) * 1_000n;
  }

  /** Runs it until the test says stop. */
  run(probe: PathProbe): () => Promise<void> {
    const abort = new AbortController();
    const running = probe.run(abort.signal).catch((reason: unknown) => {
      if (!abort.signal.aborted) throw reason;
    });
    return async () => {
      abort.abort();
      await running;
    };
  }

  of(endpoint: Ip): Sent[] {
    return this.sent.filter(({ to }) => to === endpoint);
  }
}

test('a peer is asked early, then about once an interval; state, round trip and path MTU are told', async (t) => {
  const network = new Network();
  const probe = network.probe(1);
  const stop = network.run(probe);
  await network.clock.advance(5_000);
  t.is(network.of(peer(0).endpoint).length > 0, true, 'within five seconds');
  await network.clock.advance(10 * 60_000);
  const result = probe.state().peers.get('peer0');
  t.is(result?.state, 'answering');
  t.is(result?.roundTripMs, 2);
  t.is(result?.smoothedMs, 2);
  t.is(result?.pathMtuBytes, 1_500);
  t.is(result?.isSmaller, false);
  t.is(result?.lost, 0);
  const smalls = network.of(peer(0).endpoint).filter(({ what }) => what === 'small');
  for (let i = 2; i < smalls.length; i += 1) {
    const pause = (smalls[i]?.at ?? 0) - (smalls[i - 1]?.at ?? 0);
    t.true(pause >= 53_000 && pause <= 68_000, `${pause} ms`);
  }
  t.is(network.of(peer(0).endpoint).filter(({ what }) => what === 'large').length, 2 + Number(smalls.length > 12));
  const { totals, roundTrips } = probe.state();
  t.deepEqual(totals, { asked: smalls.length, answered: smalls.length, lost: 0, refused: 0, ignored: 0 });
  t.is(roundTrips.count, smalls.length);
  await stop();
  t.is(network.closed, 1);
});

test('a peer that does not answer is silent, ever since it is asked, and asked on at the same pace', async (t) => {
  const network = new Network();
  network.silent.add(peer(0).endpoint);
  const probe = network.probe(1);
  const stop = network.run(probe);
  await network.clock.advance(30_000);
  t.is(probe.state().peers.get('peer0')?.state, 'silent');
  t.is(probe.state().peers.get('peer0')?.since, undefined);
  const before = network.of(peer(0).endpoint).length;
  await network.clock.advance(10 * 60_000);
  t.true(network.of(peer(0).endpoint).length - before <= 11);
  network.silent.clear();
  await network.clock.advance(70_000);
  t.is(probe.state().peers.get('peer0')?.state, 'answering');
  await stop();
});

test('a peer that falls silent is known to be within half a minute of its first miss', async (t) => {
  const network = new Network();
  const probe = network.probe(1);
  const stop = network.run(probe);
  await network.clock.advance(30_000);
  network.silent.add(peer(0).endpoint);
  const wall = network.clock.now();
  await network.clock.advance(66_000 + 15_000);
  const result = probe.state().peers.get('peer0');
  t.is(result?.state, 'silent');
  t.true((result?.since ?? 0) >= wall && (result?.heard ?? 0) < wall);
  await stop();
});

test('a smaller path MTU is found to the byte, told once an hour, and known sooner of the next peer', async (t) => {
  const network = new Network();
  for (const n of [0, 1, 2]) network.mtu.set(peer(n).endpoint, 1_400);
  const probe = network.probe(1);
  const stop = network.run(probe);
  await network.clock.advance(3 * 60_000);
  t.is(probe.state().peers.get('peer0')?.pathMtuBytes, 1_400);
  t.true(probe.state().peers.get('peer0')?.isSmaller);
  t.is(network.logged.length, 1);
  t.is(network.logged[0]?.fields?.['pathMtuBytes'], 1_400);
  const before = network.sent.length;
  probe.setPeers(peers(3));
  await network.clock.advance(60_000);
  t.is(probe.state().peers.get('peer2')?.pathMtuBytes, 1_400);
  t.true(network.sent.length - before < 40);
  t.is(network.logged.length, 1);

  probe.configure({ ...SETTINGS, mtuBytes: 1_350 });
  t.is(probe.state().peers.get('peer0')?.pathMtuBytes, undefined);
  await network.clock.advance(3 * 60_000);
  const result = probe.state().peers.get('peer0');
  t.is(result?.pathMtuBytes, 1_400);
  t.false(result?.isSmaller, 'now all that the device sends crosses');
  await stop();
});

test('where this host has no right to ask, nobody is asked, and why is told once', async (t) => {
  const network = new Network();
  network.missing = { errno: 'EPERM', detail: 'socket' };
  const probe = network.probe(3);
  const stop = network.run(probe);
  await network.clock.advance(5 * 60_000);
  t.is(probe.state().problem, 'a raw ICMP socket needs CAP_NET_RAW');
  t.is(network.logged.length, 1);
  t.is(probe.state().peers.get('peer0')?.state, 'unknown');
  network.missing = undefined;
  await network.clock.advance(70_000);
  t.is(probe.state().problem, undefined);
  t.is(probe.state().peers.get('peer0')?.state, 'answering');
  await stop();
});

test('what could not be sent is no loss, and no peer is silent for it', async (t) => {
  const network = new Network();
  const probe = network.probe(1);
  const stop = network.run(probe);
  await network.clock.advance(20_000);
  network.refuses = 'ENETUNREACH';
  await network.clock.advance(5 * 60_000);
  const result = probe.state().peers.get('peer0');
  t.is(result?.state, 'answering');
  t.is(result?.refused, 'ENETUNREACH');
  t.is(result?.lost, 0);
  t.true(probe.state().totals.refused >= 4);
  await stop();
});

test('a packet filter that takes answers for invalid is noticed, and each question introduced', async (t) => {
  const network = new Network();
  network.dropsInvalid = true;
  const probe = network.probe(5);
  const stop = network.run(probe);
  await network.clock.advance(20 * 60_000);
  for (const [key, { state, lost }] of probe.state().peers) {
    t.is(state, 'answering', key);
    t.is(lost, 0, `${key}: what was lost before does not count`);
  }
  t.is(network.logged.length, 1);
  await stop();
});

test('loss on the way is not taken for such a filter', async (t) => {
  const network = new Network();
  for (let n = 0; n < 4; n += 1) network.silent.add(peer(n).endpoint);
  const probe = network.probe(40);
  const stop = network.run(probe);
  await network.clock.advance(10 * 60_000);
  network.silent.clear();
  await network.clock.advance(10 * 60_000);
  t.deepEqual(network.logged, []);
  t.is([...probe.state().peers.values()].filter(({ state }) => state === 'answering').length, 40);
  await stop();
});

test('answers that nobody asked for are counted and ignored', async (t) => {
  const network = new Network();
  network.silent.add(peer(0).endpoint);
  const probe = network.probe(1);
  const stop = network.run(probe);
  await network.clock.advance(5_500);
  for (let sequence = 0; sequence < 50; sequence += 1) {
    network.forge({ source: peer(0).address, sequence, payload: Buffer.alloc(8), at: undefined });
  }
  await network.clock.advance(30_000);
  t.is(probe.state().peers.get('peer0')?.state, 'silent');
  t.is(probe.state().totals.ignored, 50);
  await stop();
});

test('a peer that changes is another one; one that stays as it was keeps what is known of it', async (t) => {
  const network = new Network();
  const probe = network.probe(2);
  const stop = network.run(probe);
  await network.clock.advance(20_000);
  probe.setPeers(new Map([...peers(1), ['peer1', { ...peer(1), mac: mac('02:00:00:00:00:99') }]]));
  t.is(probe.state().peers.get('peer0')?.state, 'answering');
  t.is(probe.state().peers.get('peer1')?.state, 'unknown');
  probe.update([['peer0', undefined]]);
  t.deepEqual([...probe.state().peers.keys()], ['peer1']);
  await network.clock.advance(10_000);
  t.is(probe.state().peers.get('peer1')?.state, 'answering');
  const before = network.sent.length;
  probe.setPeers(new Map());
  await network.clock.advance(10 * 60_000);
  t.is(network.sent.length, before);
  await stop();
});

test('another address of ours: other sockets', async (t) => {
  const network = new Network();
  const probe = network.probe(1);
  const stop = network.run(probe);
  await network.clock.advance(10_000);
  probe.configure({ ...SETTINGS, local: ip('192.0.2.9') });
  t.is(network.closed, 1);
  await network.clock.advance(70_000);
  t.is(network.opened?.local, ip('192.0.2.9'));
  t.is(probe.state().peers.get('peer0')?.lost, 0);
  await stop();
});

test('at rest a thousand peers take five packets a second, and a new one does not wait for them', async (t) => {
  const network = new Network();
  const probe = network.probe(1_000);
  const stop = network.run(probe);
  await network.clock.advance(20 * 60_000);
  const before = network.sent.length;
  await network.clock.advance(5 * 60_000);
  const perSecond = (network.sent.length - before) / 300;
  t.true(perSecond > 4 && perSecond <= 5, `${perSecond} packets a second`);
  t.is(new Set(network.sent.slice(before).map(({ to }) => to)).size, 1_000);
  probe.update([['peer1000', peer(1_000)]]);
  await network.clock.advance(8_000);
  t.is(probe.state().peers.get('peer1000')?.state, 'answering');
  await stop();
});

/** The most packets in any span of a second. */
function busiestSecond(sent: readonly Sent[]): number {
  let most = 0;
  let from = 0;
  for (const [i, { at }] of sent.entries()) {
    while ((sent[from]?.at ?? 0) <= at - 1_000) from += 1;
    most = Math.max(most, i - from + 1);
  }
  return most;
}

test('property: never more than ten packets in a second, and everybody gets a turn', async (t) => {
  const scenes = fc.record({
    count: fc.integer({ min: 1, max: 1_500 }),
    intervalSeconds: fc.integer({ min: 1, max: 120 }),
    silent: fc.double({ min: 0, max: 1, noNaN: true }),
    small: fc.double({ min: 0, max: 1, noNaN: true }),
    dropsInvalid: fc.boolean(),
  });
  await fc.assert(
    fc.asyncProperty(scenes, async ({ count, intervalSeconds, silent, small, dropsInvalid }) => {
      const network = new Network();
      network.dropsInvalid = dropsInvalid;
      for (let n = 0; n < count; n += 1) {
        if (n < silent * count) network.silent.add(peer(n).endpoint);
        if (n >= (1 - small) * count) network.mtu.set(peer(n).endpoint, 1_400);
      }
      const probe = network.probe(count, intervalSeconds);
      const stop = network.run(probe);
      const minutes = 3 + Math.ceil(count / 100);
      for (let minute = 0; minute < minutes; minute += 1) await network.clock.advance(60_000);
      t.true(busiestSecond(network.sent) <= 10);
      const asked = new Set(network.sent.filter(({ what }) => what === 'small').map(({ to }) => to));
      t.is(asked.size, count, 'within what the rate allows');
      await stop();
    }),
    { numRuns: 8 },
  );
});
