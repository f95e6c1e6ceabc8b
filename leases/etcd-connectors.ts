/**
 * gRPC keeps what makes a connection of a TCP socket, its "secure connector", to itself. Both that matter here can be had
 * by no other way: the name that TLS tells the server, and the sockets.
 */

/** What gRPC makes for each address that it connects to. */
export interface Connector {
  /** Of TLS. */
  readonly connectionOptions?: unknown;
  /** Takes a connection over, which stands. */
  connect(socket: unknown): unknown;
}

/**
 * Lets `alter` have a look at every connector before it is used. Where gRPC's parts are other ones, all stays as it was.
 * @param pool of an etcd3 client
 */
export function alterConnectors(pool: object, alter: (connector: Connector) => void): void {
  for (const host of listIn(pool, 'hosts')) {
    const credentials = partOf(host, 'channelCredentials');
    const create = partOf(credentials, '_createSecureConnector');
    if (!isObject(credentials) || typeof create !== 'function') continue;
    Reflect.set(credentials, '_createSecureConnector', (...given: readonly unknown[]): unknown => {
      const connector: unknown = Reflect.apply(create, credentials, given);
      if (isConnector(connector)) alter(connector);
      return connector;
    });
  }
}

function isConnector(value: unknown): value is Connector {
  return typeof partOf(value, 'connect') === 'function';
}

export function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}

export function partOf(value: unknown, name: string): unknown {
  return isObject(value) ? Reflect.get(value, name) : undefined;
}

function listIn(value: object, name: string): readonly unknown[] {
  const list = partOf(value, name);
  return Array.isArray(list) ? list : [];
}
