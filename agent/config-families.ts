import type { OwnPart } from '../backends/backend.ts';
import type { Families } from '../backends/backend-config.ts';
import type { Prefix } from '../config/address.ts';
import type { NetworkConfig } from '../config/network-config.ts';
import type { LeaseSubnets } from '../leases/lease.ts';

export function familiesOf({ ranges }: NetworkConfig): Families {
  return { ipv4: ranges[4] !== undefined, ipv6: ranges[6] !== undefined };
}

/** This host's subnets in the network of that config. */
export function ownPart({ subnet, subnet6 }: LeaseSubnets, config: NetworkConfig): OwnPart {
  return { subnet, subnet6, networks: networksOf(config) };
}

/** The cluster networks of the configs, each once. */
export function networksOf(...configs: readonly NetworkConfig[]): readonly Prefix[] {
  const networks = configs.flatMap(({ ranges }) => [ranges[4], ranges[6]]).flatMap((range) => range?.network ?? []);
  return [...new Set(networks)];
}
