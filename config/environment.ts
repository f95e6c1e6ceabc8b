/**
 * Options from the environment: TARTAN_<NAME> for each of them, FLANNELD_<NAME> for those that flanneld has. An empty
 * variable counts as unset, as for flanneld.
 */
import { FOREIGN_FLAGS, judgeForeign } from './foreign-flags.ts';
import { hint } from './nearest.ts';
import { flagName, OPTION_KEYS, OPTIONS, type OptionKey, variableSuffix } from './options.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

/** The variables that give the option, the one that wins first. */
export function variablesOf(key: OptionKey): readonly string[] {
  const suffix = variableSuffix(flagName(key));
  const { isFlannels, alsoFrom } = OPTIONS[key];
  return [
    `TARTAN_${suffix}`,
    ...(isFlannels ? [`FLANNELD_${suffix}`] : []),
    ...(alsoFrom === undefined ? [] : [alsoFrom]),
  ];
}

interface FoundVariable {
  readonly variable: string;
  readonly value: string;
}

export function findVariable(key: OptionKey, env: Environment): FoundVariable | undefined {
  for (const variable of variablesOf(key)) {
    const value = env[variable];
    if (value !== undefined && value !== '') return { variable, value };
  }
  return undefined;
}

/** Set by images and scripts for purposes of their own; flanneld ignores its one too. */
const IGNORED = new Set(['TARTAN_VERSION', 'TARTAN_HELP', 'FLANNELD_VERSION', 'FLANNELD_HELP']);
const FOREIGN = new Map([...FOREIGN_FLAGS].map(([name, flag]) => [`FLANNELD_${variableSuffix(name)}`, { name, flag }]));
const KNOWN = OPTION_KEYS.flatMap(variablesOf);

/** What is to be said about variables with our prefixes that are no option's. */
export function judgeVariables(env: Environment): { readonly problems: string[]; readonly warnings: string[] } {
  const problems: string[] = [];
  const warnings: string[] = [];
  for (const [variable, value] of Object.entries(env)) {
    if (!/^(TARTAN|FLANNELD)_/.test(variable) || value === undefined || value === '') continue;
    if (KNOWN.includes(variable) || IGNORED.has(variable)) continue;
    const foreign = FOREIGN.get(variable);
    if (foreign === undefined) {
      warnings.push(`${variable}: no such variable${suggestion(variable)}`);
      continue;
    }
    const judgement = judgeForeign(foreign.flag, value);
    if (judgement === undefined) continue;
    if ('refused' in judgement) problems.push(`--${foreign.name} (${variable}): ${judgement.refused}`);
    else warnings.push(`${variable}: ${judgement.warning}`);
  }
  return { problems, warnings };
}

function suggestion(variable: string): string {
  const own = variable.replace(/^FLANNELD_/, 'TARTAN_');
  return KNOWN.includes(own) ? `; did you mean ${own}?` : hint(variable, KNOWN);
}
