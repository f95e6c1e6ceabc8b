import { type Family, familyOf, type Ip, isLinkLocal, notUnicast } from '../config/address.ts';
import type { AddressInfo } from './state.ts';

/**
 * The device's addresses that it can be reached by, best first: global before link-local, then permanent before
 * dynamic, then lasting before temporary (RFC 8981), else in the kernel's order. Deprecated ones are left out.
 */
export function usableAddresses(addresses: readonly AddressInfo[], dev: string, family: Family): Ip[] {
  return addresses
    .filter((address) => address.dev === dev && familyOf(address.ip) === family && isUsable(address))
    .sort((a, b) => penalty(a) - penalty(b))
    .map((address) => address.ip);
}

function isUsable(address: AddressInfo): boolean {
  return !address.deprecated && notUnicast(address.ip) === undefined;
}

function penalty(address: AddressInfo): number {
  return (isLinkLocal(address.ip) ? 4 : 0) + (address.permanent ? 0 : 2) + (address.temporary ? 1 : 0);
}
