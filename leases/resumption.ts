/** Going on with our own lease after a restart, where it is unchanged and alive: nothing is written. */
import { formatLeaseValue } from './codec.ts';
import { type AcquireContext, type Ground, sideOf } from './ground.ts';
import type { HeldLease } from './held-lease.ts';
import type { LeaseOwner, StoredLease } from './lease.ts';
import { keysUnder } from './registry.ts';
import type { SideKey } from './side-keys.ts';

/** @returns 'again' where it moved meanwhile, undefined where it has to be claimed. */
export async function resume(
  context: AcquireContext,
  request: { readonly self: LeaseOwner; readonly ttlSeconds: number },
  { intent, attributes, side }: Pick<Ground, 'intent' | 'attributes' | 'side'>,
): Promise<HeldLease | 'again' | undefined> {
  const lease = intent.target?.lease;
  if (!lease || intent.removes.length > 0 || lease.value !== formatLeaseValue(attributes)) return undefined;
  const { claim } = request.self;
  const needed = side && sideOf(keysUnder(context.prefix), claim, side, lease, true);
  const sideLease = needed?.[0]?.etcdLease;
  if (needed?.some((one) => !isGood(one, claim, lease, sideLease))) return undefined;
  const expiresAt = await renew(context, request.ttlSeconds, lease, sideLease);
  if (expiresAt === undefined) return undefined;
  // It may have been taken over between the view and the renewal.
  const { kv, clusterId } = await context.store.get(lease.key);
  if (kv?.modRevision !== lease.modRevision) return 'again';
  const { key, value, subnet, subnet6, modRevision, etcdLease } = lease;
  const { ttlSeconds } = request;
  const held = { key, value, subnet, subnet6, attributes, modRevision, clusterId, etcdLease, sideLease };
  return { ...held, ttlSeconds, expiresAt };
}

/** Ours, and on one etcd lease: the lease's own, if it has one. */
function isGood(one: SideKey, claim: string, lease: StoredLease, sideLease: string | undefined): boolean {
  const wanted = lease.etcdLease === '0' ? sideLease : lease.etcdLease;
  return one.record?.claim === claim && one.etcdLease === wanted && wanted !== '0';
}

/** @returns until when the lease holds; undefined where its etcd lease is gone, or has another TTL than is wanted now. */
async function renew(
  { store, clock }: AcquireContext,
  ttlSeconds: number,
  { etcdLease }: StoredLease,
  sideLease: string | undefined,
): Promise<number | undefined> {
  const isReservation = etcdLease === '0';
  const renewed = isReservation ? sideLease : etcdLease;
  if (renewed === undefined) return Number.POSITIVE_INFINITY;
  if ((await store.timeToLive(renewed)).grantedSeconds !== ttlSeconds) return undefined;
  const before = clock.now();
  const seconds = await store.keepAlive(renewed);
  if (seconds <= 0) return undefined;
  return isReservation ? Number.POSITIVE_INFINITY : before + seconds * 1000;
}
