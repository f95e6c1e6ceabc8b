/**
 * Which subnet to try: rendezvous hashing. Every node ranks the subnets of the range by hash(node, subnet) and takes
 * the best free one, so that a thousand hosts that start on one view of the store rarely choose the same, a host that
 * lost its state comes back to its own, and newcomers seldom take what another host just lost.
 *
 * A subnet is counted by its number, address >> (bits - length): 10.5.3.0/24 is 0x0a0503. Numbers don't wrap, so the
 * end of the address space (255.255.255.0/24) is an end like any other. IPv4 and IPv6 are one path.
 */
import { createHash } from 'node:crypto';
import {
  bitsOf,
  familyOf,
  type Ip,
  ipFromBigInt,
  ipToBigInt,
  lastAddress,
  networkAddress,
  type Prefix,
  prefixLength,
  prefixOf,
} from '../config/address.ts';

/** The subnets of `length` bits from the one at `min` to the one at `max`, both included, inside `network`. */
export interface SubnetRange {
  readonly network: Prefix;
  readonly length: number;
  readonly min: Ip;
  readonly max: Ip;
}

/** Subnet numbers, both ends included. */
interface Span {
  readonly first: bigint;
  readonly last: bigint;
}

/** Up to here every subnet of the range is ranked; a larger range is tried at random, in an order that is the node's. */
const MAX_RANKED = 65_536n;
const MAX_TRIES = 4096;
const WORD = 0xffffffffn;

function shiftOf(range: SubnetRange): bigint {
  return BigInt(bitsOf(familyOf(range.network)) - range.length);
}

/** The whole subnets of the range, never outside its network; first > last where there are none. */
function spanOf(range: SubnetRange): Span {
  const shift = shiftOf(range);
  const up = (ip: Ip) => (ipToBigInt(ip) + (1n << shift) - 1n) >> shift;
  const network = {
    first: up(networkAddress(range.network)),
    last: ((ipToBigInt(lastAddress(range.network)) + 1n) >> shift) - 1n,
  };
  return clipped({ first: up(range.min), last: ipToBigInt(range.max) >> shift }, network);
}

/** What two spans have in common; first > last where that is nothing. */
function clipped(a: Span, b: Span): Span {
  let { first, last } = a;
  if (b.first > first) first = b.first;
  if (b.last < last) last = b.last;
  return { first, last };
}

/**
 * What of the span is taken: sorted, disjoint. A prefix of any length takes every subnet that it overlaps, except
 * 0.0.0.0/0 and ::/0: an IPv6-only lease has such a placeholder, and nobody may lease the whole address space.
 */
function takenSpans(range: SubnetRange, span: Span, taken: Iterable<Prefix>): readonly Span[] {
  const shift = shiftOf(range);
  const spans: Span[] = [];
  for (const prefix of taken) {
    if (familyOf(prefix) !== familyOf(range.network) || prefixLength(prefix) === 0) continue;
    const start = ipToBigInt(networkAddress(prefix));
    const size = 1n << BigInt(bitsOf(familyOf(prefix)) - prefixLength(prefix));
    const part = clipped({ first: start >> shift, last: (start + size - 1n) >> shift }, span);
    if (part.first <= part.last) spans.push(part);
  }
  spans.sort((a, b) => (a.first < b.first ? -1 : a.first > b.first ? 1 : 0));
  return merged(spans);
}

function merged(sorted: readonly Span[]): readonly Span[] {
  const out: Span[] = [];
  for (const span of sorted) {
    const before = out.at(-1);
    if (before === undefined || span.first > before.last) out.push(span);
    else if (span.last > before.last) out[out.length - 1] = { first: before.first, last: span.last };
  }
  return out;
}

/** What is left between the taken ones. */
function freeSpans(span: Span, taken: readonly Span[]): readonly Span[] {
  const free: Span[] = [];
  let next = span.first;
  for (const { first, last } of taken) {
    if (next < first) free.push({ first: next, last: first - 1n });
    next = last + 1n;
  }
  if (next <= span.last) free.push({ first: next, last: span.last });
  return free;
}

/** The free span that holds `number`, by bisection. */
function holds(free: readonly Span[], number: bigint): boolean {
  let [low, high] = [0, free.length - 1];
  while (low <= high) {
    const middle = (low + high) >> 1;
    const span = free[middle];
    if (span === undefined) return false;
    if (number < span.first) high = middle - 1;
    else if (number > span.last) low = middle + 1;
    else return true;
  }
  return false;
}

/** One round of MurmurHash3 (x86, 32 bit, public domain): `word` mixed into `hash`. */
function mix(hash: number, word: number): number {
  let k = Math.imul(word, 0xcc9e2d51);
  k = Math.imul((k << 15) | (k >>> 17), 0x1b873593);
  const h = hash ^ k;
  return (Math.imul((h << 13) | (h >>> 19), 5) + 0xe6546b64) | 0;
}

