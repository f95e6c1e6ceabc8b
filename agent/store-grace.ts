import type { Clock } from '../config/clock.ts';
import type { KeyValue, StoreVersion } from '../leases/store.ts';
import { follows, type StoreTrust, trustAfter } from '../leases/store-trust.ts';

/** How long leftovers in the kernel are kept where the store is not the one that made them. */
const GRACE_MS = 60_000;

/**
 * Which store it is that is followed, and what its lack of a lease is worth therefore.
 *
 *   the store that was known      absence is believed at once
 *   none was known                leftovers in the kernel are kept for a minute: another store may have made them
 *   another one than was known    … and its holders have that minute to claim again; one more such list begins it anew
 */
export class StoreGrace {
  readonly #clock: Clock;
  readonly #known: StoreVersion | undefined;
  /** The store as last seen; undefined: not yet. */
  version: StoreVersion | undefined;
  /** Whether what is free in the store may be taken. */
  trust: StoreTrust | undefined;
  /** Monotonic clock, ms: from when on absence is believed; infinite: that is not known yet, or was told. */
  #endsAt = Number.POSITIVE_INFINITY;
  /** Whether the first list was of the store that was known. */
  #isContinuous = false;
  #isServed = false;

  /** `known`: the store as this host saw it in an earlier run. */
  constructor(clock: Clock, known: StoreVersion | undefined) {
    this.#clock = clock;
    this.#known = known;
    this.trust = known && { version: known, settledAt: 0 };
  }

  /** The store was listed. @returns whether it is not the one that was known */
  listed(version: StoreVersion, continuous: boolean): boolean {
    const now = this.#clock.monotonic();
    const isFirst = this.version === undefined;
    this.version = version;
    this.trust = trustAfter(this.trust, version, now, !continuous);
    this.#endsAt = this.#endAfter(continuous, isFirst, now);
    if (isFirst) this.#isContinuous = continuous;
    return !continuous && !(isFirst && this.#known === undefined);
  }

  /** A grace under way may begin anew; a list that merely goes on from the one before it does not shorten it. */
  #endAfter(continuous: boolean, isFirst: boolean, now: number): number {
    if (isFirst) return continuous ? now : now + GRACE_MS;
    return this.#isPending && !continuous ? now + GRACE_MS : this.#endsAt;
  }

  /** What happened up to `revision` was heard. */
  heard(revision: number): void {
    if (!this.version) return;
    this.version = { ...this.version, revision };
    if (this.trust) this.trust = { ...this.trust, version: this.version };
  }

  /** From now on somebody removes what is left over. @returns whether at once */
  serve(): boolean {
    this.#isServed = true;
    if (this.#isContinuous) this.#endsAt = Number.POSITIVE_INFINITY;
    return this.#isContinuous;
  }

  /** Monotonic clock, ms: when there is an `end`. */
  get endsAt(): number {
    return this.#endsAt;
  }

  /** Whether leftovers may be removed from now on; told once. */
  end(): boolean {
    if (this.#clock.monotonic() < this.#endsAt) return false;
    this.#endsAt = Number.POSITIVE_INFINITY;
    return true;
  }

  /** Whether everything was heard that stands in a listing made after `before` was the version. */
  hasHeard(listing: StoreVersion & { readonly kvs: readonly KeyValue[] }, before: StoreVersion | undefined): boolean {
    const { version } = this;
    if (!before || !version || !follows(listing, before) || version.clusterId !== before.clusterId) return false;
    return listing.kvs.every(({ modRevision }) => modRevision <= version.revision);
  }

  /**
   * The store's version, once it has what it should have: what an agent writes down of it earlier lets the next one
   * believe at once what was only restored a moment ago. Where no store was known there is no better one to keep.
   */
  get settledVersion(): StoreVersion | undefined {
    const now = this.#clock.monotonic();
    const isTrusted = this.trust !== undefined && now >= this.trust.settledAt;
    const isWaiting = this.#isPending && (this.#isServed || now < this.#endsAt);
    return isTrusted && (!isWaiting || this.#known === undefined) ? this.version : undefined;
  }

  get #isPending(): boolean {
    return this.#endsAt !== Number.POSITIVE_INFINITY;
  }
}
