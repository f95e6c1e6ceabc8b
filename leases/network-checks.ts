/**
 * What a lease of another host must not say, whatever its backend. flannel lets all of it through, and then routes the
 * default route, the hosts' own network or its own subnet into the tunnel: whoever may write to etcd owns every host.
 */
import {
  containsIp,
  containsPrefix,
  familyOf,
  type Ip,
  lastAddress,
  notUnicast,
  overlaps,
  type Prefix,
  prefixLength,
} from '../config/address.ts';
import { coverage } from './coverage.ts';
import type { Lease } from './lease.ts';

/** What this host knows about the network. Addresses and prefixes of both families together. */
export interface NetworkContext {
  /** The cluster networks: those of the config as it is now and as it was when this agent started. */
  readonly networks: readonly Prefix[];
  readonly ownSubnets: readonly Prefix[];
  /** The networks of the links by which the hosts reach each other. */
  readonly underlay: readonly Prefix[];
  /** Addresses that a peer's route must not lead away: the etcd endpoints, the gateway. */
  readonly guarded: readonly Ip[];
  readonly ownPublicIps: readonly Ip[];
}

function refuseSubnet(subnet: Prefix, context: NetworkContext): string | undefined {
  if (prefixLength(subnet) === 0) return `${subnet} is the default route`;
  if (!context.networks.some((network) => containsPrefix(network, subnet)))
    return `${subnet} is not in the cluster's network`;
  const own = context.ownSubnets.find((other) => overlaps(other, subnet));
  if (own !== undefined) return `${subnet} overlaps our own ${own}`;
  const link = context.underlay.find((other) => overlaps(other, subnet));
  if (link !== undefined) return `${subnet} overlaps ${link}, the hosts' own network`;
  const guarded = context.guarded.find((ip) => containsIp(subnet, ip));
  return guarded === undefined ? undefined : `${subnet} holds ${guarded}, which this host must reach`;
}

/** The host's addresses as the lease has them; the 0.0.0.0 of a lease without an IPv4 subnet is none. */
function publicIps(lease: Lease): readonly Ip[] {
  const needs4 = coverage(lease).includes(lease.subnet);
  const ips = needs4 || notUnicast(lease.publicIp) !== 'unspecified' ? [lease.publicIp] : [];
  return lease.publicIp6 === undefined ? ips : [...ips, lease.publicIp6];
}

function refusePublicIp(ip: Ip, lease: Lease, context: NetworkContext): string | undefined {
  const bad = notUnicast(ip);
  if (bad !== undefined) return `public IP ${ip} is no host's address: ${bad}`;
  const link = context.underlay.find((network) => isBroadcast(ip, network));
  if (link !== undefined) return `public IP ${ip} is no host's address: the broadcast address of ${link}`;
  if (context.ownPublicIps.includes(ip)) return `public IP ${ip} is our own`;
  const around = coverage(lease).find((subnet) => containsIp(subnet, ip));
  return around === undefined ? undefined : `public IP ${ip} lies in ${around}, which it would be reached through`;
}

/** RFC 919; RFC 3021: a network of two addresses has none. */
function isBroadcast(ip: Ip, network: Prefix): boolean {
  return familyOf(network) === 4 && prefixLength(network) < 31 && lastAddress(network) === ip;
}

/** Why `lease` can't be a peer's on this network, or undefined where it can. */
export function refuseByNetwork(lease: Lease, context: NetworkContext): string | undefined {
  for (const subnet of coverage(lease)) {
    const reason = refuseSubnet(subnet, context);
    if (reason !== undefined) return reason;
  }
  const ips = publicIps(lease);
  if (ips.length === 0) return 'it has no public IP';
  for (const ip of ips) {
    const reason = refusePublicIp(ip, lease, context);
    if (reason !== undefined) return reason;
  }
  return undefined;
}

/** Every backend's identities: two leases with one public IP are one host's, and the older holds. */
export function addressIdentities(lease: Lease): readonly string[] {
  return publicIps(lease).map((ip) => `public IP ${ip}`);
}
