/** The difference between what stands in one table of nftables and what is to stand there, as one script: all or nothing. */
import { addressesIn, type NftablesListing } from './nftables-listing.ts';
import type { ChainRules, TableRules } from './nftables-rules.ts';
import type { PrintedForms } from './printed-forms.ts';
import type { Mending, RulePlan } from './rule-plan.ts';
import { isOthers, type Territory } from './territory.ts';

/** `found`: undefined where there is no such table. */
export function planNftables(
  found: NftablesListing | undefined,
  wanted: TableRules,
  territory: Territory,
  forms: PrintedForms,
): RulePlan {
  const table = `${wanted.family} ${wanted.name}`;
  const mendings = wanted.chains.flatMap((chain) => mendChain(found, table, chain, territory, forms));
  if (found && isLeft(found, wanted, territory)) {
    return { amiss: [`the table ${table} is no longer wanted`], script: `delete table ${table}\n` };
  }
  if (mendings.length === 0) return { amiss: [], script: '' };
  const comment = wanted.comment === '' ? '' : ` { comment "${wanted.comment}"; }`;
  const lines = [...(found ? [] : [`add table ${table}${comment}`]), ...mendings.flatMap((mending) => mending.lines)];
  return { amiss: mendings.map(({ amiss }) => amiss), script: `${lines.join('\n')}\n` };
}

/** Notes how what was just written is printed. */
export function learnNftables(
  found: NftablesListing | undefined,
  wanted: TableRules,
  territory: Territory,
  forms: PrintedForms,
): void {
  for (const { name, head, rules } of wanted.chains) {
    const chain = found?.chains.get(name);
    if (chain === undefined || rules === 'as it is') continue;
    forms.learn([head], [chain.head]);
    forms.learn(rules, oursAmong(chain.rules, territory));
  }
}

/** Whether nothing of it is wanted, and nothing in it is anybody else's. */
function isLeft(found: NftablesListing, wanted: TableRules, territory: Territory): boolean {
  if (found.hasMore || wanted.chains.some(({ rules }) => rules === 'as it is' || rules.length > 0)) return false;
  const known = new Set(wanted.chains.map(({ name }) => name));
  return [...found.chains].every(([name, { rules }]) => known.has(name) && othersAmong(rules, territory).length === 0);
}

function mendChain(
  found: NftablesListing | undefined,
  table: string,
  wanted: ChainRules,
  territory: Territory,
  forms: PrintedForms,
): Mending[] {
  const { name, head, rules } = wanted;
  if (rules === 'as it is') return [];
  const chain = found?.chains.get(name);
  const others = othersAmong(chain?.rules ?? [], territory);
  if (rules.length === 0) return chain ? withdraw(table, name, chain.rules, territory) : [];
  const isOnHook = chain !== undefined && forms.isSame(head, chain.head);
  if (isOnHook && forms.areSame(rules, oursAmong(chain.rules, territory))) return [];
  const amiss = chain === undefined ? `${name} is missing` : `the rules of ${name} are not as they have to be`;
  const lines = isOnHook ? [] : [...removal(table, name, chain !== undefined), declaration(table, wanted)];
  return [{ amiss, lines: [...lines, ...filled(table, name, [...rules, ...others])] }];
}

/** The chain stays for another agent, and with it what names no network: both need that. */
function withdraw(table: string, name: string, found: readonly string[], territory: Territory): Mending[] {
  const amiss = `rules of ${name} are no longer wanted`;
  if (othersAmong(found, territory).length === 0) return [{ amiss, lines: removal(table, name, true) }];
  const stay = found.filter((rule) => addressesIn(rule).length === 0 || isOthers(addressesIn(rule), territory));
  return stay.length === found.length ? [] : [{ amiss, lines: filled(table, name, stay) }];
}

function removal(table: string, name: string, isThere: boolean): string[] {
  return isThere ? [`flush chain ${table} ${name}`, `delete chain ${table} ${name}`] : [];
}

function declaration(table: string, { name, head, comment }: ChainRules): string {
  return `add chain ${table} ${name} { ${head}${comment === '' ? '' : ` comment "${comment}";`} }`;
}

function filled(table: string, name: string, rules: readonly string[]): string[] {
  return [`flush chain ${table} ${name}`, ...rules.map((rule) => `add rule ${table} ${name} ${rule}`)];
}

function oursAmong(rules: readonly string[], territory: Territory): string[] {
  return rules.filter((rule) => !isOthers(addressesIn(rule), territory));
}

function othersAmong(rules: readonly string[], territory: Territory): string[] {
  return rules.filter((rule) => isOthers(addressesIn(rule), territory));
}
