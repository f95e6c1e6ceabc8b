/** How lists of leases look to people. */
import { familyOf, ipToBigInt, networkAddress } from '../config/address.ts';
import { coverage, NO_IPV4 } from '../leases/coverage.ts';
import type { LeaseSubnets, StoredLease } from '../leases/lease.ts';

/** By address as a number, IPv4 first: 10.5.9.0 stands before 10.5.10.0. */
export function byAddress(a: LeaseSubnets, b: LeaseSubnets): number {
  const [left = NO_IPV4] = coverage(a);
  const [right = NO_IPV4] = coverage(b);
  if (familyOf(left) !== familyOf(right)) return familyOf(left) - familyOf(right);
  const difference = ipToBigInt(networkAddress(left)) - ipToBigInt(networkAddress(right));
  return difference < 0n ? -1 : Number(difference > 0n);
}

/** The name of the host that holds it. Of a reservation nobody may; without a name it is a flanneld. */
export function holderOf({ owner, etcdLease }: Pick<StoredLease, 'owner' | 'etcdLease'>): string {
  return owner?.name ?? (etcdLease === '0' ? '-' : '(flanneld)');
}
