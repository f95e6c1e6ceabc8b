/**
 * Takes all of ours out of every packet filter of this host, whichever it was that we used: `tartan down`. What is to go
 * is told by its name, so that it works without any memory of what was written.
 */
import { type Family, familyOf, type Prefix } from '../../config/address.ts';
import { TartanError } from '../../config/errors.ts';
import { noIptablesRules } from './iptables-rules.ts';
import { MARK_TABLES, markTable, noFlannelTable, type TableRules } from './nftables-rules.ts';
import { PrintedForms } from './printed-forms.ts';
import type { Programs } from './programs.ts';
import { IptablesRuleSet, NftablesRuleSet, type RuleSet } from './rule-set.ts';
import { type Survey, Surveyor } from './survey.ts';
import type { Territory } from './territory.ts';

export interface Clearing {
  readonly programs: Programs;
  /** Our devices, after which tables of ours are named. undefined: not known; then every table of ours goes. */
  readonly devices: readonly string[] | undefined;
  /** Whose rules go, of those in flannel's chains and tables. undefined: not known; then all go. */
  readonly networks: readonly Prefix[] | undefined;
}

const TABLES = 'tartan-';
const GONE = { masquerading: 'goes', mayLeave: true } as const;

/**
 * @returns what was done, in words; nothing where there was nothing of ours. Rejects with TartanError FIREWALL where
 * something stays, after all the rest has been done: `data.done` tells what.
 */
export async function clearFirewall(clearing: Clearing): Promise<readonly string[]> {
  const survey = await new Surveyor(clearing.programs).survey();
  const done: string[] = [];
  const failures: string[] = [];
  for (const set of setsOf(clearing, survey)) {
    const outcome = await clear(set, isKnown(clearing, set.family));
    if ('failed' in outcome) failures.push(`${set.name}: ${outcome.failed}`);
    else done.push(...outcome.done);
  }
  for (const table of ownTables(clearing, survey)) {
    const deleted = await clearing.programs.run('nft', ['delete', 'table', ...table.split(' ')]);
    if (deleted?.ok) done.push(`deleted the nft table ${table}`);
    else failures.push(`nft table ${table}: ${deleted?.failure ?? 'nft is not installed'}`);
  }
  if (failures.length === 0) return done;
  throw new TartanError('FIREWALL', `rules of the packet filter stay: ${failures.join('; ')}`, { data: { done } });
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
  const marks = tartanTables(survey).filter((name) => name.startsWith(MARK_TABLES));
  return [...iptables, ...flannel, ...marks.map((name) => nft(markTable(name)))];
}

/** All of ours but the marks, which two agents may share: these are told by network. */
function ownTables({ devices }: Clearing, survey: Survey): string[] {
  const tables = tartanTables(survey).filter((name) => !name.startsWith(MARK_TABLES));
  const ours = devices?.map((device) => `${TABLES}${device}`);
  return tables.filter((name) => ours?.includes(name) ?? true).map((name) => `inet ${name}`);
}

function tartanTables({ nftables }: Survey): string[] {
  const names = (nftables?.tables ?? []).flatMap((table) => /^inet (\S+)$/.exec(table)?.[1] ?? []);
  return names.filter((name) => name.startsWith(TABLES));
}

/** Whether rules of the family must be there to be looked at: a kernel without IPv6 can't show what it can't have. */
function isKnown({ networks = [] }: Clearing, family: Family | undefined): boolean {
  return family !== 6 || networks.some((network) => familyOf(network) === 6);
}

async function clear(
  set: RuleSet,
  mustBeReadable: boolean,
): Promise<{ readonly done: readonly string[] } | { readonly failed: string }> {
  const unreadable = await set.read();
  if (unreadable !== undefined) return mustBeReadable ? { failed: unreadable } : { done: [] };
  // Not a failure: on most such hosts none of ours is in there.
  const partly = set.unreadable();
  const unseen = partly === undefined ? [] : [`the ${set.name} were not all looked at: ${partly}`];
  const { amiss, script } = set.plan(GONE);
  if (amiss.length === 0) return { done: unseen };
  const failed = (await set.write(script)) ?? (await set.read());
  if (failed !== undefined) return { failed };
  const left = set.plan(GONE).amiss;
  return left.length === 0 ? { done: [`cleared the ${set.name}`, ...unseen] } : { failed: left.join(', ') };
}
