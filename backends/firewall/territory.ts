/** Which rules are another agent's: several may keep a network each on one host, and flannel's chains are one for all. */
import { type Family, familyOf, overlaps, type Prefix, parseIp, parsePrefix, prefixOf } from '../../config/address.ts';
import type { FirewallWish } from './wish.ts';

const MULTICAST = ['224.0.0.0/4', 'ff00::/8'];

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
  const prefixes = addresses.flatMap((text) => (MULTICAST.includes(text) ? [] : (prefixIn(text) ?? [])));
  return prefixes.length > 0 && !prefixes.some((prefix) => territory.some((ours) => overlaps(ours, prefix)));
}

/** Of an address, with or without a length. */
function prefixIn(text: string): Prefix | undefined {
  const ip = parseIp(text);
  return ip === undefined ? parsePrefix(text) : prefixOf(ip, familyOf(ip) === 4 ? 32 : 128);
}
