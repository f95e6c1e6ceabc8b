import { isIP } from 'node:net';

/**
 * gRPC tells TLS the server's name also where that is an address, which RFC 6066 forbids: Node warns of it (DEP0123) in
 * every operator's journal. Without it the certificate is checked against the address all the same. gRPC offers no way
 * to leave it out but its own parts; where these are other ones, all stays as it was.
 */
export function leaveOutAddresses(pool: object): void {
  for (const host of listIn(pool, 'hosts')) {
    const credentials = partOf(host, 'channelCredentials');
    const create = partOf(credentials, '_createSecureConnector');
    if (!isObject(credentials) || typeof create !== 'function') continue;
    Reflect.set(credentials, '_createSecureConnector', (...given: readonly unknown[]): unknown => {
      const connector: unknown = Reflect.apply(create, credentials, given);
      const options = partOf(connector, 'connectionOptions');
      if (isObject(options) && isIP(String(partOf(options, 'servername'))))
        Reflect.deleteProperty(options, 'servername');
      return connector;
    });
  }
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}

function partOf(value: unknown, name: string): unknown {
  return isObject(value) ? Reflect.get(value, name) : undefined;
}

function listIn(value: object, name: string): readonly unknown[] {
  const list = partOf(value, name);
  return Array.isArray(list) ? list : [];
}
