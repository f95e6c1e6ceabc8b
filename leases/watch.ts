import type { Clock } from '../config/clock.ts';
import { jittered } from '../config/clock.ts';
import { TartanError, toError } from '../config/errors.ts';
import type { Log } from '../config/log.ts';
import type { KeyRange, KeyValue, Store, StoreEvent, StoreVersion } from './store.ts';
import { WatchSession } from './watch-session.ts';

/** The whole range at one revision. It replaces everything delivered before. */
export interface RangeSnapshot extends StoreVersion {
  readonly kvs: readonly KeyValue[];
  /**
   * The store is the one that was known before: same cluster id, revision not gone back. Only then may absence be
   * believed. False for the first snapshot, unless `known` was given and fits.
   */
  readonly continuous: boolean;
}

export interface FollowState {
  readonly connected: boolean;
  /** Since when, milliseconds since the epoch. */
  readonly since: number;
  /** Why it is not connected; "" where it is. */
  readonly reason: string;
  /** What the failed listing threw, to tell a refusal from an absence. */
  readonly error: TartanError | undefined;
}

export interface FollowOptions {
  readonly store: Store;
  readonly range: KeyRange;
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
  /** The store as last seen by an earlier process. */
  readonly known?: StoreVersion;
  /**
   * A watch that was silent for so long is opened anew. etcd sends progress every 10 minutes; a connection that died is
   * noticed much earlier, by the store. Default 25 minutes.
   */
  readonly progressTimeoutMs?: number;
  onSnapshot(snapshot: RangeSnapshot): void;
  /** In order, each once, none that the last snapshot or an earlier call covered. */
  onEvents(events: readonly StoreEvent[], revision: number): void;
  onState?(state: FollowState): void;
}

const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 2000;
/**
 * Keeps a range in view until `signal` is aborted, then resolves: a snapshot at revision R, every event after R, and
 * after each break the events after the last delivered revision; a new snapshot where history does not reach back
 * (compaction), or where the store is another one or went back.
 *
 *   listing ──snapshot──► watching ──break──► pause ──► watching (from the last revision delivered)
 *      ▲                      └─compacted, other store, gone back──► pause ──► listing
 *
 * Rejects only with what a handler threw.
 */
export async function followRange(options: FollowOptions): Promise<void> {
  await new RangeFollower(options).run();
}

class RangeFollower {
  readonly #options: FollowOptions;
  /** All up to here was delivered; undefined: to be listed. */
  #delivered: StoreVersion | undefined;
  /** The newest version that the store was seen at. */
  #newest: StoreVersion | undefined;
  #state: FollowState | undefined;
  #pauseMs = FIRST_PAUSE_MS;

  constructor(options: FollowOptions) {
    this.#options = options;
    this.#newest = options.known;
  }

  async run(): Promise<void> {
    const { signal } = this.#options;
    while (!signal.aborted) {
      this.#delivered ??= await this.#list();
      if (this.#delivered !== undefined && !signal.aborted && (await this.#watch(this.#delivered))) continue;
      if (!(await this.#pause())) return;
    }
  }

  async #list(): Promise<StoreVersion | undefined> {
    const { store, range, signal } = this.#options;
    const listing = await store.list(range).catch((error: unknown) => this.#listFailed(error));
    if (listing === undefined || signal.aborted) return undefined;
    const { clusterId, revision } = listing;
    const before = this.#newest;
    const continuous = before !== undefined && before.clusterId === clusterId && revision >= before.revision;
    this.#newest = { clusterId, revision };
    this.#options.onSnapshot({ clusterId, revision, kvs: listing.kvs, continuous });
    return this.#newest;
  }

  #listFailed(thrown: unknown): undefined {
    if (this.#options.signal.aborted) return;
    const error = thrown instanceof TartanError ? thrown : undefined;
    this.#setState(false, toError(thrown).message, error);
  }

  /** @returns whether it only ended for another connection: to be opened again at once. */
  async #watch(from: StoreVersion): Promise<boolean> {
    const session = new WatchSession(this.#options, from, this.#newest ?? from, () => this.#setState(true, ''));
    const end = await session.run();
    this.#delivered = end.relist ? undefined : end.delivered;
    this.#newest = end.newest;
    if (this.#options.signal.aborted) return false;
    if (end.renewed) return true;
    this.#setState(false, end.reason);
    if (end.settled) this.#pauseMs = FIRST_PAUSE_MS;
    return false;
  }

  /** @returns false where the follower was told to stop meanwhile. */
  #pause(): Promise<boolean> {
    const { clock, signal } = this.#options;
    if (signal.aborted) return Promise.resolve(false);
    const pauseMs = jittered(clock, this.#pauseMs, 0.3);
    this.#pauseMs = Math.min(this.#pauseMs * 2, LONGEST_PAUSE_MS);
    return clock.sleep(pauseMs, signal).then(
      () => true,
      () => false,
    );
  }

  #setState(connected: boolean, reason: string, error?: TartanError): void {
    const { clock, log, onState, range } = this.#options;
    const last = this.#state;
    if (last?.connected === connected && last.reason === reason) return;
    const since = last?.connected === connected ? last.since : clock.now();
    this.#state = { connected, since, reason, error };
    if (connected) log.debug('watching etcd', { key: range.key, revision: this.#delivered?.revision });
    else log.debug('not watching etcd', { key: range.key, revision: this.#delivered?.revision, reason });
    onState?.(this.#state);
  }
}
