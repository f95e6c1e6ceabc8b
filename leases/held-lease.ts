import type { OwnedAttributes } from './claim.ts';
import type { LeaseSubnets } from './lease.ts';

/** The lease that this host holds. */
export interface HeldLease extends LeaseSubnets {
  readonly key: string;
  readonly value: string;
  readonly attributes: OwnedAttributes;
  readonly modRevision: number;
  /** The store that `modRevision` belongs to. */
  readonly clusterId: string;
  /** "0": a reservation, which never expires. */
  readonly etcdLease: string;
  /** What the side keys hang on: the same, but for a reservation; undefined: there are none. */
  readonly sideLease: string | undefined;
  readonly ttlSeconds: number;
  /** Wall clock, ms, taken before the request that granted the time. Infinity for a reservation. */
  readonly expiresAt: number;
}
