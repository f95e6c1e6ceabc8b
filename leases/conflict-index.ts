/**
 * Who stands in whose way: claimants that share a token (a public IP, a MAC) or whose prefixes overlap. Of two that do,
 * the older stays. The rule doesn't cascade: an older claimant is in the way even if a still older one is in its own.
 * So the answer depends on the set alone, never on the order in which it came about.
 *
 *   token   -> bucket      prefix -> bucket      the buckets of one family, sorted by first address:
 *                                                10.5.0.0/16 [ 10.5.1.0/24 [ 10.5.1.128/25 ] 10.5.2.0/24 ]
 *
 * Prefixes nest or are apart, so what overlaps a prefix is the few lengths around it (looked up) and what follows it in
 * the sorted list up to its last address. Only the oldest of a bucket can be in force: a change touches O(log n).
 */
import {
  familyOf,
  ipToBytes,
  lastAddress,
  networkAddress,
  type Prefix,
  prefixLength,
  prefixOf,
} from '../config/address.ts';

export interface Claimant {
  readonly tokens: readonly string[];
  readonly prefixes: readonly Prefix[];
  isOlderThan(other: this): boolean;
}

export interface Conflict<T> {
  readonly with: T;
  /** The token, or the other's prefix. */
  readonly about: string;
}

interface Position {
  /** `<first address, hex>/<length, hex>`. */
  readonly at: string;
  readonly prefix: Prefix;
}

/** The claimants of one token or prefix: nearly always one. Finding the next oldest is put off until it is asked for. */
class Bucket<T extends Claimant> {
  #oldest: T | undefined;
  /** Made when there is a second one: then all of them. */
  #members: Set<T> | undefined;

  get isEmpty(): boolean {
    return this.#members ? this.#members.size === 0 : this.#oldest === undefined;
  }

