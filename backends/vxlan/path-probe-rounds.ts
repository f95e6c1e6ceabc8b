/**
 * The questions that wait for an answer. An answer comes from the network and may be anybody's: it counts where the peer's
 * address, the sequence number and a nonce that nobody could guess are those of a question, once, and in time.
 */
import { randomBytes } from 'node:crypto';
import type { Ip } from '../../config/address.ts';
import { NONCE_BYTES, type ProbeTarget } from './path-probe-frame.ts';
import type { LargeOutcome, RoundOutcome, SmallOutcome } from './path-probe-state.ts';

/** What has not come by then is lost. */
const PATIENCE_MS = 3_000;
/** And a large packet, where the small one beside it was answered. */
const PATIENCE_WITH_LARGE_MS = 900;
const NONCES_AT_ONCE = 64;
/** How far two clocks of one host may be apart that count the same time, ms. */
const CLOCK_SLACK_MS = 2;

export interface Asked {
  readonly sequence: number;
  readonly nonce: Buffer;
  /** Size of the outer packet. */
  readonly bytes: number;
}

interface Pending extends Asked {
  /** Wall clock, ns; undefined: not sent yet, or not known. */
  sentAt: bigint | undefined;
  /** Set once it came. */
  answer: { readonly roundTripMs: number | undefined } | undefined;
  /** Why this host could not send it. */
  refused: string | undefined;
}

export interface Round {
  readonly key: string;
  readonly target: ProbeTarget;
  readonly small: Asked;
  readonly large: Asked | undefined;
  /** What goes ahead of both, as the host's own packets go. */
  readonly introduction: Asked | undefined;
}

/** Which packets a round has: sizes of outer packets. */
interface Wanted {
  readonly small: number;
  readonly large: number | undefined;
  readonly isIntroduced?: boolean;
}

interface OpenRound extends Round {
  readonly small: Pending;
  readonly large: Pending | undefined;
  readonly introduction: Pending | undefined;
  /** Wall clock, ms. */
  readonly askedAt: number;
  /** Monotonic clock, ms. */
  readonly begun: number;
}

export interface Heard {
  readonly source: Ip;
  readonly sequence: number;
  readonly payload: Buffer;
  /** Wall clock, ns; undefined: not known. */
  readonly at: bigint | undefined;
}

export interface Times {
  /** Wall clock, ms. */
  readonly now: number;
  /** Monotonic clock, ms. */
  readonly monotonic: number;
}

export class Rounds {
  readonly #random: (count: number) => Buffer;
  /** What is left of the last that were drawn: to draw many at once costs as much as one. */
  #nonces: Buffer = Buffer.alloc(0);
  readonly #open = new Map<string, OpenRound>();
  readonly #bySequence = new Map<number, { round: OpenRound; asked: Pending }>();
  #sequence = 0;

  /** @param random as many bytes that nobody can guess */
  constructor(random: (count: number) => Buffer = randomBytes) {
    this.#random = random;
  }

  get size(): number {
    return this.#open.size;
  }

  /** A round under way with the same peer is given up. */
  begin(key: string, target: ProbeTarget, wanted: Wanted, times: Times): Round {
    this.drop(key);
    const small = this.#ask(wanted.small);
    const large = wanted.large === undefined ? undefined : this.#ask(wanted.large);
    const introduction = wanted.isIntroduced ? this.#ask(wanted.small) : undefined;
    const round = { key, target, small, large, introduction, askedAt: times.now, begun: times.monotonic };
    this.#open.set(key, round);
    for (const asked of packetsOf(round)) this.#bySequence.set(asked.sequence, { round, asked });
    return round;
  }