/** Its last step: every bit of the input moves every bit of the unsigned 32-bit result. */
function finish(hash: number): number {
  let h = hash ^ (hash >>> 16);
  h = Math.imul(h ^ (h >>> 13), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 16), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** 64 bits that stand for the node. SHA-256, as node ids may differ in one character only. */
interface Seed {
  readonly a: number;
  readonly b: number;
}

function seedOf(node: string): Seed {
  const digest = createHash('sha256').update(node).digest();
  return { a: digest.readInt32LE(0), b: digest.readInt32LE(4) };
}

/** `low`: the number's low 32 bits; `high`: the words above, see `wordsAbove`. */
function hash(seed: Seed, low: number, high: readonly number[]): number {
  let h = mix(seed.a, low);
  for (const word of high) h = mix(h, word);
  return finish(mix(finish(h), seed.b));
}

/** What of a number is above its low 32 bits, in words of 32 bits, the lowest first; none for an IPv4 subnet. */
function wordsAbove(number: bigint): number[] {
  const words: number[] = [];
  for (let rest = number >> 32n; rest > 0n; rest >>= 32n) words.push(Number(rest & WORD));
  return words;
}

interface Ranked {
  readonly number: bigint;
  readonly rank: number;
}

/** At most `count`, the best first. Of 65,536 subnets each is looked at: no bigint in the loop. */
function bestRanked(free: readonly Span[], seed: Seed, count: number): bigint[] {
  const best: Ranked[] = [];
  let worst = -1;
  for (const { first, last } of free) {
    for (let from = first; from <= last; from = (from | WORD) + 1n) {
      const high = wordsAbove(from);
      const base = from & ~WORD;
      const end = last < (from | WORD) ? Number(last & WORD) : 0xffffffff;
      for (let low = Number(from & WORD); low <= end; low++) {
        const rank = hash(seed, low, high);
        if (rank <= worst) continue;
        insert(best, { number: base + BigInt(low), rank });
        if (best.length > count) best.pop();
        if (best.length === count) worst = best[count - 1]?.rank ?? -1;
      }
    }
  }
  return best.map(({ number }) => number);
}

/** Among those of the same rank it is the last. */
function insert(sorted: Ranked[], one: Ranked): void {
  const place = sorted.findIndex(({ rank }) => rank < one.rank);
  sorted.splice(place < 0 ? sorted.length : place, 0, one);
}

/** The `step`-th of the node's own 128-bit random numbers. */
function randomOf(seed: Seed, step: number): bigint {
  let value = 0n;
  for (let word = 0; word < 4; word++) value = (value << 32n) | BigInt(hash(seed, step * 4 + word, []));
  return value;
}

/**
 * The first free ones in the node's own order. Where so little is free that chance does not find it, the free ones are
 * counted, and one of them is it: a range is never called exhausted while it is not.
 */
function firstInOrder(span: Span, free: readonly Span[], seed: Seed, count: number): bigint[] {
  const size = span.last - span.first + 1n;
  const found = new Set<bigint>();
  for (let step = 0; step < MAX_TRIES && found.size < count; step++) {
    const number = span.first + (randomOf(seed, step) % size);
    if (holds(free, number)) found.add(number);
  }
  if (found.size > 0) return [...found];
  let left = randomOf(seed, MAX_TRIES) % free.reduce((sum, { first, last }) => sum + last - first + 1n, 0n);
  for (const { first, last } of free) {
    if (first + left <= last) return [first + left];
    left -= last - first + 1n;
  }
  return [];
}

function numberOf(prefix: Prefix | undefined, range: SubnetRange): bigint | undefined {
  if (prefix === undefined || familyOf(prefix) !== familyOf(range.network)) return undefined;
  return prefixLength(prefix) === range.length ? ipToBigInt(networkAddress(prefix)) >> shiftOf(range) : undefined;
}

/**
 * The subnet of `range` at the place that `subnet` has in `other`; undefined where `range` ends before. Hosts whose IPv4
 * subnets differ thus ask for different IPv6 subnets, and don't get in each other's way a second time.
 */
export function atSamePlace(range: SubnetRange, other: SubnetRange, subnet: Prefix): Prefix | undefined {
  const span = spanOf(range);
  const number = numberOf(subnet, other);
  const wanted = number === undefined ? undefined : span.first + number - spanOf(other).first;
  if (wanted === undefined || wanted < span.first || wanted > span.last) return undefined;
  return subnetAt(range, wanted);
}

/**
 * The free subnets that `node` should claim, at most `count` and at least one if there is one, the first choice first:
 * `previous` if it is one of the range and free, then the best by hash.
 * @param taken prefixes of any family and length, in any order; after a lost race, what was lost is one of them.
 * @returns none where the range is exhausted (or upside down).
 */
export function bestFree(
  range: SubnetRange,
  node: string,
  taken: Iterable<Prefix>,
  count: number,
  previous?: Prefix,
): Prefix[] {
  const span = spanOf(range);
  if (span.first > span.last) return [];
  const free = freeSpans(span, takenSpans(range, span, taken));
  if (free.length === 0) return [];
  const seed = seedOf(node);
  const small = span.last - span.first < MAX_RANKED;
  const best = small ? bestRanked(free, seed, count) : firstInOrder(span, free, seed, count);
  const own = numberOf(previous, range);
  const isOwnFree = own !== undefined && holds(free, own);
  const order = isOwnFree ? [own, ...best.filter((one) => one !== own)] : best;
  return order.slice(0, count).map((number) => subnetAt(range, number));
}

function subnetAt(range: SubnetRange, number: bigint): Prefix {
  return prefixOf(ipFromBigInt(number << shiftOf(range), familyOf(range.network)), range.length);
}
