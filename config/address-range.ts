/** Prefixes as numbers: whoever compares many addresses with the same few networks reads these once. */
import {
  type Family,
  familyOf,
  type Ip,
  ip4ToNumber,
  ipToBigInt,
  networkAddress,
  type Prefix,
  prefixLength,
  prefixSize,
} from './address.ts';

/** From the first address to the last. */
interface Span {
  readonly family: Family;
  /** IPv4's are numbers, IPv6's bigints. */
  readonly first: number | bigint;
  readonly last: number | bigint;
}

export interface AddressRange extends Span {
  readonly prefix: Prefix;
}

export type AddressPoint = Span;

export function rangeOf(prefix: Prefix): AddressRange {
  const address = networkAddress(prefix);
  if (familyOf(address) === 4) {
    const first = ip4ToNumber(address);
    return { prefix, family: 4, first, last: first + 2 ** (32 - prefixLength(prefix)) - 1 };
  }
  const first = ipToBigInt(address);
  return { prefix, family: 6, first, last: first + prefixSize(prefix) - 1n };
}

/** One address alone. */
export function pointOf(ip: Ip): AddressPoint {
  const family = familyOf(ip);
  const address = family === 4 ? ip4ToNumber(ip) : ipToBigInt(ip);
  return { family, first: address, last: address };
}

/** Whether `inner` lies in `outer` (a range contains itself). */
export function contains(outer: Span, inner: Span): boolean {
  return outer.family === inner.family && outer.first <= inner.first && inner.last <= outer.last;
}

export function overlap(a: Span, b: Span): boolean {
  return a.family === b.family && a.first <= b.last && b.first <= a.last;
}
