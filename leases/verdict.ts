/** What a read of our key says about the lease that we hold (pure). */
import { decodeLease } from './codec.ts';
import type { HeldLease } from './held-lease.ts';
import { isSameAddress, knownAddresses } from './identity.ts';
import type { LeaseAttributes } from './lease.ts';
import type { KeyValue } from './store.ts';

export type Verdict =
  | 'ours'
  /** Our value without an etcd lease: an operator made a reservation of it. */
  | 'reserved'
  /** Ours, but not as we put it; or rubbish. */
  | 'altered'
  | 'gone'
  /** From before our time: the store is an older one than that in which we claimed the lease. */
  | 'outdated'
  /** A flanneld on this very host adopted it. */
  | 'flanneld'
  | 'taken';

export interface KeyRead {
  readonly kv: KeyValue | undefined;
  readonly clusterId: string;
}

/** @param isOurDevice whether what a lease publishes is the device of this host. */
export function judge(
  prefix: string,
  held: HeldLease,
  { kv, clusterId }: KeyRead,
  isOurDevice: (attributes: LeaseAttributes) => boolean,
): Verdict {
  if (!kv) return 'gone';
  if (kv.value === held.value && kv.lease === held.etcdLease) return 'ours';
  if (kv.value === held.value && kv.lease === '0') return 'reserved';
  const decoded = decodeLease(prefix, kv);
  if (!decoded.ok) return 'altered';
  const { lease } = decoded;
  if (!lease.owner && knownAddresses(lease).length === 0) return 'altered';
  const isHere = isSameAddress(lease, held.attributes);
  // A clone of this host has our claim too, but it can't have our address.
  if (isHere && lease.owner?.claim === held.attributes.owner.claim) return 'altered';
  // No flanneld writes without an etcd lease: that was an operator, and it stays a reservation.
  if (isHere && !lease.owner && kv.lease === '0') return 'altered';
  // Nobody can have put it between two puts of ours and then been overwritten: this history is another one.
  if (clusterId !== held.clusterId || kv.modRevision < held.modRevision) return 'outdated';
  return isHere && !lease.owner && isOurDevice(lease) ? 'flanneld' : 'taken';
}
