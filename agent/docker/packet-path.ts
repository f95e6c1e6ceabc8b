/**
 * Follows one packet through the rules of a host's packet filters, to the one that drops it. Pure.
 *
 *   prerouting: raw, mangle, … ─► forward: mangle, filter, …        base chains in the order of their priority
 *
 * An accept ends a base chain, a drop ends the packet. What is known of the packet does not always tell whether a rule
 * concerns it (ports, sets, foreign matches). Such a rule concerns some packets only, so neither its accept nor its drop
 * counts; a jump is followed to see whether the packet is dropped there.
 */
import type { Ip } from '../../config/address.ts';

/** The first packet of a connection of whatever protocol, to no published port. */
export interface Packet {
  readonly from: string;
  readonly to: string;
  readonly source: Ip;
  readonly destination: Ip;
}

/** undefined: what is known of the packet does not tell. */
export type Test = (packet: Packet, mark: number) => boolean | undefined;

export type Action =
  | { readonly kind: 'accept' | 'drop' | 'return' | 'continue' }
  | { readonly kind: 'jump' | 'goto'; readonly chain: string }
  | { readonly kind: 'mark'; readonly change: (mark: number) => number }
  /** By the packet: a verdict map. */
  | { readonly kind: 'map'; readonly choose: (packet: Packet) => Action };

export interface FilterRule {
  readonly tests: readonly Test[];
  readonly action: Action;
  /** As a person would write it. */
  readonly text: string;
}

export interface Chain {
  readonly name: string;
  /** Only of base chains; others are jumped to. */
  readonly base: { readonly hook: 'prerouting' | 'forward'; readonly priority: number } | undefined;
  readonly policy: 'accept' | 'drop';
  readonly rules: readonly FilterRule[];
}

/** Chains that may jump to each other. */
export interface RuleTable {
  /** `iptables raw`, `nftables ip docker-bridges`. */
  readonly name: string;
  readonly chains: ReadonlyMap<string, Chain>;
}

/** Where a packet ends. */
export interface Stop {
  readonly table: string;
  readonly chain: string;
  /** undefined: the chain's policy. */
  readonly rule: string | undefined;
}

/** A rule set that goes in circles, or is made to. */
const MAX_DEPTH = 32;

type Verdict = 'accept' | 'none' | Stop;

/** undefined: it passes. */
export function stopOf(tables: readonly RuleTable[], packet: Packet): Stop | undefined {
  const walk = new Walk(packet);
  for (const hook of ['prerouting', 'forward'] as const) {
    const bases = tables.flatMap((table) =>
      [...table.chains.values()].flatMap((chain) =>
        chain.base?.hook === hook ? [{ table, chain, ...chain.base }] : [],
      ),
    );
    for (const { table, chain } of bases.sort((a, b) => a.priority - b.priority)) {
      const verdict = walk.through(table, chain, 0);
      if (typeof verdict === 'object') return verdict;
      if (verdict === 'none' && chain.policy === 'drop')
        return { table: table.name, chain: chain.name, rule: undefined };
    }
  }
  return undefined;
}

class Walk {
  readonly #packet: Packet;
  #mark = 0;

  constructor(packet: Packet) {
    this.#packet = packet;
  }

  through(table: RuleTable, chain: Chain | undefined, depth: number): Verdict {
    if (!chain || depth > MAX_DEPTH) return 'none';
    for (const rule of chain.rules) {
      const results = rule.tests.map((test) => test(this.#packet, this.#mark));
      if (results.includes(false)) continue;
      const action = rule.action.kind === 'map' ? rule.action.choose(this.#packet) : rule.action;
      const verdict = this.#take(table, chain, rule, action, results.includes(undefined), depth);
      if (verdict !== undefined) return verdict;
    }
    return 'none';
  }

  /** undefined: on to the next rule. */
  #take(table: RuleTable, chain: Chain, { text }: FilterRule, action: Action, isMaybe: boolean, depth: number) {
    if (action.kind === 'jump' || action.kind === 'goto') {
      const verdict = this.through(table, table.chains.get(action.chain), depth + 1);
      if (typeof verdict === 'object') return verdict;
      if (isMaybe) return undefined;
      return verdict === 'accept' || action.kind === 'goto' ? verdict : undefined;
    }
    if (isMaybe) return undefined;
    if (action.kind === 'mark') this.#mark = action.change(this.#mark);
    if (action.kind === 'drop') return { table: table.name, chain: chain.name, rule: text };
    if (action.kind === 'return') return 'none';
    return action.kind === 'accept' ? 'accept' : undefined;
  }
}
