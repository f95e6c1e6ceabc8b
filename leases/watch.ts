import type { Clock } from '../config/clock.ts';
import { jittered } from '../config/clock.ts';
import { TartanError, toError } from '../config/errors.ts';
import type { Log } from '../config/log.ts';
import { isForbidden, isHistoryGone, oneKey } from './registry.ts';
import type { KeyRange, KeyValue, Store, StoreEvent, StoreVersion } from './store.ts';
import { follows } from './store-trust.ts';
import type { Mark } from './watch-session.ts';
import { WatchSession } from './watch-session.ts';

/** The whole range at one revision. It replaces everything delivered before. */
export interface RangeSnapshot extends StoreVersion {
  readonly kvs: readonly KeyValue[];
  /**
   * The store is the one that was known before: same cluster id, neither revision nor term gone back, and what was seen
   * last is in its history. Only then may absence be believed. False for the first snapshot, unless `known` was given and fits.
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
  /**
   * How many agents follow this range, about: they lost their watches in one moment, and must not all come back in one.
   * Default 0: nobody else does, or there is no time to wait for others.
   */
  fleet?(): number;
  /** How long to rest where etcd forbids the range; default: as for any refusal, 2 s at most. */
  readonly forbiddenPauseMs?: number;
  /** The watch begins where the list ended, also when it is opened later. */
  beforeWatch?(): Promise<void>;
  onSnapshot(snapshot: RangeSnapshot): void;
  /** How long it took etcd to hand over the whole range. */
  onListed?(ms: number): void;
  /** In order, each once, none that the last snapshot or an earlier call covered. */
  onEvents(events: readonly StoreEvent[], revision: number): void;
  onState?(state: FollowState): void;
}

const FIRST_PAUSE_MS = 100;
/** Who is refused costs etcd the check of a password each time. */
const LONGEST_PAUSE_MS = { away: 1000, refused: 2000 } as const;

/**
 * After a break an agent waits at random up to so long for each agent that there is: two seconds where there are ten
 * thousand, nothing to speak of where there are a hundred. A list of all leases is a thousand times as much as a resumption
 * there, and is waited for longer; but holders claim again what a restored store lacks while it counts as unsettled.
 */
const SPREAD_MS = { resume: 0.2, list: 2 } as const;
const LONGEST_SPREAD_MS = 20_000;

/**
 * Keeps a range in view until `signal` is aborted, then resolves: a snapshot at revision R, every event after R, and
 * after each break the events after the last delivered revision; a new snapshot where history does not reach back
 * (compaction), or where the store is another one or went back.
 *
 *   listing ──snapshot──► watching ──break──► pause ──► is what we saw last in its history? ──yes──► watching
 *      ▲                      │                                       no │        (from the last revision delivered)
 *      └──── pause ◄── compacted, other store, gone back                 └──► pause ──► listing
 *
 * The question is for a store that was restored from a backup and written past our revision before we came back.
 *
 * Rejects only with what a handler threw.
 */
export async function followRange(options: FollowOptions): Promise<void> {
  await new RangeFollower(options).run();
}

class RangeFollower {
  readonly #options: FollowOptions;
  /** All up to here was delivered. */
  #delivered: StoreVersion | undefined;
  /** Whether there is no going on from there. */
  #mustList = true;
  /** The newest version that the store was seen at. */
  #newest: StoreVersion | undefined;
  /** What was changed last in what was delivered. */
  #mark: Mark | undefined;
  #state: FollowState | undefined;
  #pauseMs = FIRST_PAUSE_MS;

  constructor(options: FollowOptions) {
    this.#options = options;
    this.#newest = options.known;
  }

