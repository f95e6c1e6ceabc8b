/**
 * Who stands in whose way: claimants that share a token (a public IP, a MAC) or whose prefixes overlap. Of two that do,
 * the older stays. The rule doesn't cascade: an older claimant is in the way even if a still older one is in its own.
 * So the answer depends on the set alone, never on the order in which it came about.
 *
 *   token -> claimants     prefix -> claimants     the prefixes of one family, sorted by first address:
 *                                                  10.5.0.0/16 [ 10.5.1.0/24 [ 10.5.1.128/25 ] 10.5.2.0/24 ]
 *
 * Prefixes nest or are apart, so what overlaps a prefix is the few lengths around it (looked up) and what follows it in
 * the sorted list up to its last address. Only the oldest of a token or a prefix can be in force: a change touches
 * O(log n).
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

/** Several claimants of one token or prefix. Finding the next oldest is put off until it is asked for. */
class Rivals<T extends Claimant> {
  readonly #members: Set<T>;
  #oldest: T | undefined;

  constructor(oldest: T) {
    this.#members = new Set([oldest]);
    this.#oldest = oldest;
  }

  get size(): number {
    return this.#members.size;
  }

  get oldest(): T | undefined {
    if (this.#oldest === undefined)
      for (const member of this.#members)
        if (this.#oldest === undefined || member.isOlderThan(this.#oldest)) this.#oldest = member;
    return this.#oldest;
  }

  add(claimant: T): void {
    const before = this.oldest;
    this.#members.add(claimant);
    if (before === undefined || claimant.isOlderThan(before)) this.#oldest = claimant;
  }

  delete(claimant: T): void {
    this.#members.delete(claimant);
    if (this.#oldest === claimant) this.#oldest = undefined;
  }
}

/** Who claims which tokens. Of each nearly always one, who then stands there without more ado. */
class Claims<Token extends string, T extends Claimant> {
  readonly #claims = new Map<Token, T | Rivals<T>>();
  /** What may have another oldest claimant now, or one with other conflicts. */
  readonly #doubted = new Set<Token>();

  keys(): Iterable<Token> {
    return this.#claims.keys();
  }

  has(token: Token): boolean {
    return this.#claims.has(token);
  }

  oldest(token: Token): T | undefined {
    const claim = this.#claims.get(token);
    return claim instanceof Rivals ? claim.oldest : claim;
  }

  /** @returns the claimant that is the oldest no more. */
  add(token: Token, claimant: T): T | undefined {
    const claim = this.#claims.get(token);
    if (claim === undefined) {
      this.#claims.set(token, claimant);
      return undefined;
    }
    const rivals = claim instanceof Rivals ? claim : new Rivals(claim);
    const before = rivals.oldest;
    rivals.add(claimant);
    this.#claims.set(token, rivals);
    return rivals.oldest === before ? undefined : before;
  }

  delete(token: Token, claimant: T): void {
    const claim = this.#claims.get(token);
    if (claim instanceof Rivals) {
      claim.delete(claimant);
      if (claim.size > 0) this.#doubted.add(token);
      else this.#claims.delete(token);
    } else if (claim === claimant) this.#claims.delete(token);
  }

  doubt(token: Token): void {
    this.#doubted.add(token);
  }

  /** The oldest of all that is doubted, which then is no more. */
  takeDoubted(into: Set<T>): void {
    if (this.#doubted.size === 0) return;
    for (const token of this.#doubted) {
      const oldest = this.oldest(token);
      if (oldest !== undefined) into.add(oldest);
    }
    this.#doubted.clear();
  }
}

const NONE: readonly Prefix[] = [];

/** The prefixes of one family. */
class PrefixClaims<T extends Claimant> {
  readonly #claims = new Claims<Prefix, T>();
  /** How many prefixes there are of each length. */
  readonly #lengths = new Map<number, number>();
  /** Made when it is first asked for: where all prefixes have one length, none lies in another. */
  #order: Position[] | undefined;

  oldest(prefix: Prefix): T | undefined {
    return this.#claims.oldest(prefix);
  }

  /** @returns the claimant that is the oldest no more. */
  add(prefix: Prefix, claimant: T): T | undefined {
    if (!this.#claims.has(prefix)) this.#begin(prefix);
    const before = this.#claims.add(prefix, claimant);
    this.#doubtAround(prefix);
    return before;
  }

  delete(prefix: Prefix, claimant: T): void {
    this.#claims.delete(prefix, claimant);
    if (!this.#claims.has(prefix)) this.#end(prefix);
    this.#doubtAround(prefix);
  }

  takeDoubted(into: Set<T>): void {
    this.#claims.takeDoubted(into);
  }

  /** The prefixes that lie around or in `prefix`, itself not among them. */
  around(prefix: Prefix): Iterable<Prefix> {
    return this.#lengths.size === 1 && this.#lengths.has(prefixLength(prefix)) ? NONE : this.#around(prefix);
  }

  *#around(prefix: Prefix): Generator<Prefix> {
    const own = prefixLength(prefix);
    let hasInner = false;
    for (const length of this.#lengths.keys()) {
      if (length > own) hasInner = true;
      const outer = length < own ? prefixOf(networkAddress(prefix), length) : prefix;
      if (length < own && this.#claims.has(outer)) yield outer;
    }
    if (!hasInner) return;
    this.#order ??= inOrder(this.#claims.keys());
    const end = indexOf(this.#order, `${hex(lastAddress(prefix))}~`);
    for (let i = indexOf(this.#order, `${positionOf(prefix).at}~`); i < end; i++) {
      const position = this.#order[i];
      if (position) yield position.prefix;
    }
  }

  #doubtAround(prefix: Prefix): void {
    for (const other of this.around(prefix)) this.#claims.doubt(other);
  }

  #begin(prefix: Prefix): void {
    const length = prefixLength(prefix);
    this.#lengths.set(length, (this.#lengths.get(length) ?? 0) + 1);
    if (!this.#order) return;
    const position = positionOf(prefix);
    this.#order.splice(indexOf(this.#order, position.at), 0, position);
  }

  #end(prefix: Prefix): void {
    const length = prefixLength(prefix);
    const left = (this.#lengths.get(length) ?? 0) - 1;
    if (left > 0) this.#lengths.set(length, left);
    else this.#lengths.delete(length);
    this.#order?.splice(indexOf(this.#order, positionOf(prefix).at), 1);
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
  readonly #tokens = new Claims<string, T>();
  readonly #families = { 4: new PrefixClaims<T>(), 6: new PrefixClaims<T>() };
  #doubted = new Set<T>();

  add(claimant: T): void {
    for (const token of claimant.tokens) this.#doubt(this.#tokens.add(token, claimant));
    for (const prefix of claimant.prefixes) this.#doubt(this.#families[familyOf(prefix)].add(prefix, claimant));
  }

  delete(claimant: T): void {
    for (const token of claimant.tokens) this.#tokens.delete(token, claimant);
    for (const prefix of claimant.prefixes) this.#families[familyOf(prefix)].delete(prefix, claimant);
  }

  /** The claimants whose conflicts may have changed since the last call, besides those added and deleted. */
  takeDoubted(): ReadonlySet<T> {
    const doubted = this.#doubted;
    this.#tokens.takeDoubted(doubted);
    this.#families[4].takeDoubted(doubted);
    this.#families[6].takeDoubted(doubted);
    if (doubted.size > 0) this.#doubted = new Set();
    return doubted;
  }

  /** The older claimant that stands in the way of one that was added. */
  conflictOf(claimant: T): Conflict<T> | undefined {
    for (const token of claimant.tokens) {
      const oldest = this.#tokens.oldest(token);
      if (oldest !== undefined && oldest !== claimant) return { with: oldest, about: token };
    }
    for (const prefix of claimant.prefixes) {
      const conflict = this.#overlapOf(claimant, prefix);
      if (conflict) return conflict;
    }
    return undefined;
  }

  #overlapOf(claimant: T, prefix: Prefix): Conflict<T> | undefined {
    const claims = this.#families[familyOf(prefix)];
    const oldest = claims.oldest(prefix);
    if (oldest !== undefined && oldest !== claimant) return { with: oldest, about: prefix };
    for (const other of claims.around(prefix)) {
      const rival = claims.oldest(other);
      if (rival?.isOlderThan(claimant)) return { with: rival, about: other };
    }
    return undefined;
  }

  #doubt(claimant: T | undefined): void {
    if (claimant !== undefined) this.#doubted.add(claimant);
  }
}
