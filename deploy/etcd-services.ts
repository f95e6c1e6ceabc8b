/**
 * etcd's gRPC services as a module of plain functions, made when the bundle is built: what @grpc/proto-loader otherwise
 * does at every start (parse the .proto files, resolve their types, describe these, write code for each message) takes
 * longer than everything else that a start does. Requests are written by protobufjs' own functions; answers stay bytes,
 * which leases/etcd-answers.ts reads.
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
const { Writer, util } = protobuf;
// int64 are exact: without it they are numbers.
util.Long = require('long');
protobuf.configure();
${messages.text()}
const asIs = (bytes) => bytes;
const method = (path, originalName, request, requestStream, responseStream) => ({
  path, originalName, requestStream, responseStream,
  requestSerialize: (value) => request.encode(request.fromObject(value)).finish(),
  responseDeserialize: asIs,
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
    const { resolvedRequestType: request, requestStream, responseStream } = method;
    if (!request) throw new Error(`${name} has no type`);
    const words = [
      ...[`/${fullName}/${name}`, `${name.charAt(0).toLowerCase()}${name.slice(1)}`].map((text) => `'${text}'`),
      ...[messages.name(request), requestStream === true, responseStream === true],
    ];
    return `    ${name}: method(${words.join(', ')}),`;
  });
  return `  '${fullName}': {\n${methods.join('\n')}\n  },`;
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
    const { encoder, converter } = protobuf;
    this.#functions.push(`{
const types = [${types.join(', ')}];
${name}.encode = ${encoder(type)};
${name}.fromObject = ${converter.fromObject(type)};
}`);
  }
}
