/** Parts of a Status, from the values of the other rooms (pure). */
import type { Underlay } from '../backends/backend.ts';
import type { NetworkConfig } from '../config/network-config.ts';
import type { Holder } from '../leases/holder.ts';
import type { StoredLease } from '../leases/lease.ts';
import type { Status, StatusLease, StatusPeer } from './status.ts';

/** Wall clock, ms, as a status says it. */
export function iso(ms: number): string {
  return new Date(ms).toISOString();
}

export function peerOf({ subnet, subnet6, publicIp, publicIp6, owner }: StoredLease): StatusPeer {
  return {
    ...{ subnet, publicIp },
    ...(subnet6 && { subnet6 }),
    ...(publicIp6 && { publicIp6 }),
    ...(owner && { name: owner.name, node: owner.node }),
  };
}

export function rangesOf({ ranges }: NetworkConfig): string[] {
  return [ranges[4], ranges[6]].flatMap((range) => (range ? [`${range.network} in /${range.length}s`] : []));
}

export function underlayOf({ dev, ip, ip6 }: Underlay): NonNullable<Status['underlay']> {
  return { dev, ...(ip && { ip }), ...(ip6 && { ip6 }) };
}

/** @param now wall clock, ms. */
export function leaseOf({ held, failing }: Pick<Holder, 'held' | 'failing'>, now: number): StatusLease {
  const { key, subnet, subnet6, expiresAt, attributes } = held;
  const forever = expiresAt === Number.POSITIVE_INFINITY;
  const left = Math.floor((expiresAt - now) / 1000);
  return {
    ...{ key, subnet, publicIp: attributes.publicIp },
    ...(subnet6 && { subnet6 }),
    ...(attributes.publicIp6 && { publicIp6: attributes.publicIp6 }),
    ...{ secondsLeft: forever ? null : left, expiresAt: forever ? null : iso(expiresAt) },
    ...(failing && { renewalFailing: { ...failing, since: iso(failing.since) } }),
  };
}
