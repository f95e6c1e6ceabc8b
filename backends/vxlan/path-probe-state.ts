/**
 * What is known of the path to one peer, from nothing but what was answered. Pure: a state, what a round came to, the
 * next state.
 *
 *   a round: one small packet; now and then a large one beside it; ahead of them a plain ping where the last was a miss
 *
 *             any answer                         three rounds without one
 *   unknown ─────────────► answering ──────────────────────────────────► silent
 *      └──────────────────────────── three rounds without one ─────────►   │ since the first of them; never heard:
 *                              ◄──────────── any answer ───────────────────┘ ever since it is asked
 *
 * Path MTU: a size crosses when it was answered. It does not when twice it was not, while the small one beside it was, or
 * when this host can't send it. Between the largest that crosses and the smallest that does not, sizes are tried:
 *
 *   small        crosses                 fails        full
 *     ├────────────┤ ─ ─ ─ ─ tried ─ ─ ─ ─ ├────────────┤
 *
 * "Silent" says that nothing was heard, and no more: whether the peer, its answer or the question was lost, nobody knows.
 */

/** Rounds of which losses are remembered: one bit each. */
const WINDOW = 32;
const SILENT_AFTER = 3;
const STRIKES = 2;
/** As TCP smooths its round trip, RFC 6298. */
const SMOOTHING = 1 / 8;
/** Once the path MTU is known: after so many rounds a packet of that size asks whether it is no smaller by now, … */
const LARGE_EVERY = 5;
/** … and after so many one byte more whether it is larger. */
const LARGER_EVERY = 10;
/** Rounds in haste, one after the other: a path that contradicts itself is not asked in haste for ever. */
const MOST_HASTE = 60;

export interface Path {
  readonly state: 'unknown' | 'answering' | 'silent';
  /** Wall clock, ms; undefined: ever since it is asked. */
  readonly since: number | undefined;
  /** Wall clock, ms: the last answer. */
  readonly heard: number | undefined;
  /** Rounds in a row that nothing was heard in, and when the first of them was (wall clock, ms). */
  readonly misses: number;
  readonly missedSince: number | undefined;
  /** Small packets, the newest the lowest bit; set: answered. `asked` of them count. */
  readonly answers: number;
  readonly asked: number;
  readonly roundTripMs: number | undefined;
  readonly smoothedMs: number | undefined;
  /** Sizes of outer packets; 0: none but the small one. */
  readonly crosses: number;
  readonly fails: number | undefined;
  /** How often the size `tried` went unanswered, one time after the other. */
  readonly tried: number;
  readonly strikes: number;
  /** Rounds since the path MTU was looked at. */
  readonly rests: number;
  readonly haste: number;
  /** Why this host could not send the last one. */
  readonly refused: string | undefined;
}

/** Sizes of outer packets, in bytes. */
export interface Sizes {
  readonly small: number;
  /** The largest that the device sends. */
  readonly full: number;
  /** What other paths of this host turned out to carry, if less than `full`. */
  readonly hint: number | undefined;
}

export type SmallOutcome =
  | { readonly kind: 'answered'; readonly roundTripMs: number | undefined }
  | { readonly kind: 'missed' }
  | { readonly kind: 'refused'; readonly errno: string };

export interface LargeOutcome {
  readonly bytes: number;
  /** tooLarge: this host itself can't send it. */
  readonly kind: 'answered' | 'missed' | 'tooLarge';
}

export interface RoundOutcome {
  readonly small: SmallOutcome;
  /** undefined: there was none, or nothing can be said of it. */
  readonly large: LargeOutcome | undefined;
  /** Whether anything of it was answered. */
  readonly isHeard: boolean;
  /** Wall clock, ms: when it was asked. */
  readonly askedAt: number;
}

export const NEW_PATH: Path = {
  state: 'unknown',
  since: undefined,
  heard: undefined,
  misses: 0,
  missedSince: undefined,
  answers: 0,
  asked: 0,
  roundTripMs: undefined,
  smoothedMs: undefined,
  crosses: 0,
  fails: undefined,
  tried: 0,
  strikes: 0,
  rests: 0,
  haste: 0,
  refused: undefined,
};

export function afterRound(path: Path, outcome: RoundOutcome, sizes: Sizes): Path {
  const { small, isHeard } = outcome;
  if (small.kind === 'refused') return { ...path, refused: small.errno, haste: 0 };
  const asked = { ...path, ...counted(path, small), ...sized(path, outcome), refused: undefined };
  const next = { ...asked, ...(isHeard ? heard(path, outcome) : missed(path, outcome)) };
  return { ...next, haste: wantsHaste(next, sizes) ? path.haste + 1 : 0 };
}

