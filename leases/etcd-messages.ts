/**
 * etcd's messages (api/etcdserverpb/rpc.proto) as far as they are used here, and our own forms of them. int64 are decimal
 * strings on the way in; keys and values are bytes.
 */
import type { Compare, KeyRange, KeyValue, StoreEvent, StoreOp, StoreVersion, Txn, TxnResult } from './store.ts';

export interface Header {
  readonly cluster_id: string;
  readonly revision: string;
  readonly raft_term: string;
}

export interface WireKeyValue {
  readonly key: Buffer;
  readonly value: Buffer;
  readonly create_revision: string;
  readonly mod_revision: string;
  readonly lease: string;
}

export interface RangeRequest {
  readonly key: Buffer;
  readonly range_end?: Buffer;
  readonly limit?: number;
  readonly revision?: string;
  readonly keys_only?: boolean;
  readonly count_only?: boolean;
}

export interface RangeResponse {
  readonly header: Header;
  readonly kvs: readonly WireKeyValue[];
  readonly more: boolean;
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

export interface TxnResponse {
  readonly header: Header;
  readonly succeeded: boolean;
  readonly responses: readonly { readonly response_range?: { readonly kvs: readonly WireKeyValue[] } | null }[];
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

export interface WireEvent {
  readonly type: string;
  readonly kv: WireKeyValue;
}

export interface WatchResponse {
  readonly header: Header;
  readonly created: boolean;
  readonly canceled: boolean;
  readonly compact_revision: string;
  readonly cancel_reason: string;
  readonly fragment: boolean;
  readonly events: readonly WireEvent[];
}

/** The unary calls in use. */
export interface Calls {
  readonly range: { readonly request: RangeRequest; readonly response: RangeResponse };
  readonly txn: { readonly request: TxnRequest; readonly response: TxnResponse };
  readonly leaseGrant: {
    readonly request: { readonly TTL: string };
    readonly response: { readonly ID: string; readonly TTL: string };
  };
  readonly leaseRevoke: { readonly request: { readonly ID: string }; readonly response: unknown };
  readonly leaseTimeToLive: {
    readonly request: { readonly ID: string };
    readonly response: { readonly TTL: string; readonly grantedTTL: string };
  };
  readonly authenticate: {
    readonly request: { readonly name: string; readonly password: string };
    readonly response: { readonly token: string };
  };
}

/** The streams in use. */
export interface Streams {
  readonly watch: { readonly request: WatchRequest; readonly response: WatchResponse };
  readonly leaseKeepAlive: { readonly request: { readonly ID: string }; readonly response: { readonly TTL: string } };
}

export function versionOf(header: Header): StoreVersion {
  return { clusterId: header.cluster_id, revision: Number(header.revision), term: Number(header.raft_term) };
}

/** Of a watch: one member's own view. Its term may be that of an election which it will lose, or an old one. */
export function watchVersionOf(header: Header): StoreVersion {
  return { clusterId: header.cluster_id, revision: Number(header.revision) };
}

/** More of a value is never kept: nothing that anybody reads here is so long, and any number of hostile ones are. */
const MAX_VALUE_BYTES = 65_536 + 1;

export function keyValueOf(kv: WireKeyValue): KeyValue {
  return {
    key: kv.key.toString('utf8'),
    value: kv.value.toString('utf8', 0, MAX_VALUE_BYTES),
    createRevision: Number(kv.create_revision),
    modRevision: Number(kv.mod_revision),
    lease: kv.lease,
  };
}

export function eventOf(event: WireEvent): StoreEvent {
  if (event.type !== 'Delete') return { type: 'put', kv: keyValueOf(event.kv) };
  return { type: 'delete', key: event.kv.key.toString('utf8'), modRevision: Number(event.kv.mod_revision) };
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

export function txnResultOf(response: TxnResponse): TxnResult {
  const responses = response.responses.map((one) => (one.response_range?.kvs ?? []).map(keyValueOf));
  return { ...versionOf(response.header), succeeded: response.succeeded, responses };
}