  #ask(bytes: number): Pending {
    do this.#sequence = (this.#sequence + 1) % 0x10000;
    while (this.#bySequence.has(this.#sequence));
    if (this.#nonces.length === 0) this.#nonces = this.#random(NONCE_BYTES * NONCES_AT_ONCE);
    const nonce = this.#nonces.subarray(0, NONCE_BYTES);
    this.#nonces = this.#nonces.subarray(NONCE_BYTES);
    return { sequence: this.#sequence, nonce, bytes, sentAt: undefined, answer: undefined, refused: undefined };
  }

  /** @param at wall clock, ns */
  sent(sequence: number, at: bigint | undefined): void {
    const found = this.#bySequence.get(sequence);
    if (found) found.asked.sentAt = at;
  }

  /** This host could not send it. */
  refused(sequence: number, errno: string): void {
    const found = this.#bySequence.get(sequence);
    if (found) found.asked.refused = errno;
  }

  /** @returns false: it answers no question. */
  heard(heard: Heard, times: Times): boolean {
    const found = this.#bySequence.get(heard.sequence);
    if (found === undefined) return false;
    const { round, asked } = found;
    const isOurs = heard.source === round.target.address && heard.payload.subarray(0, NONCE_BYTES).equals(asked.nonce);
    if (!isOurs || asked.answer !== undefined) return false;
    asked.answer = { roundTripMs: roundTrip(asked.sentAt, heard.at, times.monotonic - round.begun) };
    return true;
  }

  /** Rounds that are over: small and large were answered or refused, or it is too late. They are forgotten. */
  finished({ monotonic }: Times): { readonly round: Round; readonly outcome: RoundOutcome }[] {
    const over = [...this.#open.values()].filter((round) => isOver(round, monotonic - round.begun));
    for (const { key } of over) this.drop(key);
    return over.map((round) => ({ round, outcome: outcomeOf(round) }));
  }

  drop(key: string): void {
    const round = this.#open.get(key);
    if (round === undefined) return;
    this.#open.delete(key);
    for (const { sequence } of packetsOf(round)) this.#bySequence.delete(sequence);
  }
}

function packetsOf({ small, large, introduction }: OpenRound): Pending[] {
  return [small, large, introduction].filter((packet) => packet !== undefined);
}

function isOver({ small, large }: OpenRound, passedMs: number): boolean {
  if (passedMs >= PATIENCE_MS) return true;
  return isDone(small) && (large === undefined || isDone(large) || passedMs >= patienceWithLarge(small));
}

/** A path whose small packets take long takes longer for large ones. */
function patienceWithLarge({ answer }: Pending): number {
  return Math.max(PATIENCE_WITH_LARGE_MS, 4 * (answer?.roundTripMs ?? PATIENCE_WITH_LARGE_MS));
}

function isDone({ answer, refused }: Pending): boolean {
  return answer !== undefined || refused !== undefined;
}

/** undefined where a time is not known, or the wall clock was set in between. */
function roundTrip(sentAt: bigint | undefined, at: bigint | undefined, passedMs: number): number | undefined {
  if (sentAt === undefined || at === undefined) return undefined;
  const ms = Number(at - sentAt) / 1e6;
  return ms >= 0 && ms <= passedMs + CLOCK_SLACK_MS ? ms : undefined;
}

function outcomeOf(round: OpenRound): RoundOutcome {
  const { small, large, askedAt } = round;
  const isHeard = packetsOf(round).some(({ answer }) => answer !== undefined);
  return { small: smallOutcome(small), large: large && largeOutcome(large), isHeard, askedAt };
}

function smallOutcome({ answer, refused }: Pending): SmallOutcome {
  if (answer) return { kind: 'answered', roundTripMs: answer.roundTripMs };
  return refused === undefined ? { kind: 'missed' } : { kind: 'refused', errno: refused };
}

/** undefined: it was never on its way, and says nothing. */
function largeOutcome({ bytes, answer, refused }: Pending): LargeOutcome | undefined {
  if (answer) return { bytes, kind: 'answered' };
  if (refused === undefined) return { bytes, kind: 'missed' };
  return refused === 'EMSGSIZE' ? { bytes, kind: 'tooLarge' } : undefined;
}
