/** What is read of etcd's answers, beside what protobufjs reads of the same bytes. */
import { createRequire } from 'node:module';
import test from 'ava';
import fc from 'fast-check';
import protobuf from 'protobufjs';
import { ANSWERS } from '../../../leases/etcd-answers.ts';

const PROTO = createRequire(createRequire(import.meta.url).resolve('etcd3')).resolve('../proto/rpc.proto');
const ROOT = (await new protobuf.Root().load(PROTO, { keepCase: true })).resolveAll();

/** Of protobufjs: int64 and enumerations as text, and every field that is absent. */
const WHOLE = { longs: String, enums: String, defaults: true, oneofs: true };
const NOBODY = { cluster_id: '0', revision: '0', raft_term: '0' };

interface Header {
  readonly cluster_id: string;
  readonly revision: string;
  readonly raft_term: string;
}

interface WireKeyValue {
  readonly key: Buffer;
  readonly value: Buffer;
  readonly create_revision: string;
  readonly mod_revision: string;
  readonly lease: string;
}

function bytesOf(type: string, message: object, unknown: Buffer = Buffer.of()): Buffer {
  const known = ROOT.lookupType(type);
  return Buffer.concat([known.encode(known.fromObject(message)).finish(), unknown]);
}

function versionOf(header: Header | null) {
  const { cluster_id: clusterId, revision, raft_term: term } = header ?? NOBODY;
  return { clusterId, revision: Number(revision), term: Number(term) };
}

function keyValueOf(kv: WireKeyValue) {
  return {
    key: kv.key.toString('utf8'),
    value: kv.value.toString('utf8', 0, 65_537),
    createRevision: Number(kv.create_revision),
    modRevision: Number(kv.mod_revision),
    lease: kv.lease,
  };
}

const int64 = fc
  .oneof(
    fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n),
    fc.bigInt(0n, 1000n),
    fc.integer({ min: 0, max: 62 }).chain((power) => fc.constantFrom(2n ** BigInt(power), 2n ** BigInt(power) - 1n)),
  )
  .map(String);
const uint64 = fc.bigInt(0n, 2n ** 64n - 1n).map(String);
const bytes = fc
  .oneof(
    fc.uint8Array({ maxLength: 300 }),
    fc.string({ unit: 'binary' }).map((text) => Buffer.from(text)),
  )
  .map((drawn) => Buffer.from(drawn));
const some = { requiredKeys: [] };
const header = fc.record({ cluster_id: uint64, member_id: uint64, revision: int64, raft_term: uint64 }, some);
const kv = fc.record(
  {
    ...{ key: bytes, value: bytes, create_revision: int64, mod_revision: int64, version: int64, lease: int64 },
  },
  some,
);
const range = fc.record({ header, kvs: fc.array(kv), more: fc.boolean(), count: int64 }, some);
const event = fc.record({ type: fc.constantFrom('Put', 'Delete'), kv, prev_kv: kv }, { requiredKeys: ['kv'] });
const watch = fc.record(
  {
    ...{ header, watch_id: int64, created: fc.boolean(), canceled: fc.boolean(), compact_revision: int64 },
    ...{ cancel_reason: fc.string(), fragment: fc.boolean(), events: fc.array(event) },
  },
  some,
);
const operation = fc.oneof(
  fc.record({ response_range: range }),
  fc.record({ response_put: fc.record({ header, prev_kv: kv }, some) }),
  fc.record({ response_delete_range: fc.record({ header, deleted: int64, prev_kvs: fc.array(kv) }, some) }),
);
const txn = fc.record({ header, succeeded: fc.boolean(), responses: fc.array(operation) }, some);

/** Fields of a newer etcd, of every wire type: their numbers are used nowhere. */
const unknown = fc
  .array(fc.tuple(fc.integer({ min: 100, max: 2 ** 29 - 1 }), fc.constantFrom(0, 1, 2, 5), bytes, uint64))
  .map((fields) => {
    const writer = protobuf.Writer.create();
    for (const [number, wireType, value, integer] of fields) {
      writer.uint32(((number << 3) | wireType) >>> 0);
      if (wireType === 0) writer.uint64(integer);
      else if (wireType === 1) writer.fixed64(integer);
      else if (wireType === 2) writer.bytes(value);
      else writer.fixed32(number);
    }
    return Buffer.from(writer.finish());
  });

/** What protobufjs reads. */
function wholeOf(type: string, written: Buffer) {
  const known = ROOT.lookupType(type);
  return known.toObject(known.decode(written), WHOLE);
}

/** It would pass for the answer of another store, an empty one. */
const HEADLESS = { instanceOf: RangeError, message: 'an answer without a header' };

test('a list is what protobufjs reads, and its last key is given byte for byte where more follow', (t) => {
  const type = 'etcdserverpb.RangeResponse';
  fc.assert(
    fc.property(range, unknown, (message, more) => {
      const written = bytesOf(type, message, more);
      const whole = wholeOf(type, written);
      if (!whole['header']) return void t.throws(() => ANSWERS.range(written), HEADLESS);
      const { lastKey, ...answer } = ANSWERS.range(written);
      const expected = {
        version: versionOf(whole['header']),
        kvs: whole['kvs'].map(keyValueOf),
        bytes: written.length,
      };
      t.deepEqual(answer, expected);
      const last = message.kvs?.at(-1);
      t.deepEqual(lastKey, message.more === true && last ? last.key : undefined);
    }),
  );
});

