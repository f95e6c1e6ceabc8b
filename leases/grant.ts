import type { StoredLease } from './lease.ts';
import type { Store } from './store.ts';

/** An etcd lease of ours. */
export interface Grant {
  readonly id: string;
  /** Wall clock, ms, taken before the request that granted the time. */
  readonly expiresAt: number;
}

/**
 * Ends the etcd leases of leases that were taken on or removed, and with them what still hangs there: side keys of an
 * address or a node that is no more. Only after the lease hangs on `kept`. flanneld's are left to run out.
 */
export async function giveBack(store: Store, left: readonly StoredLease[], kept: string): Promise<void> {
  for (const { owner, etcdLease } of left) {
    if (!owner || etcdLease === '0' || etcdLease === kept) continue;
    await store.revoke(etcdLease).catch(() => undefined);
  }
}
