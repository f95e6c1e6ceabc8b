/**
 * etcd's gRPC services as a module of plain functions, made when the bundle is built: what @grpc/proto-loader otherwise
 * does at every start (parse the .proto files, resolve their types, describe these, write code for each message) takes
 * longer than everything else that a start does. The functions are protobufjs' own, but for what makes plain objects of
 * messages: with options that never change that takes half the time.
 */
import protobuf from 'protobufjs';

/** What leases/etcd.ts calls. */
const CALLED = {
  KV: ['Range', 'Txn'],
  Lease: ['LeaseGrant', 'LeaseRevoke', 'LeaseTimeToLive', 'LeaseKeepAlive'],
  Watch: ['Watch'],
  Auth: ['Authenticate'],
} as const;

/**
 * The text of a CommonJS module with the `loadSync` of @grpc/proto-loader, as far as etcd3 uses it.
 * @param proto path of etcd3's rpc.proto
 */
export async function etcdServicesModule(proto: string): Promise<string> {
  const root = await new protobuf.Root().load(proto, { keepCase: true });
  root.resolveAll();
  const messages = new Messages();
  const definitions = Object.entries(CALLED).map(([name, methods]) => {
    return definition(root.lookupService(`etcdserverpb.${name}`), methods, messages);
  });
  return `'use strict';
const protobuf = require('protobufjs/minimal');
const { Reader, Writer, util } = protobuf;
// int64 are exact: without it they are numbers.
util.Long = require('long');
protobuf.configure();
const has = (message, name) => message[name] != null && Object.hasOwn(message, name);
const noBytes = Buffer.alloc(0);
// Exact below 2^53 without the long division.
const decimal = (long) => {
  if (typeof long === 'number') return String(long);
  const { low, high } = long;
  return high >= 0 && high < 0x200000 ? String(high * 0x100000000 + (low >>> 0)) : long.toString();
};
${messages.text()}
const serialize = (type) => (value) => type.encode(type.fromObject(value)).finish();
const deserialize = (type) => (bytes) => type.toObject(type.decode(bytes));
const method = (path, originalName, request, response, requestStream, responseStream) => ({
  path, originalName, requestStream, responseStream,
  requestSerialize: serialize(request), requestDeserialize: deserialize(request),
  responseSerialize: serialize(response), responseDeserialize: deserialize(response),
});
const definition = {
${definitions.join('\n')}
};
exports.loadSync = () => definition;
`;
}

function definition(service: protobuf.Service, called: readonly string[], messages: Messages): string {
  const fullName = service.fullName.slice(1);
  const methods = called.map((name) => {
    const method = service.methods[name]?.resolve();
    if (!(method instanceof protobuf.Method)) throw new Error(`etcd3's .proto files have no ${name}`);
    const { resolvedRequestType: request, resolvedResponseType: response, requestStream, responseStream } = method;
    if (!request || !response) throw new Error(`${name} has no types`);
    const words = [
      ...[`/${fullName}/${name}`, `${name.charAt(0).toLowerCase()}${name.slice(1)}`].map((text) => `'${text}'`),
      ...[messages.name(request), messages.name(response), requestStream === true, responseStream === true],
    ];
    return `    ${name}: method(${words.join(', ')}),`;
  });
  return `  '${fullName}': {\n${methods.join('\n')}\n  },`;
}

/** As etcd3 asks proto-loader for: int64 and names of enumerations as text, every field, and which of a oneof it is. */
function toObject({ name, fieldsArray }: protobuf.Type): string {
  const lines = fieldsArray.map((field, place) => {
    const [from, to] = [`m.${field.name}`, `d.${field.name}`];
    if (field.repeated) return `${to} = ${from} ? ${from}.map((one) => ${plain(field, place, 'one')}) : [];`;
    const given = plain(field, place, from);
    if (!field.partOf) return `${to} = has(m, '${field.name}') ? ${given} : ${byDefault(field)};`;
    return `if (has(m, '${field.name}')) { ${to} = ${given}; d.${field.partOf.name} = '${field.name}'; }`;
  });
  return `function ${name}$toObject(m) {\nconst d = {};\n${lines.join('\n')}\nreturn d;\n}`;
}

function plain({ resolvedType, long, map }: protobuf.Field, place: number, value: string): string {
  if (map) throw new Error('maps are not known here');
  if (resolvedType instanceof protobuf.Enum) return `types[${place}].values[${value}] ?? ${value}`;
  if (resolvedType) return `types[${place}].toObject(${value})`;
  return long ? `decimal(${value})` : value;
}

function byDefault({ resolvedType, long, bytes, typeDefault }: protobuf.Field): string {
  if (resolvedType instanceof protobuf.Enum) return JSON.stringify(resolvedType.valuesById[typeDefault]);
  if (bytes) return 'noBytes';
  return long ? "'0'" : JSON.stringify(typeDefault);
}

/** Every message and enumeration that is named, and those in them. */
class Messages {
  readonly #names = new Map<protobuf.Type | protobuf.Enum, string>();
  readonly #declarations: string[] = [];
  readonly #functions: string[] = [];

  /** The variable that holds it. */
  name(type: protobuf.Type | protobuf.Enum): string {
    const known = this.#names.get(type);
    if (known !== undefined) return known;
    const name = `$${type.fullName.slice(1).replaceAll('.', '_')}`;
    this.#names.set(type, name);
    if (type instanceof protobuf.Enum) this.#addEnum(name, type);
    else this.#addMessage(name, type);
    return name;
  }

  text(): string {
    return [...this.#declarations, ...this.#functions].join('\n');
  }

  #addEnum(name: string, { values, valuesById }: protobuf.Enum): void {
    this.#declarations.push(`const ${name} = { values: ${JSON.stringify({ ...values, ...valuesById })} };`);
  }

  /** Generated code reaches other messages through `types`, in the order of the fields. */
  #addMessage(name: string, type: protobuf.Type): void {
    this.#declarations.push(`const ${name} = { ctor: function ${type.name}() {} };`);
    const types = type.fieldsArray.map(({ resolvedType }) => (resolvedType ? this.name(resolvedType) : 'null'));
    const { encoder, decoder, converter } = protobuf;
    this.#functions.push(`{
const types = [${types.join(', ')}];
${name}.encode = ${encoder(type)};
${name}.decode = ${decoder(type)};
${name}.fromObject = ${converter.fromObject(type)};
${name}.toObject = ${toObject(type)};
}`);
  }
}
