/**
 * Asks every peer of one device, about once an interval, whether packets cross: an echo from this host's first address to the peer's,
 * which every kernel with a VXLAN device answers, whichever agent made it.
 *
 *   schedule ──► round: small, maybe large ──► wire ──► peer           once a second at most, ten packets at most
 *      ▲                   │                     │
 *      └── path-probe-state ◄── finished ◄── answers, stamped by the kernel
 *
 * The kernel stamps answers when they come in: they may be read late, and one timer a second serves all peers.
 */
import { randomInt } from 'node:crypto';
import { familyOf, type Ip } from '../../config/address.ts';
import { type Clock, jittered } from '../../config/clock.ts';
import { Durations } from '../../config/durations.ts';
import type { Log } from '../../config/log.ts';
import { Wakeup } from '../../config/wakeup.ts';
import type { KernelRefusal } from '../kernel/kernel.ts';
import {
  echoOf,
  overheadBytes,
  type ProbeOrigin,
  type ProbeTarget,
  probeDatagram,
  type Question,
  smallestBytes,
} from './path-probe-frame.ts';
import { type Asked, type Round, Rounds, type Times } from './path-probe-rounds.ts';
import { ProbeSchedule } from './path-probe-schedule.ts';
import {
  afterRound,
  isHasty,
  largeBytes,
  lossesOf,
  NEW_PATH,
  type Path,
  type RoundOutcome,
  type Sizes,
  settledBytes,
  withoutLosses,
  withoutSizes,
} from './path-probe-state.ts';
import { openProbeWire, type ProbeWire, type ProbeWireSettings, type SendDatagram } from './path-probe-wire.ts';

const TICK_MS = 1_000;
/** Packets that a host's probes send in a second, all devices together and whatever the number of peers. */
export const MOST_PER_SECOND = 10;
/** Small, large, and what goes ahead. */
const MOST_PER_ROUND = 3;
/** A new peer is asked within that time, where there are not too many of them. */
const NEW_WITHIN_MS = 5_000;
/** Where the sockets can't be opened. */
const OPEN_AGAIN_MS = 60_000;
const FOREVER_MS = 3_600_000;
/** So many questions in a row that went alone and were not answered, while one that was introduced was. */
const ALONE_UNHEARD = 3;
const TELL_EVERY_MS = 3_600_000;

/** What is to be known of our VXLAN device. */
export interface PathProbeSettings extends ProbeOrigin {
  /** Its name, for the log. */
  readonly device: string;
  /** Everybody's UDP port. */
  readonly port: number;
  /** Of the device: the largest inner packet. */
  readonly mtuBytes: number;
}

export type PathProbePeer = ProbeTarget;

interface PathProbeParts {
  readonly settings: PathProbeSettings;
  readonly clock: Clock;
  readonly log: Log;
  /** How often each peer is asked. */
  readonly intervalSeconds: number;
  /** This device's share of MOST_PER_SECOND, which it is where left out; a round takes up to three. */
  readonly packetsPerSecond?: number;
  /** User space has the VTEP: small packets go by its own socket. */
  readonly send?: SendDatagram;
  readonly openWire?: (settings: ProbeWireSettings) => ProbeWire | KernelRefusal;
}

/** What is known of the path to a peer. */
export interface PathResult {
  /** silent: three times in a row nothing was heard; why is not known. unknown: not asked often enough. */
  readonly state: 'unknown' | 'answering' | 'silent';
  /** Wall clock, ms; undefined: ever since it is asked. */
  readonly since: number | undefined;
  /** Wall clock, ms: when the last question was asked that was answered. undefined: never. */
  readonly heard: number | undefined;
  /** Of the last small packets (32 at most), and how many of them were not answered. */
  readonly asked: number;
  readonly lost: number;
  /** The last, and a smoothed one. */
  readonly roundTripMs: number | undefined;
  readonly smoothedMs: number | undefined;
  /** The largest outer IP packet that was answered; undefined while it is being found out. */
  readonly pathMtuBytes: number | undefined;
  /** Whether that is less than our device sends. */
  readonly isSmaller: boolean;
  /** Why this host could not send the last one: `ENETUNREACH`. */
  readonly refused: string | undefined;
}

