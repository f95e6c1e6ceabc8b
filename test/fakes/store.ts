import { TartanError } from '../../config/errors.ts';
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
} from '../../leases/store.ts';
import type { FakeEtcd } from './etcd.ts';
import { FakeWatch } from './watch.ts';

export function refusal(reason: string): TartanError {
  return new TartanError('ETCD_REFUSED', `The fake etcd refused: ${reason}`, { data: { reason } });
}

function absence(): TartanError {
  return new TartanError('ETCD_UNAVAILABLE', 'The fake etcd does not answer');
}

/** One client's connection. */
export class FakeStore implements Store {
  readonly #etcd: FakeEtcd;
  readonly #watches = new Set<FakeWatch>();
  #failures: { readonly afterwards: boolean; readonly error: TartanError }[] = [];
  #denied: string[] = [];
  #reachable = true;
  #closed = false;
  /** How often each call was made. */
  readonly calls = { get: 0, listAt: 0, list: 0, txn: 0, grant: 0, keepAlive: 0, timeToLive: 0, revoke: 0, watch: 0 };

  constructor(etcd: FakeEtcd) {
    this.#etcd = etcd;
  }

  /** The next call fails; `afterwards`: it is carried out, and only the answer is lost. */
  failNext(options: { readonly afterwards?: boolean; readonly error?: TartanError } = {}): void {
    this.#failures.push({ afterwards: options.afterwards ?? false, error: options.error ?? absence() });
  }

  /** Nothing under the prefix may be read, written or watched. */
  deny(prefix: string): void {
    this.#denied.push(prefix);
  }

  allow(): void {
    this.#denied = [];
  }

  /** Ends the streams; calls go on working. */
  cut(): void {
    for (const watch of [...this.#watches]) watch.end('cut');
  }

  /** As after a change of certificates. */
  renew(): void {
    for (const watch of [...this.#watches]) watch.end('renewed', { renewed: true });
  }

  get isReachable(): boolean {
    return this.#reachable;
  }

  set reachable(reachable: boolean) {
    this.#reachable = reachable;
    if (!reachable) this.cut();
  }

  async get(key: string): Promise<{ readonly kv: KeyValue | undefined } & StoreVersion> {
    this.calls.get += 1;
    return this.#call([key], () => {
      const [kv] = this.#etcd.range({ key, end: `${key}\0` });
      return { ...this.#etcd.version, kv };
    });
  }

  async list(range: KeyRange, { keysOnly, at }: ListOptions = {}): Promise<Listing> {
    this.calls[at === undefined ? 'list' : 'listAt'] += 1;
    return this.#call([range.key], () => {
      const kvs = at === undefined ? this.#etcd.range(range, keysOnly) : this.#etcd.rangeAt(range, at);
      if (kvs === undefined) throw refusal('history');
      return { kvs, ...this.#etcd.version };
    });
  }

  async txn(txn: Txn): Promise<TxnResult> {
    this.calls.txn += 1;
    return this.#call(keysOf(txn), () => this.#etcd.run(txn));
  }

  async grant(ttlSeconds: number): Promise<string> {
    this.calls.grant += 1;
    return this.#call([], () => this.#etcd.grant(ttlSeconds));
  }

  async keepAlive(lease: string): Promise<number> {
    this.calls.keepAlive += 1;
    return this.#call([], () => this.#etcd.keepAlive(lease));
  }

  async timeToLive(lease: string): Promise<{ readonly seconds: number; readonly grantedSeconds: number }> {
    this.calls.timeToLive += 1;
    return this.#call([], () => this.#etcd.timeToLive(lease));
  }

  async revoke(lease: string): Promise<void> {
    this.calls.revoke += 1;
    return this.#call([], () => this.#etcd.revoke(lease));
  }

  watch(range: KeyRange, fromRevision: number, handler: WatchHandler): () => void {
    this.calls.watch += 1;
    const watch = new FakeWatch(this.#etcd, range, fromRevision, handler, () => this.#watches.delete(watch));
    this.#watches.add(watch);
    queueMicrotask(() => watch.open(this.#trouble([range.key])));
    return () => watch.stop();
  }

  /** Tells every watch how far it is, as etcd does now and then. */
  progress(): void {
    for (const watch of this.#watches) watch.progress();
  }

  reconnect(): void {
    for (const watch of [...this.#watches]) watch.end('reconnecting');
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const watch of [...this.#watches]) watch.end('closed');
  }

  async #call<T>(keys: readonly string[], work: () => T): Promise<T> {
    await Promise.resolve();
    const failure = this.#failures.shift();
    if (failure !== undefined && !failure.afterwards) throw failure.error;
    const trouble = this.#trouble(keys);
    if (trouble !== undefined) throw trouble;
    const result = work();
    if (failure !== undefined) throw failure.error;
    return result;
  }

  #trouble(keys: readonly string[]): TartanError | undefined {
    if (this.#closed) return refusal('closed');
    if (!this.#reachable) return absence();
    const isDenied = keys.some((key) => this.#denied.some((prefix) => key.startsWith(prefix)));
    return isDenied ? refusal('permission') : undefined;
  }
}

function keysOf(txn: Txn): readonly string[] {
  const compared = txn.compare.map((compare) => {
    if ('absent' in compare) return compare.absent.key;
    return 'range' in compare ? compare.range.key : compare.key;
  });
  const touched = [...txn.success, ...txn.failure].map((op) => {
    if ('put' in op) return op.put;
    if ('delete' in op) return op.delete;
    return 'get' in op ? op.get : op.list.key;
  });
  return [...compared, ...touched];
}
