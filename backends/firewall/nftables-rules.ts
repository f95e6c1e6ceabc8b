/**
 * What is to stand in nftables, in the words in which `nft -n -s list` prints it: flannel's tables `ip flannel-ipv4` and
 * `ip6 flannel-ipv6` where the network config has EnableNFTables, and a table of our own that marks packets for Docker's
 * nftables backend, where a drop is final and an accept of ours would change nothing.
 *
 * One of flannel's rules is mended: its fourth returns all that goes from this subnet's hosts' outside into the network,
 * which swallows the last; here, as in its iptables rules, only what goes into this host's own subnet.
 */
import type { Family } from '../../config/address.ts';
import { MULTICAST } from './iptables-rules.ts';
import type { Stage } from './rule-plan.ts';
import type { DockerWays, FirewallFamily, FirewallWish, Mark } from './wish.ts';

/** What this nft and this kernel take. */
export interface NftablesAbilities {
  readonly comments: boolean;
  readonly randomFully: boolean;
}

export interface ChainRules {
  readonly name: string;
  /** Empty: none. */
  readonly comment: string;
  readonly head: string;
  /** None: the chain is to be gone. `as it is`: it is left alone. */
  readonly rules: readonly string[] | 'as it is';
}

export interface TableRules {
  readonly family: 'ip' | 'ip6' | 'inet';
  readonly name: string;
  readonly comment: string;
  readonly chains: readonly ChainRules[];
}

const WORD = { 4: 'ip', 6: 'ip6' } as const;
const COMMENTS = {
  postrtg: 'chain to manage traffic masquerading by flannel',
  forward: 'chain to accept flannel traffic',
};
const HEADS = {
  postrtg: 'type nat hook postrouting priority 100; policy accept;',
  forward: 'type filter hook forward priority 0; policy accept;',
  mark: 'type filter hook prerouting priority -150; policy accept;',
};

/** flannel's table of one family. `can.flannel`: whether its rules belong into nftables at all. */
export function flannelTable(
  wish: FirewallWish,
  family: Family,
  can: { readonly flannel: boolean; readonly abilities: NftablesAbilities },
  { masquerading }: Stage,
): TableRules {
  const ground = can.flannel ? wish.families.find((candidate) => candidate.family === family) : undefined;
  const randomFully = wish.randomFully && can.abilities.randomFully;
  const masquerade = ground && masquerading === 'wanted' ? masqueradeRules(ground, randomFully) : [];
  const forward = ground && wish.forward ? forwardRules(ground) : [];
  return arranged(family, can.abilities.comments, masquerading === 'stays' ? 'as it is' : masquerade, forward);
}

export function noFlannelTable(family: Family): TableRules {
  return arranged(family, false, [], []);
}

function arranged(
  family: Family,
  comments: boolean,
  masquerade: ChainRules['rules'],
  forward: ChainRules['rules'],
): TableRules {
  const name = `flannel-ipv${family}`;
  const chain = (named: 'postrtg' | 'forward', rules: ChainRules['rules']): ChainRules => ({
    name: named,
    comment: comments ? COMMENTS[named] : '',
    head: HEADS[named],
    rules,
  });
  return {
    family: WORD[family],
    name,
    comment: comments ? `rules for ${name}` : '',
    chains: [chain('postrtg', masquerade), chain('forward', forward)],
  };
}

/** Our own table of marks. Without `ways`, or without a mark, it is to be gone. */
export function markTable(
  name: string,
  families: readonly FirewallFamily[] = [],
  ways: DockerWays | undefined = undefined,
): TableRules {
  const { mark, devices = [] } = ways ?? {};
  const rules = mark ? families.flatMap((ground) => devices.map((device) => markRule(ground, device, mark))) : [];
  const chain = { name: 'prerouting', comment: '', head: HEADS.mark, rules };
  return { family: 'inet', name, comment: '', chains: [chain] };
}

export const MARK_TABLES = 'tartan-docker-';

/** After the first device; a table's name takes fewer letters than a device's. */
export function markTableName({ devices }: DockerWays): string {
  return `${MARK_TABLES}${(devices[0] ?? '').replaceAll(/[^A-Za-z0-9._-]/g, '_')}`;
}

function masqueradeRules({ family, network, subnet }: FirewallFamily, randomFully: boolean): string[] {
  const ip = WORD[family];
  const masquerade = randomFully ? 'masquerade fully-random' : 'masquerade';
  return [
    'meta mark 0x00004000 return',
    `${ip} saddr ${subnet} ${ip} daddr ${network} return`,
    `${ip} saddr ${network} ${ip} daddr ${subnet} return`,
    `${ip} saddr != ${network} ${ip} daddr ${subnet} return`,
    `${ip} saddr ${network} ${ip} daddr != ${MULTICAST[family]} ${masquerade}`,
    `${ip} saddr != ${network} ${ip} daddr ${network} ${masquerade}`,
  ];
}

function forwardRules({ family, network }: FirewallFamily): string[] {
  return [`${WORD[family]} saddr ${network} accept`, `${WORD[family]} daddr ${network} accept`];
}

function markRule({ family, network, subnet }: FirewallFamily, device: string, { value, mask }: Mark): string {
  const ip = WORD[family];
  const kept = (~mask >>> 0) | 0;
  const cleared = value === mask ? '' : ` & ${hex(kept)}`;
  const match = `iifname "${device}" ${ip} saddr ${network} ${ip} daddr ${subnet}`;
  return `${match} meta mark set meta mark${cleared} | ${hex(value)}`;
}

function hex(value: number): string {
  return `0x${(value >>> 0).toString(16).padStart(8, '0')}`;
}