test('a transaction is what protobufjs reads: the keys that each operation read', (t) => {
  const type = 'etcdserverpb.TxnResponse';
  fc.assert(
    fc.property(txn, unknown, (message, more) => {
      const written = bytesOf(type, message, more);
      const whole = wholeOf(type, written);
      if (!whole['header']) return void t.throws(() => ANSWERS.txn(written), HEADLESS);
      const responses: unknown[] = whole['responses'].map((one: { response_range?: { kvs: WireKeyValue[] } | null }) =>
        (one.response_range?.kvs ?? []).map(keyValueOf),
      );
      const expected = { ...versionOf(whole['header']), succeeded: whole['succeeded'], responses };
      t.deepEqual(ANSWERS.txn(written), expected);
    }),
  );
});

test('a watch tells what protobufjs reads', (t) => {
  const type = 'etcdserverpb.WatchResponse';
  fc.assert(
    fc.property(watch, unknown, (message, more) => {
      const written = bytesOf(type, message, more);
      const { created, canceled, fragment, ...whole } = wholeOf(type, written);
      const { clusterId, revision } = versionOf(whole['header']);
      const compactRevision = Number(whole['compact_revision']);
      const events: unknown[] = whole['events'].map((one: { type: string; kv: WireKeyValue }) => {
        const { key, modRevision, ...rest } = keyValueOf(one.kv);
        return one.type === 'Put'
          ? { type: 'put', kv: { key, modRevision, ...rest } }
          : { type: 'delete', key, modRevision };
      });
      const expected = { version: { clusterId, revision }, created, canceled, fragment, compactRevision, events };
      t.deepEqual(ANSWERS.watch(written), { ...expected, cancelReason: whole['cancel_reason'] });
    }),
  );
});

test('what is told of etcd leases and of a login is what protobufjs reads', (t) => {
  const number = fc.record({ header, ID: int64, TTL: int64, grantedTTL: int64, keys: fc.array(bytes) }, some);
  const calls = [
    [ANSWERS.leaseGrant, 'etcdserverpb.LeaseGrantResponse'],
    [ANSWERS.leaseKeepAlive, 'etcdserverpb.LeaseKeepAliveResponse'],
    [ANSWERS.leaseTimeToLive, 'etcdserverpb.LeaseTimeToLiveResponse'],
  ] as const;
  for (const [read, type] of calls) {
    fc.assert(
      fc.property(number, unknown, (message, more) => {
        const written = bytesOf(type, message, more);
        const { ID, TTL, grantedTTL = 0 } = wholeOf(type, written);
        t.deepEqual(read(written), { id: ID, seconds: Number(TTL), grantedSeconds: Number(grantedTTL) });
      }),
    );
  }
  const login = bytesOf('etcdserverpb.AuthenticateResponse', { token: 'naïve.42' });
  t.deepEqual(ANSWERS.authenticate(login), { token: 'naïve.42' });
});

test('no digit of an id is lost, however large', (t) => {
  const powers = Array.from({ length: 63 }, (_, i) => 2n ** BigInt(i));
  for (const ID of powers.flatMap((power) => [power - 1n, power, -power]).map(String))
    t.is(ANSWERS.leaseGrant(bytesOf('etcdserverpb.LeaseGrantResponse', { ID })).id, ID);
  const most = String(2n ** 64n - 1n);
  t.is(ANSWERS.range(bytesOf('etcdserverpb.RangeResponse', { header: { cluster_id: most } })).version.clusterId, most);
});

test('of a value that is longer than anybody reads only the beginning is kept', (t) => {
  const kvs = [{ key: Buffer.from('a'), value: Buffer.alloc(1_000_000, 'x') }];
  const [kv] = ANSWERS.range(bytesOf('etcdserverpb.RangeResponse', { header: {}, kvs })).kvs;
  t.is(kv?.value.length, 65_537);
});

test('cut short or altered, a message is read or refused as such, never past its end', (t) => {
  const cut = fc.record({ message: range, at: fc.nat(), by: fc.nat(255), length: fc.nat() });
  fc.assert(
    fc.property(cut, ({ message, at, by, length }) => {
      const whole = bytesOf('etcdserverpb.RangeResponse', message);
      if (whole.length > 0) whole[at % whole.length] = by;
      for (const read of Object.values(ANSWERS)) {
        try {
          read(whole.subarray(0, length % (whole.length + 1)));
        } catch (error) {
          t.true(error instanceof RangeError);
        }
      }
    }),
  );
  const whole = bytesOf('etcdserverpb.RangeResponse', { kvs: [{ key: Buffer.from('a'), value: Buffer.from('b') }] });
  for (let length = 1; length < whole.length; length++)
    t.throws(() => ANSWERS.range(whole.subarray(0, length)), { instanceOf: RangeError });
});

test('a length of 2^63 and a number of eleven bytes are refused', (t) => {
  const longest = Buffer.from('12ffffffffffffffffff01', 'hex');
  t.throws(() => ANSWERS.range(longest), { instanceOf: RangeError });
  const endless = Buffer.from('10ffffffffffffffffffffff01', 'hex');
  t.throws(() => ANSWERS.leaseGrant(endless), { instanceOf: RangeError });
});
