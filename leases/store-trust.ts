import { keysUnder } from './registry.ts';
import type { Store, StoreVersion } from './store.ts';

/** How long the holders of leases that a restored or wiped store does not have are given to claim them again, ms. */
const GRACE_MS = 60_000;

/** The store as this host knows it. */
export interface StoreTrust {
  readonly version: StoreVersion;
  /** Monotonic clock, ms: from when on it has what it should have, so that what is free in it may be taken. */
  readonly settledAt: number;
}

/** Whether `next` may continue the history of `known`: the same cluster, and not gone back. */
export function follows(next: StoreVersion, known: StoreVersion): boolean {
  const isSame = next.clusterId === known.clusterId && next.revision >= known.revision;
  return isSame && (next.term === undefined || known.term === undefined || next.term >= known.term);
}

/**
 * What is thought of the store after it was listed at `next`. `before` undefined: this host never saw it.
 * @param isOther whether it is known to be another store although it looks as if it went on.
 */
export function trustAfter(
  before: StoreTrust | undefined,
  next: StoreVersion,
  now: number,
  isOther = false,
): StoreTrust {
  const { clusterId, revision, term } = next;
  const version = { clusterId, revision, ...(term !== undefined && { term }) };
  if (before === undefined) return { version, settledAt: now };
  const goesOn = follows(version, before.version) && !isOther;
  return { version, settledAt: goesOn ? before.settledAt : now + GRACE_MS };
}

/** Whether a subnet that is free in the store as read may be allocated anew. */
export function mayAllocate(trust: StoreTrust | undefined, read: StoreVersion, now: number): boolean {
  return trust === undefined || (follows(read, trust.version) && now >= trust.settledAt);
}

/** Tells hosts that never saw the store before: one that noticed does it for all. */
export async function announceUnsettled(store: Store, prefix: string): Promise<void> {
  const key = keysUnder(prefix).unsettled;
  const { kv } = await store.get(key);
  if (kv) return;
  const lease = await store.grant(GRACE_MS / 1000);
  const success = [{ put: key, value: '', lease }];
  const { succeeded } = await store.txn({ compare: [{ key, modRevision: 0 }], success, failure: [] });
  if (!succeeded) await store.revoke(lease);
}
