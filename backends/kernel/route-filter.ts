/**
 * Which routes of a dump matter to us, told from the bytes: of a router's whole table hardly one, and each that is
 * decoded costs some hundred bytes.
 */
import { familyOf, ipToBytes, networkAddress, type Prefix, prefixLength } from '../../config/address.ts';
import { isTartanId } from '../ownership.ts';
import { AF_INET, AF_INET6, eachAttribute, u32At } from './message.ts';
import { RTA_DST, RTA_NH_ID, RTMSG_BYTES } from './route-message.ts';

interface Network {
  readonly family: number;
  readonly length: number;
  readonly bytes: Buffer;
}

/**
 * For the body of an RTM_NEWROUTE: whether its destination lies in one of the networks, or it is on a nexthop object of
 * our range, which must not be deleted then.
 */
export function routeFilter(networks: readonly Prefix[]): (body: Buffer) => boolean {
  const all = networks.map((network): Network => {
    const family = familyOf(network) === 4 ? AF_INET : AF_INET6;
    return { family, length: prefixLength(network), bytes: ipToBytes(networkAddress(network)) };
  });
  return (body) => {
    let isWanted = false;
    const near = all.filter(({ family, length }) => family === body[0] && length <= (body[1] ?? 0));
    // The default route names no destination.
    if (near.some(({ length }) => length === 0)) return true;
    eachAttribute(body, RTMSG_BYTES, body.length, (type, at, length) => {
      if (type === RTA_DST) isWanted ||= near.some((network) => isWithin(network, body, at, length));
      else if (type === RTA_NH_ID) isWanted ||= isTartanId(u32At(body, at, length));
    });
    return isWanted;
  };
}

/** For the body of an RTM_NEWROUTE: whether it leads everywhere. */
export function isDefaultRoute(body: Buffer): boolean {
  return body[1] === 0;
}

function isWithin({ length: bits, bytes }: Network, body: Buffer, at: number, length: number): boolean {
  if (length < bytes.length) return false;
  const whole = bits >> 3;
  for (let i = 0; i < whole; i++) if (body[at + i] !== bytes[i]) return false;
  const rest = bits & 7;
  return rest === 0 || ((body[at + whole] ?? 0) ^ (bytes[whole] ?? 0)) >> (8 - rest) === 0;
}
