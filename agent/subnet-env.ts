/**
 * The subnet file, as flannel's consumers (CNI plugin, mk-docker-opts, scripts) parse it: `\n`-terminated, no quotes,
 * in this order; the IPv4 and IPv6 lines only where the family is switched on.
 *
 *     FLANNEL_NETWORK=10.5.0.0/16
 *     FLANNEL_SUBNET=10.5.66.1/24             the subnet's first host address
 *     FLANNEL_IPV6_NETWORK=fd00:5::/48
 *     FLANNEL_IPV6_SUBNET=fd00:5:0:12::1/64
 *     FLANNEL_MTU=1450
 *     FLANNEL_IPMASQ=true
 */
import { parseEnv } from 'node:util';
import {
  type Family,
  familyOf,
  networkAddress,
  offsetIp,
  type Prefix,
  parsePrefix,
  prefixLength,
} from '../config/address.ts';
import type { NetworkConfig } from '../config/network-config.ts';
import type { LeaseSubnets } from '../leases/lease.ts';

export interface SubnetEnv {
  readonly config: NetworkConfig;
  readonly own: LeaseSubnets;
  readonly mtuBytes: number;
  /** What --ip-masq says, not whether rules exist. */
  readonly ipMasq: boolean;
}

/** The file's whole text. */
export function formatSubnetEnv({ config, own, mtuBytes, ipMasq }: SubnetEnv): string {
  const lines: string[] = [];
  if (config.ranges[4] !== undefined) {
    lines.push(`FLANNEL_NETWORK=${config.ranges[4].network}`, `FLANNEL_SUBNET=${firstHost(own.subnet)}`);
  }
  if (config.ranges[6] !== undefined && own.subnet6 !== undefined) {
    lines.push(`FLANNEL_IPV6_NETWORK=${config.ranges[6].network}`, `FLANNEL_IPV6_SUBNET=${firstHost(own.subnet6)}`);
  }
  lines.push(`FLANNEL_MTU=${mtuBytes}`, `FLANNEL_IPMASQ=${ipMasq}`);
  return `${lines.join('\n')}\n`;
}

/** The address after the subnet's own, with the subnet's length: `10.5.66.1/24`. The bridge has it. */
export function firstHost(subnet: Prefix): string {
  const address = networkAddress(subnet);
  return `${offsetIp(address, 1n) ?? address}/${prefixLength(subnet)}`;
}

export interface PreviousSubnet {
  readonly subnet?: Prefix;
  readonly subnet6?: Prefix;
  readonly warnings: readonly string[];
}

/**
 * The subnets that an earlier run wrote, host bits masked away. Takes what a shell would: quotes, `export`, comments.
 * A value may be a comma list; only one that has exactly one valid entry counts, as for flannel. Never throws.
 */
export function parsePreviousSubnet(text: string): PreviousSubnet {
  const variables = parseEnv(text);
  const warnings: string[] = [];
  const subnet = onlyPrefix('FLANNEL_SUBNET', variables['FLANNEL_SUBNET'], 4, warnings);
  const subnet6 = onlyPrefix('FLANNEL_IPV6_SUBNET', variables['FLANNEL_IPV6_SUBNET'], 6, warnings);
  return { ...(subnet && { subnet }), ...(subnet6 && { subnet6 }), warnings };
}

/** The cluster networks that an earlier run wrote, IPv4 first; what makes no sense is left out. Never throws. */
export function parseNetworks(text: string): readonly Prefix[] {
  const variables = parseEnv(text);
  const texts = [variables['FLANNEL_NETWORK'], variables['FLANNEL_IPV6_NETWORK']];
  return texts.flatMap((one) => one?.split(',') ?? []).flatMap((one) => parsePrefix(one.trim()) ?? []);
}

function onlyPrefix(key: string, value: string | undefined, family: Family, warnings: string[]): Prefix | undefined {
  if (value === undefined) return undefined;
  const prefixes: Prefix[] = [];
  for (const entry of value.split(',')) {
    const prefix = parsePrefix(entry);
    if (prefix !== undefined && familyOf(prefix) === family) prefixes.push(prefix);
    else warnings.push(`${key}: "${entry}" is no IPv${family} subnet`);
  }
  if (prefixes.length > 1) warnings.push(`${key}: more than one subnet, so none of them counts`);
  return prefixes.length === 1 ? prefixes[0] : undefined;
}
