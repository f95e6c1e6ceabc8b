import { ipFromBigInt, type Prefix, prefixOf } from '../config/address.ts';
import type { LeaseSubnets } from './lease.ts';

/** IPv6-only leases still need an IPv4 part in their key; flannel writes this one. */
export const NO_IPV4: Prefix = prefixOf(ipFromBigInt(0n, 4), 0);

/**
 * The prefixes that a lease really covers, IPv4 first. The `0.0.0.0/0` of an IPv6-only lease only fills the place in
 * the key: taken at its word it would overlap everybody (flannel hangs on it). Alone it covers what it says.
 */
export function coverage(subnets: LeaseSubnets): readonly Prefix[] {
  const { subnet, subnet6 } = subnets;
  if (subnet6 === undefined) return [subnet];
  return subnet === NO_IPV4 ? [subnet6] : [subnet, subnet6];
}

/** Whether a lease covers IPv4 addresses. */
export function covers4({ subnet, subnet6 }: LeaseSubnets): boolean {
  return subnet6 === undefined || subnet !== NO_IPV4;
}

export function sameSubnets(a: LeaseSubnets, b: LeaseSubnets): boolean {
  return a.subnet === b.subnet && a.subnet6 === b.subnet6;
}
