import type { StoredLease } from './lease.ts';
import { readView } from './registry.ts';
import type { Store } from './store.ts';

export interface Released {
  readonly released: readonly StoredLease[];
  /** Reservations, which an operator made and only an operator removes. */
  readonly kept: readonly StoredLease[];
}

/**
 * Gives back every lease that this state directory's claim id stands in. A key that changes meanwhile is not deleted.
 * The etcd lease goes too, and with it our side keys.
 */
export async function releaseLeases(store: Store, prefix: string, claim: string): Promise<Released> {
  const { leases } = await readView(store, prefix);
  const ours = leases.filter(({ owner }) => owner?.claim === claim);
  const released: StoredLease[] = [];
  for (const lease of ours) {
    if (lease.etcdLease === '0') continue;
    const { key, modRevision } = lease;
    const txn = { compare: [{ key, modRevision }], success: [{ delete: key }], failure: [] };
    if (!(await store.txn(txn)).succeeded) continue;
    released.push(lease);
    // The lease is given back; what is left runs out, should etcd forbid this.
    await store.revoke(lease.etcdLease).catch(() => undefined);
  }
  return { released, kept: ours.filter(({ etcdLease }) => etcdLease === '0') };
}
