/**
 * What goes to etcd (api/etcdserverpb/rpc.proto), made of our own forms, and what comes of its answers (etcd-answers.ts).
 * In requests int64 are decimal strings; keys and values are bytes.
 */
import type { Compare, KeyRange, KeyValue, StoreEvent, StoreOp, StoreVersion, Txn, TxnResult } from './store.ts';

export interface RangeRequest {
  readonly key: Buffer;
  readonly range_end?: Buffer;
  readonly limit?: number;
  readonly revision?: string;
  readonly keys_only?: boolean;
  readonly count_only?: boolean;
}

export interface RangeResponse {
  readonly version: StoreVersion;
  readonly kvs: readonly KeyValue[];
  /** The last key, byte for byte, where more follow it. */
  readonly lastKey: Buffer | undefined;
  /** How long the answer was. */
  readonly bytes: number;
}

interface WireCompare {
  readonly result: 'Equal' | 'Less';
  readonly target: 'Mod' | 'Value' | 'Lease' | 'Create';
  readonly key: Buffer;
  readonly range_end?: Buffer;
  readonly mod_revision?: string;
  readonly value?: Buffer;
  readonly lease?: string;
  readonly create_revision?: string;
}

interface WirePut {
  readonly key: Buffer;
  readonly value: Buffer;
  readonly lease?: string;
  readonly ignore_lease?: boolean;
}

type WireOp =
  | { readonly request_put: WirePut }
  | { readonly request_delete_range: { readonly key: Buffer } }
  | { readonly request_range: RangeRequest };

export interface TxnRequest {
  readonly compare: readonly WireCompare[];
  readonly success: readonly WireOp[];
  readonly failure: readonly WireOp[];
}

export interface WatchRequest {
  readonly create_request: {
    readonly key: Buffer;
    readonly range_end: Buffer;
    readonly start_revision: string;
    readonly progress_notify: boolean;
    readonly fragment: boolean;
  };
}

export interface WatchResponse {
  /** Of a watch: one member's own view. Its term may be that of an election which it will lose, or an old one. */
  readonly version: Omit<StoreVersion, 'term'>;
  readonly created: boolean;
  readonly canceled: boolean;
  /** What was asked for, and all before that revision, is gone from history; 0: it is not. */
  readonly compactRevision: number;
  readonly cancelReason: string;
  /** More events of this revision follow. */
  readonly fragment: boolean;
  readonly events: readonly StoreEvent[];
}

/** Of an etcd lease, what the call tells of it. */
export interface LeaseResponse {
  readonly id: string;
  /** Below 1: it is gone. */
  readonly seconds: number;
  readonly grantedSeconds: number;
}

export interface LoginResponse {
  readonly token: string;
}

interface LeaseRequest {
  readonly ID: string;
}

/** The unary calls in use. */
export interface Calls {
  readonly range: { readonly request: RangeRequest; readonly response: RangeResponse };
  readonly txn: { readonly request: TxnRequest; readonly response: TxnResult };
  readonly leaseGrant: { readonly request: { readonly TTL: string }; readonly response: LeaseResponse };
  readonly leaseRevoke: { readonly request: LeaseRequest; readonly response: LeaseResponse };
  readonly leaseTimeToLive: { readonly request: LeaseRequest; readonly response: LeaseResponse };
  readonly authenticate: {
    readonly request: { readonly name: string; readonly password: string };
    readonly response: LoginResponse;
  };
}

/** The streams in use. */
export interface Streams {
  readonly watch: { readonly request: WatchRequest; readonly response: WatchResponse };
  readonly leaseKeepAlive: { readonly request: LeaseRequest; readonly response: LeaseResponse };
}

export function rangeRequest(range: KeyRange): { readonly key: Buffer; readonly range_end: Buffer } {
  return { key: Buffer.from(range.key), range_end: Buffer.from(range.end) };
}

function compareRequest(compare: Compare): WireCompare {
  if ('absent' in compare) {
    return { result: 'Equal', target: 'Create', create_revision: '0', ...rangeRequest(compare.absent) };
  }
  if ('range' in compare) {
    // etcd takes an empty range for one key with mod_revision 0: it is unchanged.
    return {
      result: 'Less',
      target: 'Mod',
      mod_revision: String(compare.unchangedSince + 1),
      ...rangeRequest(compare.range),
    };
  }
  const key = Buffer.from(compare.key);
  if ('modRevision' in compare) {
    return { result: 'Equal', target: 'Mod', key, mod_revision: String(compare.modRevision) };
  }
  if ('value' in compare) return { result: 'Equal', target: 'Value', key, value: Buffer.from(compare.value) };
  return { result: 'Equal', target: 'Lease', key, lease: compare.lease };
}

function opRequest(op: StoreOp): WireOp {
  if ('put' in op) {
    const pair = { key: Buffer.from(op.put), value: Buffer.from(op.value) };
    return { request_put: 'lease' in op ? { ...pair, lease: op.lease } : { ...pair, ignore_lease: true } };
  }
  if ('delete' in op) return { request_delete_range: { key: Buffer.from(op.delete) } };
  if ('get' in op) return { request_range: { key: Buffer.from(op.get) } };
  return { request_range: { ...rangeRequest(op.list), keys_only: op.keysOnly ?? false } };
}

export function txnRequest(txn: Txn): TxnRequest {
  return {
    compare: txn.compare.map(compareRequest),
    success: txn.success.map(opRequest),
    failure: txn.failure.map(opRequest),
  };
}
