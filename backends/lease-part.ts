import { type Family, familyOf, type Ip, notUnicast, type Prefix } from '../config/address.ts';
import { NO_IPV4 } from '../leases/coverage.ts';
import type { LeaseAttributes, LeaseSubnets } from '../leases/lease.ts';
import type { Families } from './backend-config.ts';

/** What a lease says for one family, with the names that its JSON has for it. */
export interface LeasePart {
  readonly family: Family;
  readonly publicIp: Ip | undefined;
  readonly publicIpField: 'PublicIP' | 'PublicIPv6';
  /** JSON text of the backend's data. */
  readonly data: string | undefined;
  readonly dataField: 'BackendData' | 'BackendV6Data';
}

export function enabledFamilies(families: Families): readonly Family[] {
  const enabled: Family[] = [];
  if (families.ipv4) enabled.push(4);
  if (families.ipv6) enabled.push(6);
  return enabled;
}

export function leasePart(lease: LeaseAttributes, family: Family): LeasePart {
  if (family === 6) {
    const { publicIp6: publicIp, backendV6Data: data } = lease;
    return { family, publicIp, publicIpField: 'PublicIPv6', data, dataField: 'BackendV6Data' };
  }
  return {
    family,
    publicIp: lease.publicIp,
    publicIpField: 'PublicIP',
    data: lease.backendData,
    dataField: 'BackendData',
  };
}

/** The family's subnet, undefined where the lease has none (`0.0.0.0/0` is how an IPv6-only lease is keyed). */
export function subnetOf(lease: LeaseSubnets, family: Family): Prefix | undefined {
  if (family === 6) return lease.subnet6;
  return lease.subnet === NO_IPV4 ? undefined : lease.subnet;
}

/** Why packets can't be sent to the part's public IP, or undefined where they can. */
export function badPublicIp(part: LeasePart): string | undefined {
  if (part.publicIp === undefined) return `${part.publicIpField} is missing`;
  const fault = notUnicast(part.publicIp);
  return fault === undefined ? undefined : `${part.publicIpField} ${part.publicIp} is ${fault}`;
}

/** Where datagrams of the lease's host come from, as it says itself, in one family. */
export function outerSources(lease: LeaseAttributes, publicIp: Ip): readonly Ip[] {
  const others = (lease.sources ?? []).filter((ip) => familyOf(ip) === familyOf(publicIp) && ip !== publicIp);
  return [publicIp, ...others];
}

/** Why this node can't reach a peer of which it shares no family. */
export function nothingShared(enabled: readonly Family[]): string {
  return `no address family in common: this node has ${enabled.map((family) => `IPv${family}`).join(' and ')} only`;
}