  async run(): Promise<void> {
    const { signal } = this.#options;
    while (!signal.aborted) {
      const delivered = this.#delivered;
      const from = delivered === undefined || this.#mustList ? await this.#list() : await this.#resume(delivered);
      if (from !== undefined && !signal.aborted && (await this.#watch(from))) continue;
      if (!(await this.#pause())) return;
    }
  }

  /** @returns from where to watch, undefined where etcd can't be asked. */
  async #resume(delivered: StoreVersion): Promise<StoreVersion | undefined> {
    const found = await this.#recognise(delivered).catch((error: unknown) => this.#failed(error));
    if (found === 'same' || found === undefined) return found && delivered;
    return await this.#list(found === 'other');
  }

  /** `unknown`: its history does not reach back so far. */
  async #recognise(delivered: StoreVersion): Promise<'same' | 'other' | 'unknown'> {
    const { store, range } = this.#options;
    const mark = this.#mark;
    try {
      // Without a mark there was nothing in the range.
      const { kvs, ...version } = await store.list(mark ? oneKey(mark.key) : range, { at: delivered.revision });
      const isSame = follows(version, this.#newest ?? delivered) && isSameKv(kvs[0], mark?.kv);
      return isSame ? 'same' : 'other';
    } catch (error) {
      if (isHistoryGone(error)) return 'unknown';
      throw error;
    }
  }

  /** @param isOther whether it is known to be another store. */
  async #list(isOther = false): Promise<StoreVersion | undefined> {
    const { store, range, signal, clock } = this.#options;
    if (this.#delivered !== undefined && !(await this.#sleep(this.#turn('list')))) return undefined;
    const askedAt = clock.monotonic();
    const listing = await store.list(range).catch((error: unknown) => this.#failed(error));
    if (listing === undefined || signal.aborted) return undefined;
    this.#options.onListed?.(clock.monotonic() - askedAt);
    const { kvs, ...version } = listing;
    const goesOn = this.#newest !== undefined && follows(version, this.#newest);
    const continuous = goesOn && !isOther && !this.#isUnlike(kvs);
    this.#newest = version;
    this.#delivered = version;
    this.#mustList = false;
    this.#mark = lastChanged(kvs);
    this.#options.onSnapshot({ ...version, kvs, continuous });
    return version;
  }

  /** What was seen last is now something else from before that: another history. */
  #isUnlike(kvs: readonly KeyValue[]): boolean {
    const mark = this.#mark;
    const now = mark && kvs.find(({ key }) => key === mark.key);
    return now !== undefined && now.modRevision <= (this.#delivered?.revision ?? 0) && !isSameKv(now, mark?.kv);
  }

  #failed(thrown: unknown): undefined {
    if (this.#options.signal.aborted) return;
    const error = thrown instanceof TartanError ? thrown : undefined;
    this.#setState(false, toError(thrown).message, error);
  }

  /** @returns whether it only ended for another connection: to be opened again at once. */
  async #watch(from: StoreVersion): Promise<boolean> {
    await this.#options.beforeWatch?.();
    const session = new WatchSession(this.#options, from, this.#newest ?? from, () => this.#setState(true, ''));
    const end = await session.run();
    this.#mustList = end.relist;
    this.#delivered = end.delivered;
    this.#newest = end.newest;
    this.#mark = end.mark ?? this.#mark;
    if (this.#options.signal.aborted) return false;
    if (end.renewed) return true;
    this.#setState(false, end.reason);
    if (end.settled) this.#pauseMs = FIRST_PAUSE_MS;
    return false;
  }

  /** @returns false where the follower was told to stop meanwhile. */
  #pause(): Promise<boolean> {
    return this.#sleep(jittered(this.#options.clock, this.#restMs(), 0.3) + this.#turn('resume'));
  }

  /** When it is this agent's turn among all that wait for the same, ms from now. */
  #turn(what: keyof typeof SPREAD_MS): number {
    const { clock, fleet } = this.#options;
    const most = Math.min(SPREAD_MS[what] * (fleet?.() ?? 0), LONGEST_SPREAD_MS);
    return most > 0 ? most * clock.random() : 0;
  }

  #sleep(ms: number): Promise<boolean> {
    const { clock, signal } = this.#options;
    if (signal.aborted) return Promise.resolve(false);
    if (ms <= 0) return Promise.resolve(true);
    return clock.sleep(ms, signal).then(
      () => true,
      () => false,
    );
  }

  #restMs(): number {
    const { forbiddenPauseMs } = this.#options;
    const error = this.#state?.error;
    if (forbiddenPauseMs !== undefined && isForbidden(error)) return forbiddenPauseMs;
    const rest = this.#pauseMs;
    this.#pauseMs = Math.min(rest * 2, LONGEST_PAUSE_MS[error?.code === 'ETCD_REFUSED' ? 'refused' : 'away']);
    return rest;
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

/** Two histories may have put the same key at the same revision, but not on the same etcd lease, or not the same value. */
function isSameKv(left: KeyValue | undefined, right: KeyValue | undefined): boolean {
  if (left === undefined || right === undefined) return left === right;
  return left.modRevision === right.modRevision && left.lease === right.lease && left.value === right.value;
}

function lastChanged(kvs: readonly KeyValue[]): Mark | undefined {
  let last = kvs[0];
  for (const kv of kvs) if (last === undefined || kv.modRevision > last.modRevision) last = kv;
  return last && { key: last.key, kv: last };
}
