/**
 * etcd in memory: revisions, history, etcd leases on a clock, compaction, and every failure that a test asks for.
 * `FakeEtcd` is the server; each `connect()` is one client of it, whose connection can be cut on its own.
 */
import { setMaxListeners } from 'node:events';
import type { Clock } from '../../config/clock.ts';
import type {
  Compare,
  KeyRange,
  KeyValue,
  StoreEvent,
  StoreOp,
  StoreVersion,
  Txn,
  TxnResult,
} from '../../leases/store.ts';
import { FakeStore, refusal } from './store.ts';
import { revisionOf } from './watch.ts';

interface EtcdLease {
  readonly grantedSeconds: number;
  /** On the clock's monotonic scale. */
  expiresAt: number;
}

/** A state to restore; what is left out starts empty. */
export interface FakeBackup extends StoreVersion {
  readonly kvs: readonly KeyValue[];
  /** Id and granted seconds; after the restore each has its whole time again. */
  readonly leases: readonly (readonly [string, number])[];
}

type Subscriber = (change: 'events' | 'restored') => void;

function compareBytes(left: string, right: string): number {
  return Buffer.compare(Buffer.from(left), Buffer.from(right));
}

export function isInRange(key: string, range: KeyRange): boolean {
  return compareBytes(key, range.key) >= 0 && compareBytes(key, range.end) < 0;
}

function keyOf(event: StoreEvent): string {
  return event.type === 'put' ? event.kv.key : event.key;
}

export class FakeEtcd {
  readonly #clock: Clock;
  readonly #stopped = new AbortController();
  readonly #subscribers = new Set<Subscriber>();
  #clusterId: string;
  #revision = 1;
  /** History begins here. */
  #compacted = 0;
  #kvs = new Map<string, KeyValue>();
  /** What there was where history begins. */
  #beginning: ReadonlyMap<string, KeyValue> = new Map();
  #history: StoreEvent[] = [];
  #leases = new Map<string, EtcdLease>();
  #nextLease = 7_587_000_000_000_000_001n;