  get oldest(): T | undefined {
    if (this.#oldest === undefined && this.#members)
      for (const member of this.#members)
        if (this.#oldest === undefined || member.isOlderThan(this.#oldest)) this.#oldest = member;
    return this.#oldest;
  }

  /** @returns the claimant that is the oldest no more. */
  add(claimant: T): T | undefined {
    const before = this.oldest;
    if (before !== undefined) this.#members ??= new Set([before]);
    this.#members?.add(claimant);
    if (before !== undefined && !claimant.isOlderThan(before)) return undefined;
    this.#oldest = claimant;
    return before;
  }

  delete(claimant: T): void {
    this.#members?.delete(claimant);
    if (this.#oldest === claimant) this.#oldest = undefined;
  }
}

/** The prefixes of one family. */
class PrefixBuckets<T extends Claimant> {
  readonly #buckets = new Map<Prefix, Bucket<T>>();
  /** How many buckets there are of each length. */
  readonly #lengths = new Map<number, number>();
  /** Made when it is first asked for: where all prefixes have one length, none lies in another. */
  #order: Position[] | undefined;

  get(prefix: Prefix): Bucket<T> | undefined {
    return this.#buckets.get(prefix);
  }

  getOrMake(prefix: Prefix): Bucket<T> {
    const known = this.#buckets.get(prefix);
    if (known) return known;
    const bucket = new Bucket<T>();
    const length = prefixLength(prefix);
    this.#buckets.set(prefix, bucket);
    this.#lengths.set(length, (this.#lengths.get(length) ?? 0) + 1);
    if (this.#order) {
      const position = positionOf(prefix);
      this.#order.splice(indexOf(this.#order, position.at), 0, position);
    }
    return bucket;
  }

  drop(prefix: Prefix): void {
    const length = prefixLength(prefix);
    const left = (this.#lengths.get(length) ?? 0) - 1;
    if (left > 0) this.#lengths.set(length, left);
    else this.#lengths.delete(length);
    this.#buckets.delete(prefix);
    this.#order?.splice(indexOf(this.#order, positionOf(prefix).at), 1);
  }

  /** The prefixes that lie around or in `prefix`, itself not among them. */
  *around(prefix: Prefix): Generator<Prefix> {
    const own = prefixLength(prefix);
    let hasInner = false;
    for (const length of this.#lengths.keys()) {
      if (length > own) hasInner = true;
      const outer = length < own ? prefixOf(networkAddress(prefix), length) : prefix;
      if (length < own && this.#buckets.has(outer)) yield outer;
    }
    if (!hasInner) return;
    this.#order ??= inOrder(this.#buckets.keys());
    const end = indexOf(this.#order, `${hex(lastAddress(prefix))}~`);
    for (let i = indexOf(this.#order, `${positionOf(prefix).at}~`); i < end; i++) {
      const position = this.#order[i];
      if (position) yield position.prefix;
    }
  }
}

/** Where `at` is or would be. */
function indexOf(order: readonly Position[], at: string): number {
  let [low, high] = [0, order.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((order[middle]?.at ?? '') < at) low = middle + 1;
    else high = middle;
  }
  return low;
}

function inOrder(prefixes: Iterable<Prefix>): Position[] {
  return Array.from(prefixes, positionOf).sort((a, b) => (a.at < b.at ? -1 : 1));
}

function hex(ip: Parameters<typeof ipToBytes>[0]): string {
  return ipToBytes(ip).toString('hex');
}

function positionOf(prefix: Prefix): Position {
  const at = `${hex(networkAddress(prefix))}/${prefixLength(prefix).toString(16).padStart(2, '0')}`;
  return { at, prefix };
}

export class ConflictIndex<T extends Claimant> {
  readonly #tokens = new Map<string, Bucket<T>>();
  readonly #families = { 4: new PrefixBuckets<T>(), 6: new PrefixBuckets<T>() };
  readonly #doubted = new Set<T>();
  readonly #doubtedBuckets = new Set<Bucket<T>>();

  add(claimant: T): void {
    for (const token of claimant.tokens) {
      const bucket = this.#tokens.get(token) ?? new Bucket<T>();
      this.#tokens.set(token, bucket);
      this.#doubt(bucket.add(claimant));
    }
    for (const prefix of claimant.prefixes) {
      this.#doubt(this.#families[familyOf(prefix)].getOrMake(prefix).add(claimant));
      this.#doubtAround(prefix);
    }
  }

  delete(claimant: T): void {
    for (const token of claimant.tokens) {
      const bucket = this.#tokens.get(token);
      bucket?.delete(claimant);
      if (bucket?.isEmpty) this.#tokens.delete(token);
      else if (bucket) this.#doubtedBuckets.add(bucket);
    }
    for (const prefix of claimant.prefixes) {
      const buckets = this.#families[familyOf(prefix)];
      const bucket = buckets.get(prefix);
      bucket?.delete(claimant);
      if (bucket?.isEmpty) buckets.drop(prefix);
      else if (bucket) this.#doubtedBuckets.add(bucket);
      this.#doubtAround(prefix);
    }
  }

  /** The claimants whose conflicts may have changed since the last call, besides those added and deleted. */
  takeDoubted(): ReadonlySet<T> {
    const doubted = new Set(this.#doubted);
    for (const { oldest } of this.#doubtedBuckets) if (oldest !== undefined) doubted.add(oldest);
    this.#doubted.clear();
    this.#doubtedBuckets.clear();
    return doubted;
  }

  /** The older claimant that stands in the way of one that was added. */
  conflictOf(claimant: T): Conflict<T> | undefined {
    for (const token of claimant.tokens) {
      const oldest = this.#tokens.get(token)?.oldest;
      if (oldest !== undefined && oldest !== claimant) return { with: oldest, about: token };
    }
    for (const prefix of claimant.prefixes) {
      const conflict = this.#overlapOf(claimant, prefix);
      if (conflict) return conflict;
    }
    return undefined;
  }

  #overlapOf(claimant: T, prefix: Prefix): Conflict<T> | undefined {
    const buckets = this.#families[familyOf(prefix)];
    const oldest = buckets.get(prefix)?.oldest;
    if (oldest !== undefined && oldest !== claimant) return { with: oldest, about: prefix };
    for (const other of buckets.around(prefix)) {
      const rival = buckets.get(other)?.oldest;
      if (rival?.isOlderThan(claimant)) return { with: rival, about: other };
    }
    return undefined;
  }

  #doubt(claimant: T | undefined): void {
    if (claimant !== undefined) this.#doubted.add(claimant);
  }

  #doubtAround(prefix: Prefix): void {
    const buckets = this.#families[familyOf(prefix)];
    for (const other of buckets.around(prefix)) {
      const bucket = buckets.get(other);
      if (bucket) this.#doubtedBuckets.add(bucket);
    }
  }
}
