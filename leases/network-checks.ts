/**
 * What a lease of another host must not say, whatever its backend. flannel lets all of it through, and then routes the
 * default route, the hosts' own network or its own subnet into the tunnel: whoever may write to etcd owns every host.
 */
import { familyOf, type Ip, lastAddress, notUnicast, type Prefix, prefixLength } from '../config/address.ts';
import { type AddressPoint, type AddressRange, contains, overlap, pointOf, rangeOf } from '../config/address-range.ts';
import { coverage, covers4 } from './coverage.ts';
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

export class NetworkChecks {
  readonly #networks: readonly AddressRange[];
  readonly #ownSubnets: readonly AddressRange[];
  readonly #underlay: readonly AddressRange[];
  readonly #guarded: readonly (AddressPoint & { readonly ip: Ip })[];
  readonly #ownPublicIps: ReadonlySet<Ip>;
  readonly #broadcast: readonly { readonly ip: Ip; readonly network: Prefix }[];

  constructor({ networks, ownSubnets, underlay, guarded, ownPublicIps }: NetworkContext) {
    this.#networks = networks.map(rangeOf);
    this.#ownSubnets = ownSubnets.map(rangeOf);
    this.#underlay = underlay.map(rangeOf);
    this.#guarded = guarded.map((ip) => ({ ip, ...pointOf(ip) }));
    this.#ownPublicIps = new Set(ownPublicIps);
    this.#broadcast = underlay.filter(hasBroadcast).map((network) => ({ ip: lastAddress(network), network }));
  }

  /** Why `lease` can't be a peer's on this network, or undefined where it can. */
  refuse(lease: Lease): string | undefined {
    const subnets = coverage(lease).map(rangeOf);
    for (const subnet of subnets) {
      const reason = this.#refuseSubnet(subnet);
      if (reason !== undefined) return reason;
    }
    const ips = publicIps(lease);
    if (ips.length === 0) return 'it has no public IP';
    for (const ip of ips) {
      const reason = this.#refusePublicIp(ip, subnets);
      if (reason !== undefined) return reason;
    }
    return undefined;
  }

  #refuseSubnet(subnet: AddressRange): string | undefined {
    const { prefix } = subnet;
    if (prefixLength(prefix) === 0) return `${prefix} is the default route`;
    if (!this.#networks.some((network) => contains(network, subnet)))
      return `${prefix} is not in the cluster's network`;
    const own = this.#ownSubnets.find((other) => overlap(other, subnet));
    if (own !== undefined) return `${prefix} overlaps our own ${own.prefix}`;
    const link = this.#underlay.find((other) => overlap(other, subnet));
    if (link !== undefined) return `${prefix} overlaps ${link.prefix}, the hosts' own network`;
    const guarded = this.#guarded.find((address) => contains(subnet, address));
    return guarded === undefined ? undefined : `${prefix} holds ${guarded.ip}, which this host must reach`;
  }

  #refusePublicIp(ip: Ip, subnets: readonly AddressRange[]): string | undefined {
    const bad = notUnicast(ip);
    if (bad !== undefined) return `public IP ${ip} is no host's address: ${bad}`;
    const link = this.#broadcast.find((address) => address.ip === ip);
    if (link !== undefined) return `public IP ${ip} is no host's address: the broadcast address of ${link.network}`;
    if (this.#ownPublicIps.has(ip)) return `public IP ${ip} is our own`;
    const point = pointOf(ip);
    const around = subnets.find((subnet) => contains(subnet, point));
    return around && `public IP ${ip} lies in ${around.prefix}, which it would be reached through`;
  }
}

/** RFC 919; RFC 3021: a network of two addresses has none. */
function hasBroadcast(network: Prefix): boolean {
  return familyOf(network) === 4 && prefixLength(network) < 31;
}

/** The host's addresses as the lease has them; the 0.0.0.0 of a lease without an IPv4 subnet is none. */
function publicIps(lease: Lease): readonly Ip[] {
  const { publicIp, publicIp6 } = lease;
  const has4 = covers4(lease) || notUnicast(publicIp) !== 'unspecified';
  if (publicIp6 === undefined) return has4 ? [publicIp] : [];
  return has4 ? [publicIp, publicIp6] : [publicIp6];
}

/** Every backend's identities: two leases with one public IP are one host's, and the older holds. */
export function addressIdentities(lease: Lease): readonly string[] {
  return publicIps(lease).map((ip) => `public IP ${ip}`);
}
