/** The functions that the build writes down, beside those that protobufjs makes at run time. */
import { createRequire } from 'node:module';
import test from 'ava';
import protobuf from 'protobufjs';
import { etcdServicesModule } from '../../../deploy/etcd-services.ts';

const etcd3 = createRequire(createRequire(import.meta.url).resolve('etcd3'));
const PROTO = etcd3.resolve('../proto/rpc.proto');
const AS_ETCD3_ASKS = { longs: String, enums: String, defaults: true, oneofs: true };

interface Method {
  readonly path: string;
  readonly originalName: string;
  readonly requestStream: boolean;
  readonly responseStream: boolean;
  readonly requestSerialize: (value: object) => Buffer;
  readonly requestDeserialize: (bytes: Buffer) => object;
  readonly responseSerialize: (value: object) => Buffer;
  readonly responseDeserialize: (bytes: Buffer) => object;
}

/** By service and method. */
type Definition = Readonly<Record<string, Readonly<Record<string, Method>>>>;

async function written(): Promise<Definition> {
  const exports: { loadSync?: () => Definition } = {};
  const text = await etcdServicesModule(PROTO);
  new Function('require', 'exports', text)(createRequire(etcd3.resolve('@grpc/proto-loader')), exports);
  return exports.loadSync?.() ?? {};
}

/** What a field of that type may hold, the largest where there is one. */
const VALUES: Readonly<Record<string, unknown>> = {
  int64: '9223372036854775807',
  uint64: '18446744073709551615',
  int32: -2147483648,
  bool: true,
  string: 'naïve',
  bytes: Buffer.from([0, 255, 128]),
};

function valueFor({ type, resolvedType }: protobuf.Field, depth: number): unknown {
  if (resolvedType instanceof protobuf.Enum) return Object.keys(resolvedType.values).at(-1);
  if (resolvedType instanceof protobuf.Type) return filled(resolvedType, depth - 1);
  if (!(type in VALUES)) throw new Error(`no value for a ${type}`);
  return VALUES[type];
}

/** Every field set, lists with two; messages within messages `depth` deep. */
function filled({ fieldsArray }: protobuf.Type, depth: number): object {
  const fields = fieldsArray.map((field) => field.resolve()).filter((field) => depth > 0 || !field.resolvedType);
  return Object.fromEntries(
    fields.map((field) => {
      const value = valueFor(field, depth);
      return [field.name, field.repeated ? [value, value] : value];
    }),
  );
}

test('every method says and hears the same bytes as with protobufjs at run time', async (t) => {
  const root = (await new protobuf.Root().load(PROTO, { keepCase: true })).resolveAll();
  const definition = await written();
  let compared = 0;
  for (const [service, methods] of Object.entries(definition)) {
    for (const [name, method] of Object.entries(methods)) {
      const declared = root.lookupService(service).methods[name]?.resolve();
      if (!(declared instanceof protobuf.Method)) return t.fail(`${service}.${name}`);
      const { resolvedRequestType: request, resolvedResponseType: response, requestStream, responseStream } = declared;
      t.is(method.path, `/${service}/${name}`);
      t.is(method.originalName, protobuf.util.lcFirst(name));
      t.deepEqual([method.requestStream, method.responseStream], [requestStream ?? false, responseStream ?? false]);
      for (const [type, serialize, deserialize] of [
        [request, method.requestSerialize, method.requestDeserialize],
        [response, method.responseSerialize, method.responseDeserialize],
      ] as const) {
        if (!type) return t.fail(`${service}.${name} has no types`);
        for (const depth of [0, 1, 4]) {
          const value = filled(type, depth);
          const bytes = Buffer.from(type.encode(type.fromObject(value)).finish());
          t.deepEqual(serialize(value), bytes);
          t.deepEqual(deserialize(bytes), type.toObject(type.decode(bytes), AS_ETCD3_ASKS));
          compared++;
        }
        t.deepEqual(deserialize(serialize({})), type.toObject(type.decode(Buffer.of()), AS_ETCD3_ASKS));
      }
    }
  }
  t.is(compared, 8 * 2 * 3);
});

test('no digit of a number is lost, however large', async (t) => {
  const grant = (await written())['etcdserverpb.Lease']?.['LeaseGrant'];
  const powers = Array.from({ length: 63 }, (_, i) => 2n ** BigInt(i));
  const numbers = powers.flatMap((power) => [power - 1n, power, -power]);
  for (const ID of numbers.map(String)) {
    const bytes = grant?.responseSerialize({ ID }) ?? Buffer.of();
    t.is(new Map(Object.entries(grant?.responseDeserialize(bytes) ?? {})).get('ID'), ID);
  }
});

test('no bit of a lease id is lost', async (t) => {
  const grant = (await written())['etcdserverpb.Lease']?.['LeaseGrant'];
  const id = '7587889735127648263';
  const bytes = grant?.responseSerialize({ ID: id }) ?? Buffer.of();
  t.is(new Map(Object.entries(grant?.responseDeserialize(bytes) ?? {})).get('ID'), id);
});

test('cut short, a message is refused', async (t) => {
  const range = (await written())['etcdserverpb.KV']?.['Range'];
  const bytes = range?.responseSerialize({ kvs: [{ key: Buffer.from('a'), value: Buffer.from('b') }] });
  t.throws(() => range?.responseDeserialize(bytes?.subarray(0, -1) ?? Buffer.of()), { instanceOf: RangeError });
});
