/** Where rules of ours stand, or may have been left, on this host. What is wanted comes first, leftovers last. */
import { type Family, familyOf } from '../../config/address.ts';
import { type IptablesRules, iptablesRules } from './iptables-rules.ts';
import { flannelTable, MARK_TABLES, markTable, markTableName, type TableRules } from './nftables-rules.ts';
import type { PrintedForms } from './printed-forms.ts';
import type { Programs } from './programs.ts';
import type { Stage } from './rule-plan.ts';
import { IptablesRuleSet, NftablesRuleSet, type RuleSet } from './rule-set.ts';
import type { Survey } from './survey.ts';
import { territoryOf } from './territory.ts';
import type { FirewallWish } from './wish.ts';

/** What flannel's rules of one family go into. */
export type Placing = 'iptables' | 'nftables' | undefined;

/** What is asked for, else what there is. */
export function placingOf(wish: FirewallWish, family: Family, survey: Survey): Placing {
  const hasIptables = survey.iptables[family].length > 0;
  if (survey.nftables && (wish.nftables || !hasIptables)) return 'nftables';
  return hasIptables ? 'iptables' : undefined;
}

export function ruleSets(programs: Programs, wish: FirewallWish, survey: Survey, forms: PrintedForms): RuleSet[] {
  const families = ([4, 6] as const).filter((family) => territoryOf(wish, family).length > 0);
  // nft's first: what is in iptables may go once they stand.
  const sets = families.flatMap((family) => [
    ...flannelTables(programs, wish, survey, family, forms),
    ...iptablesSets(programs, wish, survey, family, forms),
  ]);
  const all = [...sets, ...markTables(programs, wish, survey, forms)];
  return [...all.filter(({ isLeftover }) => !isLeftover), ...all.filter(({ isLeftover }) => isLeftover)];
}

function iptablesSets(
  programs: Programs,
  wish: FirewallWish,
  survey: Survey,
  family: Family,
  forms: PrintedForms,
): RuleSet[] {
  const isPlace = placingOf(wish, family, survey) === 'iptables';
  const territory = territoryOf(wish, family);
  return survey.iptables[family].map((iptables, at) => {
    const isInUse = at === 0 && hasFamily(wish, family);
    const wanted = isInUse ? wish : { ...wish, docker: undefined };
    const flannel = isInUse && isPlace;
    const isLeftover = !(flannel && (wish.masquerade || wish.forward)) && wanted.docker === undefined;
    const can = { flannel, randomFully: wish.randomFully && iptables.isRecent };
    const rules = (stage: Stage): IptablesRules => iptablesRules(wanted, family, can, stage);
    return new IptablesRuleSet(programs, iptables, rules, { isLeftover, territory }, forms);
  });
}

function flannelTables(
  programs: Programs,
  wish: FirewallWish,
  survey: Survey,
  family: Family,
  forms: PrintedForms,
): RuleSet[] {
  const abilities = survey.nftables?.abilities;
  if (abilities === undefined) return [];
  const flannel = placingOf(wish, family, survey) === 'nftables' && hasFamily(wish, family);
  const isLeftover = !(flannel && (wish.masquerade || wish.forward));
  const of = { family, isLeftover, territory: territoryOf(wish, family) };
  const table = (stage: Stage): TableRules => flannelTable(wish, family, { flannel, abilities }, stage);
  return [new NftablesRuleSet(programs, table, of, forms)];
}

function markTables(programs: Programs, wish: FirewallWish, survey: Survey, forms: PrintedForms): RuleSet[] {
  if (survey.nftables === undefined) return [];
  const wanted = wish.docker?.mark ? markTableName(wish.docker) : undefined;
  const found = survey.nftables.tables.flatMap((table) => /^inet (\S+)$/.exec(table)?.[1] ?? []);
  const left = found.filter((name) => name.startsWith(MARK_TABLES) && name !== wanted);
  const territory = [...territoryOf(wish, 4), ...territoryOf(wish, 6)];
  return [...(wanted === undefined ? [] : [wanted]), ...left].map((name) => {
    const isLeftover = name !== wanted;
    const table = markTable(name, wish.families, isLeftover ? undefined : wish.docker);
    return new NftablesRuleSet(programs, () => table, { family: undefined, isLeftover, territory }, forms);
  });
}

function hasFamily({ families }: FirewallWish, family: Family): boolean {
  return families.some(({ network }) => familyOf(network) === family);
}

/** Programs without which something of the wish can't be done, and what then does not work. */
export function lacking(wish: FirewallWish, survey: Survey): string[] {
  const lacks: string[] = [];
  for (const { family, network } of wish.families) {
    const program = family === 4 ? 'iptables' : 'ip6tables';
    if ((wish.masquerade || wish.forward) && placingOf(wish, family, survey) === undefined) {
      lacks.push(
        `neither ${program} nor nft is installed: nothing masquerades or forwards for ${network}; install one`,
      );
    } else if (wish.docker && !wish.docker.mark && survey.iptables[family].length === 0) {
      lacks.push(
        `${program} is not installed: there is no way for ${network} through Docker's drops; install iptables`,
      );
    }
  }
  if (wish.docker?.mark && !survey.nftables) {
    lacks.push("nft is not installed: packets can't be marked for Docker's nftables backend; install nftables");
  }
  return lacks;
}

/** Where flannel's rules are not in what was asked for, because that is not there. */
export function substituted(wish: FirewallWish, survey: Survey): string[] {
  if (!(wish.masquerade || wish.forward)) return [];
  const asked = wish.nftables ? 'nftables' : 'iptables';
  return wish.families.flatMap(({ family, network }) => {
    const placing = placingOf(wish, family, survey);
    const program = wish.nftables ? 'nft' : family === 4 ? 'iptables' : 'ip6tables';
    if (placing === undefined || placing === asked) return [];
    return [`there is no ${program}: the rules for ${network} are in ${placing}`];
  });
}
