/** Which rules are another agent's: several may keep a network each on one host, and flannel's chains are one for all. */
import { type Family, familyOf, overlaps, type Prefix, parseIpOrPrefix } from '../../config/address.ts';
import { MULTICAST } from './iptables-rules.ts';
import type { FirewallWish } from './wish.ts';

const MULTICASTS: readonly string[] = Object.values(MULTICAST);

/** The networks whose rules are ours to write and to remove. */
export type Territory = readonly Prefix[] | 'everything';

export function territoryOf(wish: FirewallWish, family: Family): readonly Prefix[] {
  const networks = wish.families.map(({ network }) => network);
  return [...networks, ...(wish.former ?? [])].filter((network) => familyOf(network) === family);
}

/**
 * Whether a rule that names these addresses is of a network that is not ours. One that names none is no one's in
 * particular.
 */
export function isOthers(addresses: readonly string[], territory: Territory): boolean {
  if (territory === 'everything') return false;
  const prefixes = addresses.flatMap((text) => (MULTICASTS.includes(text) ? [] : (parseIpOrPrefix(text) ?? [])));
  return prefixes.length > 0 && !prefixes.some((prefix) => territory.some((ours) => overlaps(ours, prefix)));
}
