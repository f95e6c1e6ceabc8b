import type { Clock } from '../config/clock.ts';
import { toError } from '../config/errors.ts';
import type { KeyRange, KeyValue, Store, StoreEvent, StoreVersion } from './store.ts';

export interface SessionOptions {
  readonly store: Store;
  readonly range: KeyRange;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly progressTimeoutMs?: number;
  onEvents(events: readonly StoreEvent[], revision: number): void;
}

/** The key of the range that was changed last, as far as was delivered: by it the store is known again. */
export interface Mark {
  readonly key: string;
  /** undefined: it was deleted. */
  readonly kv: KeyValue | undefined;
}

export interface SessionEnd {
  /** Where the next watch goes on. */
  readonly delivered: StoreVersion;
  /** Where the last change that it brought is to be seen; undefined where it brought none. */
  readonly mark: Mark | undefined;
  readonly newest: StoreVersion;
  /** There is no going on: list again. */
  readonly relist: boolean;
  /** Only the connection is another one now: go on at once, and say nothing. */
  readonly renewed: boolean;
  readonly reason: string;
  /** It brought something, or stood for a while: no failed attempt. */
  readonly settled: boolean;
}

const SETTLED_MS = 2000;
const PROGRESS_TIMEOUT_MS = 25 * 60_000;

/**
 * One watch from open to end, with what it has delivered.
 *
 * It begins at the last delivered revision, not after it. etcd takes a watch from the very revision that history was
 * compacted at, but has thrown away the deletes of that revision (seen with 3.4.23; etcd-io/etcd#19179): beginning after
 * the last delivered one, such a delete would be lost without a word. One earlier, etcd says that it is compacted.
 */
export class WatchSession {
  readonly #options: SessionOptions;
  readonly #onConnected: () => void;
  readonly #over = new AbortController();
  #delivered: StoreVersion;
  #newest: StoreVersion;
  #mark: Mark | undefined;
  #createdAt: number | undefined;
  #progressed = false;
  #heardAt: number;

  constructor(options: SessionOptions, delivered: StoreVersion, newest: StoreVersion, onConnected: () => void) {
    this.#options = options;
    this.#delivered = delivered;
    this.#newest = newest;
    this.#onConnected = onConnected;
    this.#heardAt = options.clock.monotonic();
  }

  /** Rejects with what a handler threw. */
  run(): Promise<SessionEnd> {
    const { store, range, signal } = this.#options;
    return new Promise((resolve, reject) => {
      const abort = (): void => end(false, 'stopped');
      const close = (): boolean => {
        if (this.#over.signal.aborted) return false;
        this.#over.abort();
        signal.removeEventListener('abort', abort);
        return true;
      };
      const end = (relist: boolean, reason: string, renewed = false): void => {
        if (close()) resolve({ ...this.#endOf(relist, reason), renewed });
      };
      /** `work` says why this store cannot be followed further, if so. */
      const guarded = (work: () => string | undefined): void => {
        if (this.#over.signal.aborted) return;
        try {
          const doubt = work();
          if (doubt !== undefined) end(true, doubt);
        } catch (error) {
          if (close()) reject(toError(error));
        }
      };
      signal.addEventListener('abort', abort);
      const stop = store.watch(range, this.#delivered.revision, {
        onCreated: (version) => guarded(() => this.#created(version)),
        onEvents: (events, version) => guarded(() => this.#receive(events, version)),
        onEnd: ({ compacted, renewed, reason }) => end(compacted, reason, renewed),
      });
      if (this.#over.signal.aborted) stop();
      else this.#over.signal.addEventListener('abort', stop);
      if (signal.aborted) abort();
      void this.#silence().then((silent) => silent && end(false, 'nothing was heard for too long'));
    });
  }

  #created(version: StoreVersion): string | undefined {
    const doubt = this.#doubt(version);
    // A member that lags behind looks the same; the listing that follows tells.
    if (doubt !== undefined || version.revision < this.#newest.revision) return doubt ?? 'the revision went back';
    this.#see(version);
    this.#createdAt = this.#options.clock.monotonic();
    this.#heardAt = this.#createdAt;
    this.#onConnected();
    return undefined;
  }

  #receive(events: readonly StoreEvent[], version: StoreVersion): string | undefined {
    const doubt = this.#doubt(version);
    if (doubt !== undefined) return doubt;
    this.#heardAt = this.#options.clock.monotonic();
    const from = this.#delivered.revision;
    if (version.revision <= from) return undefined;
    this.#delivered = version;
    this.#progressed = true;
    if (version.revision > this.#newest.revision) this.#see(version);
    const fresh = events.filter((event) => revisionOf(event) > from);
    this.#mark = markOf(fresh.at(-1)) ?? this.#mark;
    if (fresh.length > 0) this.#options.onEvents(fresh, version.revision);
    return undefined;
  }

  /** A watch tells no term: what is known of it stays. */
  #see({ revision }: StoreVersion): void {
    this.#newest = { ...this.#newest, revision };
  }

  #doubt(version: StoreVersion): string | undefined {
    return version.clusterId === this.#newest.clusterId ? undefined : 'the cluster is another one';
  }

  #endOf(relist: boolean, reason: string): Omit<SessionEnd, 'renewed'> {
    const { clock } = this.#options;
    const stood = this.#createdAt === undefined ? 0 : clock.monotonic() - this.#createdAt;
    const settled = this.#progressed || stood >= SETTLED_MS;
    return { delivered: this.#delivered, mark: this.#mark, newest: this.#newest, relist, reason, settled };
  }

  /** @returns true as soon as nothing was heard for the whole time, false where the session ended before. */
  async #silence(): Promise<boolean> {
    const { clock, progressTimeoutMs = PROGRESS_TIMEOUT_MS } = this.#options;
    for (;;) {
      const left = this.#heardAt + progressTimeoutMs - clock.monotonic();
      if (left <= 0) return true;
      const slept = await clock.sleep(left, this.#over.signal).then(
        () => true,
        () => false,
      );
      if (!slept) return false;
    }
  }
}

function markOf(event: StoreEvent | undefined): Mark | undefined {
  if (event === undefined) return undefined;
  return event.type === 'put' ? { key: event.kv.key, kv: event.kv } : { key: event.key, kv: undefined };
}

function revisionOf(event: StoreEvent): number {
  return event.type === 'put' ? event.kv.modRevision : event.modRevision;
}