/** Whether the next round should follow within seconds. */
export function isHasty(path: Path): boolean {
  return path.haste > 0 && path.haste <= MOST_HASTE;
}

/** The size of the large packet that the next round is to have; undefined: none. */
export function largeBytes(path: Path, sizes: Sizes): number | undefined {
  if (path.state !== 'answering' || path.misses > 0) return undefined;
  const wanted = wantedBytes(path, sizes);
  return wanted > sizes.small ? wanted : undefined;
}

function wantedBytes(path: Path, { small, full, hint }: Sizes): number {
  const { crosses, fails, strikes, tried, rests } = path;
  if (strikes > 0) return tried;
  if (fails === undefined) return crosses < full || rests >= LARGE_EVERY ? full : 0;
  const low = Math.max(crosses, small);
  if (fails - low <= 1) return rests === LARGE_EVERY ? low : rests >= LARGER_EVERY ? fails : 0;
  const guesses = hint === undefined ? [] : [hint, hint + 1];
  return guesses.find((bytes) => bytes > low && bytes < fails) ?? Math.floor((low + fails) / 2);
}

/** The path MTU where all is known that can be; undefined while sizes are being tried. */
export function settledBytes({ crosses, fails }: Path, { small, full }: Sizes): number | undefined {
  if (fails === undefined) return crosses >= full ? crosses : undefined;
  const low = Math.max(crosses, small);
  return fails - low <= 1 ? low : undefined;
}

/** As before, but for all that was said of sizes: what the device sends has become larger or smaller. */
export function withoutSizes(path: Path): Path {
  return { ...path, crosses: 0, fails: undefined, tried: 0, strikes: 0, rests: 0 };
}

/** As before, but for the losses. */
export function withoutLosses(path: Path): Path {
  return { ...path, answers: 0, asked: 0 };
}

/** Of the last rounds, those whose small packet was not answered. */
export function lossesOf({ answers, asked }: Path): number {
  let lost = asked;
  for (let bits = answers; bits !== 0; bits &= bits - 1) lost -= 1;
  return lost;
}

function wantsHaste(path: Path, sizes: Sizes): boolean {
  if (path.state === 'silent') return false;
  return path.misses > 0 || path.strikes > 0 || settledBytes(path, sizes) === undefined;
}

function counted({ answers, asked }: Path, small: SmallOutcome): Pick<Path, 'answers' | 'asked'> {
  return { answers: (answers << 1) | Number(small.kind === 'answered'), asked: Math.min(asked + 1, WINDOW) };
}

function heard(path: Path, { small, askedAt }: RoundOutcome): Partial<Path> {
  const since = path.state === 'answering' ? path.since : askedAt;
  const base = { state: 'answering', since, heard: askedAt, misses: 0, missedSince: undefined } as const;
  const roundTripMs = small.kind === 'answered' ? small.roundTripMs : undefined;
  if (roundTripMs === undefined) return base;
  const before = path.smoothedMs ?? roundTripMs;
  return { ...base, roundTripMs, smoothedMs: before + SMOOTHING * (roundTripMs - before) };
}

function missed(path: Path, { askedAt }: RoundOutcome): Partial<Path> {
  const misses = path.misses + 1;
  const missedSince = path.missedSince ?? askedAt;
  if (misses < SILENT_AFTER || path.state === 'silent') return { misses, missedSince };
  return { misses, missedSince, state: 'silent', since: path.heard === undefined ? undefined : missedSince };
}

function sized(path: Path, { small, large }: RoundOutcome): Partial<Path> {
  const { crosses, fails, rests } = path;
  if (large === undefined) return { rests: rests + 1 };
  const { kind, bytes } = large;
  const looked = { rests: rests >= LARGER_EVERY || fails === undefined ? 0 : rests + 1 };
  if (kind === 'answered') {
    const more = fails !== undefined && bytes >= fails ? { fails: undefined } : {};
    return { ...looked, ...more, crosses: Math.max(crosses, bytes), tried: 0, strikes: 0 };
  }
  if (kind === 'tooLarge') return { ...looked, ...refuted(path, bytes) };
  if (small.kind !== 'answered' || (fails !== undefined && bytes >= fails)) return looked;
  const strikes = path.tried === bytes ? path.strikes + 1 : 1;
  return strikes < STRIKES ? { ...looked, tried: bytes, strikes } : { ...looked, ...refuted(path, bytes) };
}

/** Packets of that size don't cross; what was known of larger ones was of another time. */
function refuted({ crosses, fails }: Path, bytes: number): Partial<Path> {
  const smallest = Math.min(fails ?? bytes, bytes);
  return { fails: smallest, crosses: crosses >= smallest ? 0 : crosses, tried: 0, strikes: 0 };
}
