/** The functions that the build writes down, beside those that protobufjs makes at run time: how requests are written. */
import { createRequire } from 'node:module';
import test from 'ava';
import protobuf from 'protobufjs';
import { etcdServicesModule } from '../../../deploy/etcd-services.ts';

const etcd3 = createRequire(createRequire(import.meta.url).resolve('etcd3'));
const PROTO = etcd3.resolve('../proto/rpc.proto');

interface Method {
  readonly path: string;
  readonly originalName: string;
  readonly requestStream: boolean;
  readonly responseStream: boolean;
  readonly requestSerialize: (value: object) => Buffer;
  readonly responseDeserialize: (bytes: Buffer) => Buffer;
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

test('every method says the same bytes as with protobufjs at run time, and leaves the answer as it is', async (t) => {
  const root = (await new protobuf.Root().load(PROTO, { keepCase: true })).resolveAll();
  const definition = await written();
  let compared = 0;
  for (const [service, methods] of Object.entries(definition)) {
    for (const [name, method] of Object.entries(methods)) {
      const declared = root.lookupService(service).methods[name]?.resolve();
      if (!(declared instanceof protobuf.Method)) return t.fail(`${service}.${name}`);
      const { resolvedRequestType: type, requestStream, responseStream } = declared;
      t.is(method.path, `/${service}/${name}`);
      t.is(method.originalName, protobuf.util.lcFirst(name));
      t.deepEqual([method.requestStream, method.responseStream], [requestStream ?? false, responseStream ?? false]);
      if (!type) return t.fail(`${service}.${name} has no type`);
      for (const depth of [0, 1, 4]) {
        const value = filled(type, depth);
        const bytes = Buffer.from(type.encode(type.fromObject(value)).finish());
        t.deepEqual(method.requestSerialize(value), bytes);
        t.is(method.responseDeserialize(bytes), bytes);
        compared++;
      }
      t.deepEqual(method.requestSerialize({}), Buffer.from(type.encode(type.fromObject({})).finish()));
    }
  }
  t.is(compared, 8 * 3);
});

test('no digit of a number is lost, however large', async (t) => {
  const root = await new protobuf.Root().load(PROTO, { keepCase: true });
  const type = root.lookupType('etcdserverpb.LeaseRevokeRequest');
  const revoke = (await written())['etcdserverpb.Lease']?.['LeaseRevoke'];
  const powers = Array.from({ length: 63 }, (_, i) => 2n ** BigInt(i));
  const numbers = powers.flatMap((power) => [power - 1n, power, -power]);
  for (const ID of ['7587889735127648263', ...numbers.map(String)]) {
    const bytes = revoke?.requestSerialize({ ID }) ?? Buffer.of();
    t.is(type.toObject(type.decode(bytes), { longs: String, defaults: true })['ID'], ID);
  }
});
