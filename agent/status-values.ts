/** Parts of a Status, from the values of the other rooms (pure). */
import type { Underlay } from '../backends/backend.ts';
import type { FirewallState } from '../backends/firewall/firewall.ts';
import type { PeerFilterState } from '../backends/firewall/peer-filter.ts';
import type { NetworkConfig } from '../config/network-config.ts';
import type { Holder } from '../leases/holder.ts';
import type { StoredLease } from '../leases/lease.ts';
import type { Status, StatusFirewall, StatusLease, StatusPeer, StatusPeerFilter } from './status.ts';

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

export function firewallOf({ program, version, inPlaceSince, repairs, notes }: FirewallState): StatusFirewall {
  return {
    ...{ program: [program, version].filter(Boolean).join(' '), repairs, notes },
    ...(inPlaceSince !== undefined && { inPlaceSince: iso(inPlaceSince) }),
  };
}

export function filterOf(device: string, state: PeerFilterState): StatusPeerFilter {
  const { mode, effective, why, addresses, packets, strangers, hasMoreStrangers } = state;
  return {
    ...{ device, mode, effective, ...(why && { why }), addresses, ...packets, hasMoreStrangers },
    strangers: strangers.map(({ source, inner, lease, verdict, since, seen, packets: count }) => ({
      ...{ source, inner, ...(lease && { lease }), verdict },
      ...{ since: iso(since), seen: iso(seen), packets: count },
    })),
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
