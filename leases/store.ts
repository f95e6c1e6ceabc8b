/** etcd as the rest of this room sees it. `etcd.ts` speaks to the real one, `test/fakes/etcd.ts` is one in memory. */

/** Half-open: `key` ≤ k < `end`, in byte order. */
export interface KeyRange {
  readonly key: string;
  readonly end: string;
}

export interface KeyValue {
  readonly key: string;
  /** UTF-8, invalid bytes replaced: what comes from etcd is untrusted and only ever parsed. */
  readonly value: string;
  readonly createRevision: number;
  readonly modRevision: number;
  /** Id of the etcd lease that the key hangs on, decimal; "0" for none (a reservation). */
  readonly lease: string;
}

/**
 * Which history an answer belongs to. Another cluster id, a revision or a term that went back: another store. A store that
 * was wiped or restored has the same cluster id, which is made of its members' addresses, and begins again at term 2.
 */
export interface StoreVersion {
  readonly clusterId: string;
  readonly revision: number;
  /** raft's, in answers that a quorum stands behind; a watch tells none. */
  readonly term?: number;
}

export type Compare =
  /** The key's mod_revision; 0: the key is absent. */
  | { readonly key: string; readonly modRevision: number }
  | { readonly key: string; readonly value: string }
  | { readonly key: string; readonly lease: string }
  /** No key in the range exists. */
  | { readonly absent: KeyRange }
  /** No key in the range was put after that revision; deletions don't matter. */
  | { readonly range: KeyRange; readonly unchangedSince: number };

export type StoreOp =
  /** `lease` "0": without one. */
  | { readonly put: string; readonly value: string; readonly lease: string }
  /** Puts a new value, keeping the key's lease. */
  | { readonly put: string; readonly value: string; readonly keepLease: true }
  | { readonly delete: string }
  | { readonly get: string }
  | { readonly list: KeyRange; readonly keysOnly?: boolean };

export interface Txn {
  readonly compare: readonly Compare[];
  readonly success: readonly StoreOp[];
  readonly failure: readonly StoreOp[];
}

export interface TxnResult extends StoreVersion {
  readonly succeeded: boolean;
  /** One entry per operation of the branch that ran; puts and deletes have an empty one. */
  readonly responses: readonly (readonly KeyValue[])[];
}

export interface ListOptions {
  readonly keysOnly?: boolean;
  /** At this revision instead of now. The listing's own is then the store's, of now. */
  readonly at?: number;
}

export interface Listing extends StoreVersion {
  readonly kvs: readonly KeyValue[];
}

export type StoreEvent =
  | { readonly type: 'put'; readonly kv: KeyValue }
  | { readonly type: 'delete'; readonly key: string; readonly modRevision: number };

export interface WatchEnd {
  /** The start revision is gone from history. */
  readonly compacted: boolean;
  /** The connection is replaced by another one, with other certificates: nothing is wrong. */
  readonly renewed: boolean;
  readonly reason: string;
}

/** What one raw watch stream reports. After `end` it says nothing more. */
export interface WatchHandler {
  /** The server took the watch; its revision at that moment. */
  onCreated(version: StoreVersion): void;
  /** All events up to `version.revision`, in order; none for a progress notification. */
  onEvents(events: readonly StoreEvent[], version: StoreVersion): void;
  onEnd(why: WatchEnd): void;
}

/**
 * Every call has a deadline and rejects with TartanError ETCD_UNAVAILABLE (no answer, no leader) or ETCD_REFUSED
 * (authentication, permission, TLS). No call is retried after its deadline, so nothing is written late.
 */
export interface Store {
  get(key: string): Promise<{ readonly kv: KeyValue | undefined } & StoreVersion>;
  /** The whole range at one revision, read in pages. Rejects with reason `history` where etcd does not have `at`. */
  list(range: KeyRange, options?: ListOptions): Promise<Listing>;
  txn(txn: Txn): Promise<TxnResult>;
  /** A new etcd lease. Rejects where the granted TTL is not what was asked for. */
  grant(ttlSeconds: number): Promise<string>;
  /** Renews an etcd lease once. @returns the seconds it has now, 0 where it is gone. */
  keepAlive(lease: string): Promise<number>;
  /** @returns the seconds left, -1 where the lease is gone, and what it was granted with. */
  timeToLive(lease: string): Promise<{ readonly seconds: number; readonly grantedSeconds: number }>;
  revoke(lease: string): Promise<void>;
  /** One raw stream over the range; @returns how to end it. Never throws: failures come as onEnd. */
  watch(range: KeyRange, fromRevision: number, handler: WatchHandler): () => void;
  /** Drops every connection: this host has another address, and what is under way leads nowhere. */
  reconnect(): void;
  close(): Promise<void>;
}
