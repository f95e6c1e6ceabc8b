/** One place where rules of ours stand: read, compared, written. */
import { type Family, overlaps, type Prefix, parsePrefix } from '../../config/address.ts';
import {
  addressesOf,
  type IptablesListing,
  parseIptablesListing,
  targetOf,
  unreadableTables,
} from './iptables-listing.ts';
import { learnIptables, planIptables } from './iptables-plan.ts';
import type { IptablesRules } from './iptables-rules.ts';
import { addressesIn, type NftablesListing, parseNftablesListing } from './nftables-listing.ts';
import { learnNftables, planNftables } from './nftables-plan.ts';
import type { TableRules } from './nftables-rules.ts';
import type { PrintedForms } from './printed-forms.ts';
import type { Programs } from './programs.ts';
import type { RulePlan, Stage } from './rule-plan.ts';
import type { Iptables } from './survey.ts';
import type { Territory } from './territory.ts';

export interface RuleSet {
  /** `IPv4 rules of iptables-nft`. */
  readonly name: string;
  readonly family: Family | undefined;
  /** Nothing is wanted here: what is found is a leftover. */
  readonly isLeftover: boolean;
  /** @returns why it can't be read */
  read(): Promise<string | undefined>;
  /** What of it could not be read, and is left alone. */
  unreadable(): string | undefined;
  /** About what was read last. */
  plan(stage: Stage): RulePlan;
  /** @returns why it can't be written */
  write(script: string): Promise<string | undefined>;
  /** What was read last is what was written just before. */
  learn(stage: Stage): void;
  /** Whether flannel's masquerading is found here. */
  hasMasquerading(): boolean;
  /** Whether somebody else masquerades what comes from the subnet. */
  masqueradesElsewhere(subnet: Prefix): boolean;
}

export class IptablesRuleSet implements RuleSet {
  readonly name: string;
  readonly family: Family;
  readonly isLeftover: boolean;
  readonly #programs: Programs;
  readonly #iptables: Iptables;
  readonly #rules: (stage: Stage) => IptablesRules;
  readonly #territory: Territory;
  readonly #forms: PrintedForms;
  #found: IptablesListing = new Map();
  #unreadable: readonly string[] = [];

  constructor(
    programs: Programs,
    iptables: Iptables,
    rules: (stage: Stage) => IptablesRules,
    of: { readonly isLeftover: boolean; readonly territory: Territory },
    forms: PrintedForms,
  ) {
    this.family = iptables.family;
    this.isLeftover = of.isLeftover;
    this.name = `IPv${iptables.family} rules of ${iptables.program}`;
    this.#programs = programs;
    this.#iptables = iptables;
    this.#rules = rules;
    this.#territory = of.territory;
    this.#forms = forms;
  }

  async read(): Promise<string | undefined> {
    const program = `${this.#iptables.program}-save`;
    const outcome = await this.#programs.run(program, []);
    if (!outcome?.ok) return outcome?.failure ?? missing(program);
    this.#found = parseIptablesListing(outcome.stdout);
    this.#unreadable = unreadableTables(outcome.stdout);
    return undefined;
  }