export interface PathProbeState {
  /** Why nobody can be asked. */
  readonly problem: string | undefined;
  /** By lease key. */
  readonly peers: ReadonlyMap<string, PathResult>;
  /** Since the start: small packets, and what came of them; `ignored`: answers to no question. */
  readonly totals: PathProbeTotals;
  /** All that were measured since the start. */
  readonly roundTrips: Durations;
  /** The size of the outer packet that our device makes of its MTU. */
  readonly fullBytes: number;
}

export interface PathProbeTotals {
  readonly asked: number;
  readonly answered: number;
  readonly lost: number;
  readonly refused: number;
  readonly ignored: number;
}

interface Peer {
  readonly target: ProbeTarget;
  readonly path: Path;
}

export class PathProbe {
  readonly #parts: PathProbeParts;
  readonly #peers = new Map<string, Peer>();
  readonly #schedule = new ProbeSchedule();
  readonly #rounds = new Rounds();
  readonly #bell = new Wakeup();
  readonly #roundTrips = new Durations();
  readonly #id = randomInt(1, 0x10000);
  readonly #totals = { asked: 0, answered: 0, lost: 0, refused: 0, ignored: 0 };
  #settings: PathProbeSettings;
  #wire: ProbeWire | undefined;
  #problem: string | undefined;
  #openAt = Number.NEGATIVE_INFINITY;
  /** The path MTU that was found last, if it is smaller than ours. */
  #hint: number | undefined;
  #introduces = false;
  #unheardAlone = 0;
  #toldAt = Number.NEGATIVE_INFINITY;

  constructor(parts: PathProbeParts) {
    this.#parts = parts;
    this.#settings = parts.settings;
  }

  /** All of them, by lease key. What is known of those that stay as they were is kept. */
  setPeers(peers: ReadonlyMap<string, PathProbePeer>): void {
    for (const key of [...this.#peers.keys()]) if (!peers.has(key)) this.#forget(key);
    this.update([...peers]);
  }

  /** Those that are new or changed; undefined: it is gone. */
  update(changes: Iterable<readonly [key: string, peer: PathProbePeer | undefined]>): void {
    for (const [key, target] of changes) {
      if (target === undefined) this.#forget(key);
      else this.#set(key, target);
    }
    this.#bell.ring();
  }

  #set(key: string, target: ProbeTarget): void {
    const known = this.#peers.get(key)?.target;
    if (known && known.endpoint === target.endpoint && known.mac === target.mac && known.address === target.address) {
      return;
    }
    this.#rounds.drop(key);
    this.#peers.set(key, { target, path: NEW_PATH });
    const { clock, intervalSeconds } = this.#parts;
    const within = Math.min(NEW_WITHIN_MS, intervalSeconds * 1000);
    this.#schedule.set(key, clock.monotonic() + within * clock.random(), true);
  }

  #forget(key: string): void {
    this.#peers.delete(key);
    this.#rounds.drop(key);
    this.#schedule.delete(key);
  }

