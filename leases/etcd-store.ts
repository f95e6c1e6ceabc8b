import type { EtcdCalls } from './etcd-calls.ts';
import { etcdError, isOvertime, isRevisionGone, refused, toFailure, unavailable } from './etcd-failure.ts';
import type { RangeRequest } from './etcd-messages.ts';
import { rangeRequest, txnRequest } from './etcd-messages.ts';
import { EtcdWatch } from './etcd-watch.ts';
import type {
  KeyRange,
  KeyValue,
  Listing,
  ListOptions,
  Store,
  StoreVersion,
  Txn,
  TxnResult,
  WatchHandler,
} from './store.ts';

const PAGE = { keys: 2000, bytes: 4_000_000 } as const;
/** How often a listing begins anew because its revision was compacted away under it. */
const LIST_ATTEMPTS = 3;

export class EtcdStore implements Store {
  readonly #calls: EtcdCalls;
  readonly #watches = new Set<EtcdWatch>();
  #closed = false;

  constructor(calls: EtcdCalls) {
    this.#calls = calls;
  }

  async get(key: string): Promise<{ readonly kv: KeyValue | undefined } & StoreVersion> {
    this.#checkOpen();
    const { version, kvs } = await this.#calls.unary('range', { key: Buffer.from(key) });
    return { ...version, kv: kvs[0] };
  }

  /** Each page has a deadline of its own. */
  async list(range: KeyRange, options: ListOptions = {}): Promise<Listing> {
    const attempts = options.at === undefined ? LIST_ATTEMPTS : 1;
    for (let attempt = 1; ; attempt += 1) {
      const listing = await this.#listOnce(range, options, attempt === attempts);
      if (listing !== undefined) return listing;
    }
  }

  async txn(txn: Txn): Promise<TxnResult> {
    this.#checkOpen();
    return await this.#calls.unary('txn', txnRequest(txn));
  }

  async grant(ttlSeconds: number): Promise<string> {
    this.#checkOpen();
    const { id, seconds } = await this.#calls.unary('leaseGrant', { TTL: String(ttlSeconds) });
    if (seconds === ttlSeconds) return id;
    await this.revoke(id);
    throw refused('ttl', this.#calls.urls, `asked for ${ttlSeconds} s, got ${seconds} s`);
  }

  async keepAlive(lease: string): Promise<number> {
    this.#checkOpen();
    const { urls, deadlineMs } = this.#calls;
    const stream = await this.#calls.open('leaseKeepAlive', { deadline: Date.now() + deadlineMs });
    return new Promise((resolve, reject) => {
      stream.on('data', (answer) => {
        stream.cancel();
        resolve(answer.seconds);
      });
      stream.on('error', (error) => reject(etcdError(toFailure(error, true), urls)));
      stream.on('end', () => reject(unavailable(urls, 'the stream ended without an answer')));
      stream.write({ ID: lease });
      stream.end();
    });
  }

  async timeToLive(lease: string): Promise<{ readonly seconds: number; readonly grantedSeconds: number }> {
    this.#checkOpen();
    const { seconds, grantedSeconds } = await this.#calls.unary('leaseTimeToLive', { ID: lease });
    return { seconds, grantedSeconds };
  }

  /** A lease that is gone already is no error. */
  async revoke(lease: string): Promise<void> {
    this.#checkOpen();
    const outcome = await this.#calls.attempt('leaseRevoke', { ID: lease });
    if (outcome.ok) return;
    const error = etcdError(outcome.failure, this.#calls.urls);
    if (error.data['reason'] !== 'lease') throw error;
  }

  /** Ended by the caller, the watch says nothing more, not even `onEnd`. */
  watch(range: KeyRange, fromRevision: number, handler: WatchHandler): () => void {
    const watch = new EtcdWatch(this.#calls, range, fromRevision, {
      onCreated: (version) => handler.onCreated(version),
      onEvents: (events, version) => handler.onEvents(events, version),
      onEnd: (why) => {
        this.#watches.delete(watch);
        handler.onEnd(why);
      },
    });
    this.#watches.add(watch);
    void watch.run(this.#closed);
    return () => {
      this.#watches.delete(watch);
      watch.stop();
    };
  }

  reconnect(): void {
    this.#calls.reconnect();
  }

  /** Watches end as renewed: whoever follows opens them again at once, over a new connection. */
  protected reopenWatches(): void {
    for (const watch of [...this.#watches]) watch.end({ renewed: true, reason: 'the connection is renewed' });
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const watch of [...this.#watches]) watch.end({ reason: 'closed' });
    this.#calls.close();
  }

  #checkOpen(): void {
    if (this.#closed) throw refused('closed', this.#calls.urls, 'called after close');
  }

  /** @returns undefined where the revision went away between two pages. */
  async #listOnce(range: KeyRange, { keysOnly = false, at }: ListOptions, last: boolean): Promise<Listing | undefined> {
    const kvs: KeyValue[] = [];
    const then = at === undefined ? {} : { revision: String(at) };
    let page: RangeRequest = { ...rangeRequest(range), ...then, keys_only: keysOnly };
    for (let limit: number = PAGE.keys; ; ) {
      this.#checkOpen();
      const outcome = await this.#calls.attempt('range', { ...page, limit });
      if (!outcome.ok && isOvertime(outcome.failure) && limit > 1) {
        // Perhaps so long that it can't be had in time: hostile values have megabytes.
        limit = Math.ceil(limit / 16);
        continue;
      }
      if (!outcome.ok && isRevisionGone(outcome.failure) && !last) return undefined;
      if (!outcome.ok) throw etcdError(outcome.failure, this.#calls.urls);
      const { version, kvs: some, lastKey, bytes } = outcome.value;
      for (const kv of some) kvs.push(kv);
      // Later pages carry the store's current revision in their header; what they show is the first page's.
      const revision: string = page.revision ?? String(version.revision);
      if (lastKey === undefined)
        return { ...version, revision: at === undefined ? Number(revision) : version.revision, kvs };
      page = { ...page, key: Buffer.concat([lastKey, Buffer.of(0)]), revision };
      limit = nextLimit(some.length, bytes);
    }
  }
}

/** As many keys as make a moderate page, if the next are as long as these. */
function nextLimit(keys: number, bytes: number): number {
  return Math.max(1, Math.min(PAGE.keys, Math.floor((PAGE.bytes * keys) / Math.max(1, bytes))));
}