  unreadable(): string | undefined {
    if (this.#unreadable.length === 0) return undefined;
    const tables = this.#unreadable.join(', ');
    return `the table ${tables} has rules that iptables has no words for: ours can't be put there (see \`nft list ruleset\`)`;
  }

  plan(stage: Stage): RulePlan {
    return planIptables(this.#found, this.#readable(stage), this.#territory, this.#forms);
  }

  async write(script: string): Promise<string | undefined> {
    const program = `${this.#iptables.program}-restore`;
    const args = ['--noflush', ...(this.#iptables.isRecent ? ['-w', '5'] : [])];
    const outcome = await this.#programs.run(program, args, { input: script });
    return outcome === undefined ? missing(program) : outcome.ok ? undefined : outcome.failure;
  }

  learn(stage: Stage): void {
    learnIptables(this.#found, this.#readable(stage), this.#territory, this.#forms);
  }

  #readable(stage: Stage): IptablesRules {
    const { own, guests } = this.#rules(stage);
    const isReadable = ({ table }: { readonly table: string }): boolean => !this.#unreadable.includes(table);
    return { own: own.filter(isReadable), guests: guests.filter(isReadable) };
  }

  hasMasquerading(): boolean {
    return (this.#found.get('nat')?.get('FLANNEL-POSTRTG') ?? []).some((rule) => targetOf(rule) === 'MASQUERADE');
  }

  masqueradesElsewhere(subnet: Prefix): boolean {
    const rules = this.#found.get('nat')?.get('POSTROUTING') ?? [];
    return rules.some((rule) => targetOf(rule) === 'MASQUERADE' && isWayOut(rule) && areOf(addressesOf(rule), subnet));
  }
}

export class NftablesRuleSet implements RuleSet {
  readonly name: string;
  readonly family: Family | undefined;
  readonly isLeftover: boolean;
  readonly #programs: Programs;
  readonly #table: (stage: Stage) => TableRules;
  readonly #id: string;
  readonly #territory: Territory;
  readonly #forms: PrintedForms;
  #found: NftablesListing | undefined;

  constructor(
    programs: Programs,
    table: (stage: Stage) => TableRules,
    of: { readonly family: Family | undefined; readonly isLeftover: boolean; readonly territory: Territory },
    forms: PrintedForms,
  ) {
    const wanted = table({ masquerading: 'goes', mayLeave: true });
    this.family = of.family;
    this.isLeftover = of.isLeftover;
    this.#id = `${wanted.family} ${wanted.name}`;
    this.name = `nft table ${this.#id}`;
    this.#programs = programs;
    this.#table = table;
    this.#territory = of.territory;
    this.#forms = forms;
  }

  async read(): Promise<string | undefined> {
    const outcome = await this.#programs.run('nft', ['-n', '-s', 'list', 'table', ...this.#id.split(' ')]);
    const isAbsent = outcome !== undefined && !outcome.ok && outcome.failure.includes('No such file or directory');
    if (!(outcome?.ok || isAbsent)) return outcome?.failure ?? missing('nft');
    this.#found = isAbsent ? undefined : parseNftablesListing(outcome.stdout);
    return undefined;
  }

  unreadable(): undefined {
    return undefined;
  }

  plan(stage: Stage): RulePlan {
    return planNftables(this.#found, this.#table(stage), this.#territory, this.#forms);
  }

  async write(script: string): Promise<string | undefined> {
    const outcome = await this.#programs.run('nft', ['-f', '-'], { input: script });
    return outcome === undefined ? missing('nft') : outcome.ok ? undefined : outcome.failure;
  }

  learn(stage: Stage): void {
    learnNftables(this.#found, this.#table(stage), this.#territory, this.#forms);
  }

  hasMasquerading(): boolean {
    return (this.#found?.chains.get('postrtg')?.rules ?? []).some((rule) => /\bmasquerade\b/.test(rule));
  }

  masqueradesElsewhere(): boolean {
    return false;
  }
}

/** Whether Docker's own nftables masquerade what comes from the subnet. */
export function dockerMasquerades(listing: string, subnet: Prefix): boolean {
  const rules = listing.split('\n').filter((line) => /\bmasquerade\b/.test(line) && isWayOut(line));
  return rules.some((rule) => areOf(addressesIn(rule), subnet));
}

/** Not what Docker has for a published port that its own container calls: that names where it goes. */
function isWayOut(rule: string): boolean {
  return !/(?<!! )-d |\bdaddr (?!!=)/.test(rule);
}

function areOf(addresses: readonly string[], subnet: Prefix): boolean {
  const prefixes = addresses.flatMap((text) => parsePrefix(text) ?? []);
  return prefixes.some((prefix) => overlaps(prefix, subnet));
}

function missing(program: string): string {
  return `${program} is not installed`;
}
