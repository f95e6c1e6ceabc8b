/**
 * Takes all of ours out of every packet filter of this host, whichever it was that we used: `tartan down`. What is to go
 * is told by its name, so that it works without any memory of what was written.
 */
import { type Family, familyOf, type Prefix } from '../../config/address.ts';
import { noIptablesRules } from './iptables-rules.ts';
import { MARK_TABLES, markTable, noFlannelTable, type TableRules } from './nftables-rules.ts';
import { peerFilterTable } from './peer-filter-script.ts';
import { PrintedForms } from './printed-forms.ts';
import type { Programs } from './programs.ts';
import { IptablesRuleSet, NftablesRuleSet, type RuleSet } from './rule-set.ts';
import { ownTables, type Survey, Surveyor } from './survey.ts';
import type { Territory } from './territory.ts';

export interface Clearing {
  readonly programs: Programs;
  /** Our devices, after which tables of ours are named. undefined: not known; then every table of ours goes. */
  readonly devices: readonly string[] | undefined;
  /** Whose rules go, of those in flannel's chains and tables. undefined: not known; then all go. */
  readonly networks: readonly Prefix[] | undefined;
}

export interface Cleared {
  /** What was done, in words; nothing where there was nothing of ours. */
  readonly said: readonly string[];
  /** What stays, and why, after all the rest has been done. */
  readonly failed: readonly string[];
}

const GONE = { masquerading: 'goes', mayLeave: true } as const;

/** Goes on past what fails. */
export async function clearFirewall(clearing: Clearing): Promise<Cleared> {
  const survey = await new Surveyor(clearing.programs).survey();
  const said: string[] = [];
  const failed: string[] = [];
  for (const set of setsOf(clearing, survey)) {
    const outcome = await clear(set, isKnown(clearing, set.family));
    if ('failed' in outcome) failed.push(`${set.name}: ${outcome.failed}`);
    else said.push(...outcome.said);
  }
  for (const table of peerFilters(clearing, survey)) {
    const deleted = await clearing.programs.run('nft', ['delete', 'table', ...table.split(' ')]);
    if (deleted?.ok) said.push(`deleted the nft table ${table}`);
    else failed.push(`nft table ${table}: ${deleted?.failure ?? 'nft is not installed'}`);
  }
  return { said, failed };
}

function setsOf({ programs, networks }: Clearing, survey: Survey): RuleSet[] {
  const forms = new PrintedForms();
  const of = { family: undefined, isLeftover: true, territory: networks ?? ('everything' as const) };
  const nft = (table: TableRules, territory: Territory = of.territory): RuleSet =>
    new NftablesRuleSet(programs, () => table, { ...of, territory }, forms);
  const iptables = [...survey.iptables[4], ...survey.iptables[6]].map(
    (program) => new IptablesRuleSet(programs, program, () => noIptablesRules(), of, forms),
  );
  if (survey.nftables === undefined) return iptables;
  const flannel = ([4, 6] as const).map((family) => nft(noFlannelTable(family)));
  const marks = ownTables(survey).filter((name) => name.startsWith(MARK_TABLES));
  return [...iptables, ...flannel, ...marks.map((name) => nft(markTable(name)))];
}

/** All of ours but the marks, which two agents may share: these are told by network. */
function peerFilters({ devices }: Clearing, survey: Survey): string[] {
  const names = ownTables(survey).filter((name) => !name.startsWith(MARK_TABLES));
  const ours = devices?.map(peerFilterTable);
  return names.map((name) => `inet ${name}`).filter((table) => ours?.includes(table) ?? true);
}

/** Whether rules of the family must be there to be looked at: a kernel without IPv6 can't show what it can't have. */
function isKnown({ networks = [] }: Clearing, family: Family | undefined): boolean {
  return family !== 6 || networks.some((network) => familyOf(network) === 6);
}

async function clear(
  set: RuleSet,
  mustBeReadable: boolean,
): Promise<{ readonly said: readonly string[] } | { readonly failed: string }> {
  const unreadable = await set.read();
  if (unreadable !== undefined) return mustBeReadable ? { failed: unreadable } : { said: [] };
  // Not a failure: on most such hosts none of ours is in there.
  const partly = set.unreadable();
  const unseen = partly === undefined ? [] : [`the ${set.name} were not all looked at: ${partly}`];
  const { amiss, script } = set.plan(GONE);
  if (amiss.length === 0) return { said: unseen };
  const failed = (await set.write(script)) ?? (await set.read());
  if (failed !== undefined) return { failed };
  const left = set.plan(GONE).amiss;
  return left.length === 0 ? { said: [`cleared the ${set.name}`, ...unseen] } : { failed: left.join(', ') };
}
