/**
 * The difference between what stands in iptables and what is to stand there, as one text for `iptables-restore --noflush`:
 * each table is changed at once or not at all. Rules of others are neither touched nor moved.
 *
 * Positions count from what is found: iptables-nft-restore 1.8.9 crashes on one that counts a rule of the same text.
 */
import {
  addressesOf,
  commentOf,
  type IptablesChains,
  type IptablesListing,
  targetOf,
  wordsOf,
} from './iptables-listing.ts';
import { DOCKER_USER, type GuestRules, type IptablesRules, type OwnChain } from './iptables-rules.ts';
import type { PrintedForms } from './printed-forms.ts';
import type { Mending, RulePlan } from './rule-plan.ts';
import { isOthers, type Territory } from './territory.ts';

const TABLES = ['nat', 'filter', 'raw'] as const;

export function planIptables(
  found: IptablesListing,
  wanted: IptablesRules,
  territory: Territory,
  forms: PrintedForms,
): RulePlan {
  const amiss: string[] = [];
  let script = '';
  for (const table of TABLES) {
    const chains = found.get(table) ?? new Map();
    const mendings = [
      ...wanted.own.flatMap((own) => (own.table === table ? mendOwn(chains, own, territory, forms) : [])),
      ...wanted.guests.flatMap((guests) =>
        guests.table === table ? mendGuests(chains, guests, territory, forms) : [],
      ),
    ];
    if (mendings.length === 0) continue;
    amiss.push(...mendings.map((mending) => mending.amiss));
    script += `*${table}\n${mendings.flatMap(({ lines }) => lines).join('\n')}\nCOMMIT\n`;
  }
  return { amiss, script };
}

/** Notes how what was just written is printed. */
export function learnIptables(
  found: IptablesListing,
  wanted: IptablesRules,
  territory: Territory,
  forms: PrintedForms,
): void {
  for (const { table, chain, rules } of wanted.own) {
    if (rules !== 'as it is') forms.learn(rules, oursAmong(found.get(table)?.get(chain) ?? [], territory));
  }
  for (const guests of wanted.guests) {
    forms.learn(guests.rules, guestsAmong(found.get(guests.table)?.get(guests.chain) ?? [], guests, territory));
  }
}

function mendOwn(chains: IptablesChains, own: OwnChain, territory: Territory, forms: PrintedForms): Mending[] {
  if (own.rules === 'as it is') return [];
  const { chain, rules } = own;
  const found = chains.get(chain);
  const others = (found ?? []).filter((rule) => isOthers(addressesOf(rule), territory));
  if (rules.length === 0)
    return others.length === 0 ? removeOwn(chains, chain) : withdraw(chain, found ?? [], territory);
  const jump = mendJump(chains, own);
  if (found !== undefined && forms.areSame(rules, oursAmong(found, territory))) return jump;
  const amiss = found === undefined ? `${chain} is missing` : `the rules of ${chain} are not as they have to be`;
  return [{ amiss, lines: filled(chain, [...rules, ...others]) }, ...jump];
}

/** The chain stays for another agent, and with it what names no network: both need that. */
function withdraw(chain: string, found: readonly string[], territory: Territory): Mending[] {
  const stay = found.filter((rule) => addressesOf(rule).length === 0 || isOthers(addressesOf(rule), territory));
  if (stay.length === found.length) return [];
  return [{ amiss: `rules of ${chain} are no longer wanted`, lines: filled(chain, stay) }];
}

/** A chain that is declared is empty. */
function filled(chain: string, rules: readonly string[]): string[] {
  return [`:${chain} - [0:0]`, ...rules.map((rule) => `-A ${chain} ${rule}`)];
}

