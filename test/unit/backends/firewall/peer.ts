import type { FilterPeer } from '../../../../backends/firewall/named-peers.ts';
import { ip, prefix } from '../values.ts';

export function peer(key: string, subnet: string, ...sources: readonly string[]): FilterPeer {
  return { key, subnet: prefix(subnet), sources: sources.map(ip) };
}