  constructor(clock: Clock, clusterId = '14841639068965178418') {
    this.#clock = clock;
    this.#clusterId = clusterId;
    // Each etcd lease waits on it.
    setMaxListeners(0, this.#stopped.signal);
  }

  connect(): FakeStore {
    return new FakeStore(this);
  }

  get version(): StoreVersion {
    return { clusterId: this.#clusterId, revision: this.#revision };
  }

  /** All keys in byte order. */
  get kvs(): readonly KeyValue[] {
    return [...this.#kvs.values()].sort((left, right) => compareBytes(left.key, right.key));
  }

  /** As another client would. @returns the revision. */
  put(key: string, value: string, lease = '0'): number {
    return this.run({ compare: [], success: [{ put: key, value, lease }], failure: [] }).revision;
  }

  delete(key: string): number {
    return this.run({ compare: [], success: [{ delete: key }], failure: [] }).revision;
  }

  /** The range as it was; undefined where the revision is not in history. */
  rangeAt(range: KeyRange, revision: number): readonly KeyValue[] | undefined {
    const then = this.#kvsAt(revision);
    return then && [...then.values()].filter((kv) => isInRange(kv.key, range));
  }

  #kvsAt(revision: number): ReadonlyMap<string, KeyValue> | undefined {
    if (revision < this.#compacted || revision > this.#revision) return undefined;
    const kvs = new Map(this.#beginning);
    for (const event of this.#history.filter((one) => revisionOf(one) <= revision)) {
      if (event.type === 'put') kvs.set(event.kv.key, event.kv);
      else kvs.delete(event.key);
    }
    return kvs;
  }

  /** As etcd does it: of the revision itself the puts stay, the deletes go, although a watch may begin there. */
  compact(revision = this.#revision): void {
    this.#beginning = this.#kvsAt(revision) ?? this.#beginning;
    this.#compacted = Math.max(this.#compacted, revision);
    this.#history = this.#history.filter((event) => {
      const at = revisionOf(event);
      return at > this.#compacted || (at === this.#compacted && event.type === 'put');
    });
  }

  backup(): FakeBackup {
    const leases = [...this.#leases].map(([id, lease]) => [id, lease.grantedSeconds] as const);
    return { ...this.version, kvs: this.kvs, leases };
  }

  /** The store becomes another one: an old backup, a wiped directory (`{}`), another cluster. Connections end. */
  restore(backup: Partial<FakeBackup> = {}): void {
    this.#clusterId = backup.clusterId ?? this.#clusterId;
    this.#revision = backup.revision ?? 1;
    // The history that a real backup carries is left out.
    this.#compacted = this.#revision;
    this.#kvs = new Map((backup.kvs ?? []).map((kv) => [kv.key, kv]));
    this.#beginning = new Map(this.#kvs);
    this.#history = [];
    this.#leases.clear();
    for (const [id, seconds] of backup.leases ?? []) this.#hold(id, seconds);
    this.#tell('restored');
  }

  /** The etcd leases that exist, in the order they were granted. */
  get leases(): readonly string[] {
    this.#expire();
    return [...this.#leases.keys()];
  }

  grant(ttlSeconds: number): string {
    const id = String(this.#nextLease++);
    this.#hold(id, ttlSeconds);
    return id;
  }

  keepAlive(id: string): number {
    this.#expire();
    const lease = this.#leases.get(id);
    if (lease === undefined) return 0;
    lease.expiresAt = this.#clock.monotonic() + lease.grantedSeconds * 1000;
    return lease.grantedSeconds;
  }

  timeToLive(id: string): { readonly seconds: number; readonly grantedSeconds: number } {
    this.#expire();
    const lease = this.#leases.get(id);
    if (lease === undefined) return { seconds: -1, grantedSeconds: 0 };
    const seconds = Math.floor((lease.expiresAt - this.#clock.monotonic()) / 1000);
    return { seconds, grantedSeconds: lease.grantedSeconds };
  }

  /** All keys of one etcd lease go in one revision. */
  revoke(id: string): void {
    if (!this.#leases.delete(id)) return;
    const gone = this.kvs.filter((kv) => kv.lease === id).map((kv) => ({ delete: kv.key }));
    if (gone.length > 0) this.#apply(gone);
  }

  range(range: KeyRange, keysOnly = false): readonly KeyValue[] {
    this.#expire();
    const found = this.kvs.filter((kv) => isInRange(kv.key, range));
    return keysOnly ? found.map((kv) => ({ ...kv, value: '' })) : found;
  }

  run(txn: Txn): TxnResult {
    this.#expire();
    const succeeded = txn.compare.every((compare) => this.#holds(compare));
    const ops = succeeded ? txn.success : txn.failure;
    this.#check(ops);
    const responses = this.#apply(ops);
    return { ...this.version, succeeded, responses };
  }

  /** @returns the history of a range, or undefined where it does not reach back. */
  since(range: KeyRange, fromRevision: number): readonly StoreEvent[] | undefined {
    if (fromRevision < this.#compacted) return undefined;
    return this.#history.filter((event) => revisionOf(event) >= fromRevision && isInRange(keyOf(event), range));
  }

  subscribe(subscriber: Subscriber): () => void {
    this.#subscribers.add(subscriber);
    return () => this.#subscribers.delete(subscriber);
  }

  /** Ends the timers of its leases. */
  stop(): void {
    this.#stopped.abort();
  }

  #hold(id: string, ttlSeconds: number): void {
    const lease = { grantedSeconds: ttlSeconds, expiresAt: this.#clock.monotonic() + ttlSeconds * 1000 };
    this.#leases.set(id, lease);
    void this.#expireInTime(id, lease);
  }

  #tell(change: Parameters<Subscriber>[0]): void {
    for (const subscriber of [...this.#subscribers]) subscriber(change);
  }

  #expire(): void {
    const now = this.#clock.monotonic();
    for (const [id, lease] of [...this.#leases]) if (lease.expiresAt <= now) this.revoke(id);
  }

  async #expireInTime(id: string, lease: EtcdLease): Promise<void> {
    while (this.#leases.get(id) === lease) {
      const left = lease.expiresAt - this.#clock.monotonic();
      if (left <= 0) return this.revoke(id);
      const slept = await this.#clock.sleep(left, this.#stopped.signal).then(
        () => true,
        () => false,
      );
      if (!slept) return;
    }
  }

  #holds(compare: Compare): boolean {
    if ('absent' in compare) return this.range(compare.absent).length === 0;
    if ('range' in compare) return this.range(compare.range).every((kv) => kv.modRevision <= compare.unchangedSince);
    const kv = this.#kvs.get(compare.key);
    if ('modRevision' in compare) return (kv?.modRevision ?? 0) === compare.modRevision;
    if ('value' in compare) return kv?.value === compare.value;
    return (kv?.lease ?? '0') === compare.lease;
  }

  /** What etcd refuses before it does anything. */
  #check(ops: readonly StoreOp[]): void {
    const changed = ops.flatMap((op) => ('put' in op ? [op.put] : 'delete' in op ? [op.delete] : []));
    const puts = ops.flatMap((op) => ('put' in op ? [op.put] : []));
    if (puts.some((key) => changed.indexOf(key) !== changed.lastIndexOf(key))) throw refusal('invalid');
    for (const op of ops) {
      if (!('put' in op)) continue;
      if ('lease' in op && op.lease !== '0' && !this.#leases.has(op.lease)) throw refusal('lease');
      if ('keepLease' in op && !this.#kvs.has(op.put)) throw refusal('invalid');
    }
  }

  #apply(ops: readonly StoreOp[]): (readonly KeyValue[])[] {
    const revision = this.#revision + 1;
    const events: StoreEvent[] = [];
    const responses = ops.map((op): readonly KeyValue[] => {
      if ('get' in op) return [this.#kvs.get(op.get) ?? []].flat();
      if ('list' in op) return this.range(op.list, op.keysOnly);
      const event = 'put' in op ? this.#putEvent(op, revision) : this.#deleteEvent(op.delete, revision);
      if (event !== undefined) events.push(event);
      return [];
    });
    if (events.length === 0) return responses;
    this.#revision = revision;
    this.#history.push(...events);
    this.#tell('events');
    return responses;
  }

  #putEvent(op: Extract<StoreOp, { readonly put: string }>, revision: number): StoreEvent {
    const old = this.#kvs.get(op.put);
    const lease = 'lease' in op ? op.lease : (old?.lease ?? '0');
    const createRevision = old?.createRevision ?? revision;
    const kv = { key: op.put, value: op.value, createRevision, modRevision: revision, lease };
    this.#kvs.set(op.put, kv);
    return { type: 'put', kv };
  }

  #deleteEvent(key: string, revision: number): StoreEvent | undefined {
    return this.#kvs.delete(key) ? { type: 'delete', key, modRevision: revision } : undefined;
  }
}