/** One jump, wherever it stands; of several the last stays. One with a condition is somebody's, and does not count. */
function mendJump(chains: IptablesChains, { parent, jump, chain }: OwnChain): Mending[] {
  const jumps = (chains.get(parent) ?? []).filter((rule) => targetOf(rule) === chain && isUnconditional(rule));
  if (jumps.length === 0)
    return [{ amiss: `the jump from ${parent} to ${chain} is missing`, lines: [`-A ${parent} ${jump}`] }];
  const doubles = jumps.slice(0, -1);
  if (doubles.length === 0) return [];
  const lines = doubles.map((double) => `-D ${parent} ${double}`);
  return [{ amiss: `${parent} jumps to ${chain} more than once`, lines }];
}

/** With every jump to it, of which the kernel would not let it go. */
function removeOwn(chains: IptablesChains, chain: string): Mending[] {
  const jumps = jumpsTo(chains, chain);
  if (!chains.has(chain) && jumps.length === 0) return [];
  return [{ amiss: `${chain} is no longer wanted`, lines: [...jumps, `-F ${chain}`, `-X ${chain}`] }];
}

function jumpsTo(chains: IptablesChains, chain: string): string[] {
  return [...chains].flatMap(([from, rules]) =>
    from === chain ? [] : rules.flatMap((rule) => (targetOf(rule) === chain ? [`-D ${from} ${rule}`] : [])),
  );
}

function mendGuests(chains: IptablesChains, guests: GuestRules, territory: Territory, forms: PrintedForms): Mending[] {
  const { chain, rules } = guests;
  const found = chains.get(chain);
  const ours = guestsAmong(found ?? [], guests, territory);
  const deletions = ours.map((rule) => `-D ${chain} ${rule}`);
  if (rules.length === 0) {
    if (ours.length === 0) return [];
    const isEmpty = chain === DOCKER_USER && ours.length === found?.length && jumpsTo(chains, chain).length === 0;
    return [
      {
        amiss: `${chain} has ways that are no longer wanted`,
        lines: [...deletions, ...(isEmpty ? [`-X ${chain}`] : [])],
      },
    ];
  }
  const missing = rules.filter((rule) => !ours.some((printed) => forms.isSame(rule, printed)));
  const barrier = (found ?? []).findIndex((rule) => isBarrier(rule, guests.notAfter));
  const isBehind = barrier >= 0 && (found ?? []).slice(barrier).some((rule) => ours.includes(rule));
  if (missing.length === 0 && ours.length === rules.length && !isBehind) return [];
  const where = isBehind ? `stand behind a ${guests.notAfter.toUpperCase()}` : 'are not as they have to be';
  const rest = (found ?? []).filter((rule) => !ours.includes(rule));
  const lines = [...deletions, ...insertions(guests, found === undefined ? undefined : rest)];
  return [{ amiss: `the ways through ${chain} ${where}`, lines }];
}

/** `rest`: what the chain has beside ours; undefined where there is no such chain. */
function insertions({ chain, rules, notAfter }: GuestRules, rest: readonly string[] | undefined): string[] {
  if (notAfter === 'drop') return rules.toReversed().map((rule) => `-I ${chain} ${rule}`);
  const end = (rest ?? []).findIndex((rule) => isBarrier(rule, notAfter));
  if (end >= 0) return rules.toReversed().map((rule) => `-I ${chain} ${end + 1} ${rule}`);
  return [...(rest === undefined ? [`-N ${chain}`] : []), ...rules.map((rule) => `-A ${chain} ${rule}`)];
}

function isBarrier(rule: string, kind: GuestRules['notAfter']): boolean {
  return kind === 'drop' ? targetOf(rule) === 'DROP' : targetOf(rule) === 'RETURN' && isUnconditional(rule);
}

/** Whether it has nothing but a comment and a target. */
function isUnconditional(rule: string): boolean {
  const words = wordsOf(rule);
  return words.length === (words.includes('--comment') ? 6 : 2);
}

function oursAmong(rules: readonly string[], territory: Territory): string[] {
  return rules.filter((rule) => !isOthers(addressesOf(rule), territory));
}

function guestsAmong(rules: readonly string[], { comment }: GuestRules, territory: Territory): string[] {
  return rules.filter((rule) => commentOf(rule) === comment && !isOthers(addressesOf(rule), territory));
}
