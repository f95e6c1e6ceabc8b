import { isIP } from 'node:net';
import { type Connector, isObject, partOf } from './etcd-connectors.ts';

/**
 * gRPC tells TLS the server's name also where that is an address, which RFC 6066 forbids: Node warns of it (DEP0123) in
 * every operator's journal. Without it the certificate is checked against the address all the same.
 */
export function leaveOutAddress({ connectionOptions }: Connector): void {
  if (isObject(connectionOptions) && isIP(String(partOf(connectionOptions, 'servername'))))
    Reflect.deleteProperty(connectionOptions, 'servername');
}
