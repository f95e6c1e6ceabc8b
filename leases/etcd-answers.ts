/**
 * etcd's answers (api/etcdserverpb/rpc.proto, api/mvccpb/kv.proto), from their bytes straight to the form that this room
 * uses: lists have thousands of keys, and an event's way to the kernel is short. Other fields are passed over, those of
 * newer etcds too. What is absent has the value that proto3 gives it.
 *
 * Tags in hexadecimal: number of the field << 3, and 2 where the value has a length of its own. Field 5 is 0x28 or 0x2a.
 */
import type { Calls, LeaseResponse, LoginResponse, RangeResponse, Streams, WatchResponse } from './etcd-messages.ts';
import { ProtobufReader } from './protobuf-reader.ts';
import type { KeyValue, StoreEvent, StoreVersion, TxnResult } from './store.ts';

/** More of a value is never kept: nothing that anybody reads here is so long, and any number of hostile ones are. */
const MAX_VALUE_BYTES = 65_536 + 1;

const NO_VERSION = { clusterId: '0', revision: 0, term: 0 } as const;
const NO_KEY_VALUE: KeyValue = { key: '', value: '', createRevision: 0, modRevision: 0, lease: '0' };

function versionOf(reader: ProtobufReader, end = reader.end()): Required<StoreVersion> {
  let clusterId = '0';
  let revision = 0;
  let term = 0;
  while (reader.isBefore(end)) {
    const tag = reader.uint();
    if (tag === 0x08) clusterId = reader.uint64Text();
    else if (tag === 0x18) revision = reader.int64();
    else if (tag === 0x20) term = Number(reader.uint64Text());
    else reader.skip(tag);
  }
  return { clusterId, revision, term };
}

function keyValueOf(reader: ProtobufReader, end = reader.end()): KeyValue {
  let key = '';
  let createRevision = 0;
  let modRevision = 0;
  let value = '';
  let lease = '0';
  while (reader.isBefore(end)) {
    const tag = reader.uint();
    if (tag === 0x0a) key = reader.text();
    else if (tag === 0x10) createRevision = reader.int64();
    else if (tag === 0x18) modRevision = reader.int64();
    else if (tag === 0x2a) value = reader.text(MAX_VALUE_BYTES);
    else if (tag === 0x30) lease = reader.int64Text();
    else reader.skip(tag);
  }
  return { key, value, createRevision, modRevision, lease };
}

/** Where text was made of a key, invalid UTF-8 in it is lost. */
function keyBytesOf(reader: ProtobufReader, end = reader.end()): Buffer | undefined {
  let key: Buffer | undefined;
  while (reader.isBefore(end)) {
    const tag = reader.uint();
    if (tag === 0x0a) key = reader.bytes();
    else reader.skip(tag);
  }
  return key;
}

/** An answer that does not say of which store it is would pass for another store's, an empty one. */
function told(version: Required<StoreVersion>): Required<StoreVersion> {
  if (version === NO_VERSION) throw new RangeError('an answer without a header');
  return version;
}

function rangeOf(bytes: Buffer): RangeResponse {
  const reader = new ProtobufReader(bytes);
  const kvs: KeyValue[] = [];
  let version: Required<StoreVersion> = NO_VERSION;
  let more = false;
  let last: number | undefined;
  while (reader.isBefore(bytes.length)) {
    const tag = reader.uint();
    if (tag === 0x12) {
      last = reader.at;
      kvs.push(keyValueOf(reader));
    } else if (tag === 0x0a) version = versionOf(reader);
    else if (tag === 0x18) more = reader.uint() !== 0;
    else reader.skip(tag);
  }
  const lastKey = more && last !== undefined ? keyBytesOf(new ProtobufReader(bytes, last)) : undefined;
  return { version: told(version), kvs, lastKey, bytes: bytes.length };
}