  /** Our device or its underlay is another one, or has other sizes. */
  configure(settings: PathProbeSettings): void {
    const before = this.#settings;
    this.#settings = settings;
    if (fullBytes(before) !== fullBytes(settings)) {
      this.#hint = undefined;
      for (const [key, peer] of this.#peers) this.#peers.set(key, { ...peer, path: withoutSizes(peer.path) });
    }
    if (before.local !== settings.local || before.address !== settings.address || before.port !== settings.port) {
      this.#close();
      this.#openAt = Number.NEGATIVE_INFINITY;
    }
    this.#bell.ring();
  }

  /** Asks until the signal is aborted, and rejects with its reason. */
  async run(signal: AbortSignal): Promise<never> {
    const { clock } = this.#parts;
    try {
      for (;;) {
        signal.throwIfAborted();
        this.#tick();
        await clock.sleep(TICK_MS, signal);
        if (this.#rounds.size === 0) await this.#bell.wait(this.#restMs(), clock, signal);
      }
    } finally {
      this.#close();
    }
  }

  #restMs(): number {
    const now = this.#parts.clock.monotonic();
    const next = this.#schedule.next;
    if (next === undefined) return FOREVER_MS;
    return Math.max(0, (this.#wire === undefined ? Math.max(next, this.#openAt) : next) - now);
  }

  #tick(): void {
    const { clock } = this.#parts;
    const times = { now: clock.now(), monotonic: clock.monotonic() };
    if (this.#wire) this.#listen(this.#wire, times);
    for (const { round, outcome } of this.#rounds.finished(times)) this.#conclude(round, outcome, times);
    const next = this.#schedule.next;
    if (next === undefined || next > times.monotonic) return;
    this.#wire ??= this.#open(times.monotonic);
    if (this.#wire) this.#askAll(this.#wire, times);
  }

  #listen(wire: ProbeWire, times: Times): void {
    for (const heard of wire.heard()) {
      if (!this.#rounds.heard(heard, times)) this.#totals.ignored += 1;
    }
  }

  #askAll(wire: ProbeWire, times: Times): void {
    let room = this.#room(times.monotonic);
    for (;;) {
      const key = this.#schedule.peek(times.monotonic);
      const peer = key === undefined ? undefined : this.#peers.get(key);
      if (key === undefined || peer === undefined) return;
      const large = largeBytes(peer.path, this.#sizes());
      const isIntroduced = this.#introduces || peer.path.misses > 0;
      room -= 1 + Number(large !== undefined) + Number(isIntroduced);
      if (room < 0) return;
      this.#schedule.take(times.monotonic);
      const wanted = { small: smallestBytes(this.#settings), large, isIntroduced };
      this.#ask(wire, this.#rounds.begin(key, peer.target, wanted, times));
    }
  }

  /** Where nobody is in haste, half of the rate: what thousands of peers cost at rest is that rate's doing. */
  #room(now: number): number {
    const share = this.#parts.packetsPerSecond ?? MOST_PER_SECOND;
    return Math.max(this.#schedule.isHasty(now) ? share : Math.floor(share / 2), MOST_PER_ROUND);
  }

  #ask(wire: ProbeWire, { target, small, large, introduction }: Round): void {
    const { endpoint, address } = target;
    const question = (asked: Asked): Question => ({ ...asked, id: this.#id });
    const datagram = (asked: Asked): Buffer => probeDatagram(this.#settings, target, question(asked));
    const refused = (asked: Asked) => (errno: string) => this.#rounds.refused(asked.sequence, errno);
    if (introduction) wire.introduce(echoOf(this.#settings, target, question(introduction)), address);
    this.#rounds.sent(small.sequence, wire.small(datagram(small), endpoint, refused(small)));
    if (large) this.#rounds.sent(large.sequence, wire.large(datagram(large), endpoint, refused(large)));
  }

  #conclude(round: Round, outcome: RoundOutcome, times: Times): void {
    const { key } = round;
    const peer = this.#peers.get(key);
    if (peer === undefined) return;
    const { clock, intervalSeconds } = this.#parts;
    const sizes = this.#sizes();
    const path = afterRound(peer.path, outcome, sizes);
    this.#peers.set(key, { ...peer, path });
    const restMs = isHasty(path) ? 0 : jittered(clock, intervalSeconds * 1000);
    this.#schedule.set(key, times.monotonic + restMs, isHasty(path));
    this.#count(outcome);
    this.#watchOwnFilter(round, outcome);
    if (path.state !== peer.path.state) {
      this.#parts.log.debug('what is known of the path to a peer has changed', {
        ...{ device: this.#settings.device, lease: key, state: path.state },
      });
    }
    if (settledBytes(peer.path, sizes) === undefined) this.#watchSize(key, settledBytes(path, sizes), times);
  }

  #count({ small }: RoundOutcome): void {
    this.#totals.asked += 1;
    if (small.kind === 'answered') this.#totals.answered += 1;
    else if (small.kind === 'missed') this.#totals.lost += 1;
    else this.#totals.refused += 1;
    if (small.kind === 'answered' && small.roundTripMs !== undefined) this.#roundTrips.add(small.roundTripMs);
  }

  /**
   * Connection tracking takes answers to what it has not seen asked for invalid, and some packet filters (firewalld's,
   * ufw's) drop those. It has seen what goes by the kernel's own device: from now on such an echo goes ahead of each.
   */
  #watchOwnFilter({ introduction }: Round, { small }: RoundOutcome): void {
    if (this.#introduces || small.kind === 'refused') return;
    if (introduction === undefined) {
      this.#unheardAlone = small.kind === 'answered' ? 0 : this.#unheardAlone + 1;
      return;
    }
    if (small.kind !== 'answered' || this.#unheardAlone < ALONE_UNHEARD) return;
    this.#introduces = true;
    for (const [key, peer] of this.#peers) this.#peers.set(key, { ...peer, path: withoutLosses(peer.path) });
    this.#parts.log.info(
      'answers to path probes are dropped on this host unless a plain ping goes ahead: it does now',
      {
        device: this.#settings.device,
      },
    );
  }

  #watchSize(lease: string, bytes: number | undefined, { monotonic }: Times): void {
    const full = fullBytes(this.#settings);
    if (bytes === undefined || bytes >= full) return;
    this.#hint = bytes;
    if (monotonic - this.#toldAt < TELL_EVERY_MS) return;
    this.#toldAt = monotonic;
    const { device } = this.#settings;
    this.#parts.log.warn('the path to a peer carries smaller packets than our device sends', {
      device,
      lease,
      pathMtuBytes: bytes,
      sentBytes: full,
      cure: `"MTU": ${bytes} in the network config, or a larger MTU on the way`,
    });
  }

  #sizes(): Sizes {
    return { small: smallestBytes(this.#settings), full: fullBytes(this.#settings), hint: this.#hint };
  }

  #open(now: number): ProbeWire | undefined {
    if (now < this.#openAt) return undefined;
    this.#openAt = now + OPEN_AGAIN_MS;
    const { local, address, port, device } = this.#settings;
    const open = this.#parts.openWire ?? openProbeWire;
    const opened = open({ local, address, port, id: this.#id, send: this.#parts.send });
    if (!('errno' in opened)) {
      this.#problem = undefined;
      return opened;
    }
    const problem = problemOf(opened, local);
    if (problem !== this.#problem) this.#parts.log.warn('peers are not probed', { device, reason: problem });
    this.#problem = problem;
    return undefined;
  }

  #close(): void {
    this.#wire?.close();
    this.#wire = undefined;
  }

  state(): PathProbeState {
    const sizes = this.#sizes();
    const peers = new Map(Array.from(this.#peers, ([key, { path }]) => [key, resultOf(path, sizes)]));
    const totals = { ...this.#totals };
    return { problem: this.#problem, peers, totals, roundTrips: this.#roundTrips, fullBytes: sizes.full };
  }
}

function fullBytes({ local, mtuBytes }: PathProbeSettings): number {
  return mtuBytes + overheadBytes(familyOf(local));
}

function problemOf({ errno, detail }: KernelRefusal, local: Ip): string {
  if (errno === 'EPERM' || errno === 'EACCES') return 'a raw ICMP socket needs CAP_NET_RAW';
  if (errno === 'EADDRNOTAVAIL') return `this host does not have ${local}`;
  return `${detail} (${errno})`;
}

function resultOf(path: Path, sizes: Sizes): PathResult {
  const { state, since, heard, asked, roundTripMs, smoothedMs, refused } = path;
  const bytes = settledBytes(path, sizes);
  return {
    state,
    since,
    heard,
    asked,
    lost: lossesOf(path),
    roundTripMs,
    smoothedMs,
    pathMtuBytes: bytes,
    isSmaller: bytes !== undefined && bytes < sizes.full,
    refused,
  };
}