function txnOf(bytes: Buffer): TxnResult {
  const reader = new ProtobufReader(bytes);
  const responses: (readonly KeyValue[])[] = [];
  let version: Required<StoreVersion> = NO_VERSION;
  let succeeded = false;
  while (reader.isBefore(bytes.length)) {
    const tag = reader.uint();
    if (tag === 0x0a) version = versionOf(reader);
    else if (tag === 0x10) succeeded = reader.uint() !== 0;
    else if (tag === 0x1a) responses.push(keyValuesOf(reader, 0x0a));
    else reader.skip(tag);
  }
  return { ...told(version), succeeded, responses };
}

/** Of an operation in a transaction the keys that it read, in its response_range; of a put or a deletion none are read. */
function keyValuesOf(reader: ProtobufReader, wanted: 0x0a | 0x12, end = reader.end()): readonly KeyValue[] {
  const kvs: KeyValue[] = [];
  while (reader.isBefore(end)) {
    const tag = reader.uint();
    if (tag !== wanted) reader.skip(tag);
    else if (wanted === 0x12) kvs.push(keyValueOf(reader));
    else for (const kv of keyValuesOf(reader, 0x12)) kvs.push(kv);
  }
  return kvs;
}

function watchOf(bytes: Buffer): WatchResponse {
  const reader = new ProtobufReader(bytes);
  const events: StoreEvent[] = [];
  let version: Required<StoreVersion> = NO_VERSION;
  let created = false;
  let canceled = false;
  let fragment = false;
  let compactRevision = 0;
  let cancelReason = '';
  while (reader.isBefore(bytes.length)) {
    const tag = reader.uint();
    if (tag === 0x5a) events.push(eventOf(reader));
    else if (tag === 0x0a) version = versionOf(reader);
    else if (tag === 0x18) created = reader.uint() !== 0;
    else if (tag === 0x20) canceled = reader.uint() !== 0;
    else if (tag === 0x28) compactRevision = reader.int64();
    else if (tag === 0x32) cancelReason = reader.text();
    else if (tag === 0x38) fragment = reader.uint() !== 0;
    else reader.skip(tag);
  }
  const { clusterId, revision } = version;
  return { version: { clusterId, revision }, created, canceled, fragment, compactRevision, cancelReason, events };
}

function eventOf(reader: ProtobufReader, end = reader.end()): StoreEvent {
  let isDelete = false;
  let kv = NO_KEY_VALUE;
  while (reader.isBefore(end)) {
    const tag = reader.uint();
    if (tag === 0x08) isDelete = reader.uint() === 1;
    else if (tag === 0x12) kv = keyValueOf(reader);
    else reader.skip(tag);
  }
  return isDelete ? { type: 'delete', key: kv.key, modRevision: kv.modRevision } : { type: 'put', kv };
}

/** Of every call about an etcd lease: they number their fields alike. */
function leaseOf(bytes: Buffer): LeaseResponse {
  const reader = new ProtobufReader(bytes);
  let id = '0';
  let seconds = 0;
  let grantedSeconds = 0;
  while (reader.isBefore(bytes.length)) {
    const tag = reader.uint();
    if (tag === 0x10) id = reader.int64Text();
    else if (tag === 0x18) seconds = reader.int64();
    else if (tag === 0x20) grantedSeconds = reader.int64();
    else reader.skip(tag);
  }
  return { id, seconds, grantedSeconds };
}

function loginOf(bytes: Buffer): LoginResponse {
  const reader = new ProtobufReader(bytes);
  let token = '';
  while (reader.isBefore(bytes.length)) {
    const tag = reader.uint();
    if (tag === 0x12) token = reader.text();
    else reader.skip(tag);
  }
  return { token };
}

type All = Calls & Streams;

/** How the answers to each call are read. They throw RangeError where the bytes are no such message. */
export const ANSWERS: { readonly [C in keyof All]: (bytes: Buffer) => All[C]['response'] } = {
  range: rangeOf,
  txn: txnOf,
  watch: watchOf,
  leaseGrant: leaseOf,
  leaseRevoke: leaseOf,
  leaseTimeToLive: leaseOf,
  leaseKeepAlive: leaseOf,
  authenticate: loginOf,
};
