/**
 * The command line and the environment as one checked Invocation, or every problem that they have.
 *
 *     tartan [COMMAND] [--flag[=value] | --flag value | argument]…
 *
 * Nothing is read or changed here; a bad variable of the environment is as bad as a bad flag (flanneld only logs it).
 */
import { COMMAND_NAMES, COMMANDS, type Command, isCommand } from './commands.ts';
import { parseDockerOptsFlags } from './docker-opts-flags.ts';
import { type Environment, judgeVariables } from './environment.ts';
import { FOREIGN_FLAGS, judgeForeign } from './foreign-flags.ts';
import { type FlagUse, type ScannedFlags, scanGoFlags } from './go-flags.ts';
import type { Invocation } from './invocation.ts';
import { hint } from './nearest.ts';
import { parseGoBoolean } from './option-kinds.ts';
import { OptionReader } from './option-reader.ts';
import { flagName, isTakenBy, OPTION_KEYS, OPTIONS, type OptionKey } from './options.ts';

export type CommandLineResult =
  | { readonly ok: true; readonly invocation: Invocation }
  | { readonly ok: false; readonly problems: readonly string[] };

const FIRST_WORDS = [...new Set(COMMAND_NAMES.map((name) => name.split(' ')[0] ?? ''))];
const KEYS_BY_FLAG = new Map(OPTION_KEYS.map((key) => [flagName(key), key]));
const KNOWN_FLAGS = new Map<string, { readonly isBoolean: boolean }>([
  ...OPTION_KEYS.map((key) => [flagName(key), OPTIONS[key].kind] as const),
  ...FOREIGN_FLAGS,
  ...['h', 'help', 'version'].map((name) => [name, { isBoolean: true }] as const),
]);

/** @param argv without node and the script. Never throws. */
export function parseCommandLine(argv: readonly string[], env: Environment): CommandLineResult {
  const split = splitCommand(argv);
  if (split.command === 'docker opts') return parseDockerOpts(split.rest);
  const scanned = scanGoFlags(split.rest, KNOWN_FLAGS);
  const topic = split.command === undefined || split.isImplied ? [] : split.command.split(' ');
  if (asks(scanned.flags, 'h') || asks(scanned.flags, 'help')) return plain('help', topic);
  if (asks(scanned.flags, 'version')) return plain('version', []);
  if (split.command === undefined) return { ok: false, problems: [split.problem] };
  if (split.command === 'help' || split.command === 'version') return parseQuestion(split.command, scanned);
  return parseOptions(split.command, scanned, env);
}

type Split =
  | { readonly command: Command; readonly rest: readonly string[]; readonly isImplied: boolean }
  | { readonly command: undefined; readonly rest: readonly string[]; readonly problem: string };

function splitCommand(argv: readonly string[]): Split {
  const [first, second = ''] = argv;
  if (first === undefined || first.startsWith('-')) return { command: 'run', rest: argv, isImplied: true };
  const both = `${first} ${second}`;
  if (isCommand(both)) return { command: both, rest: argv.slice(2), isImplied: false };
  if (isCommand(first)) return { command: first, rest: argv.slice(1), isImplied: false };
  return { command: undefined, rest: argv.slice(1), problem: unknownCommand(first, both) };
}

function unknownCommand(first: string, both: string): string {
  const inside = COMMAND_NAMES.filter((name) => name.startsWith(`${first} `));
  if (inside.length > 0) return `"${first}" needs a second word: ${inside.join(', ')}${hint(both, inside)}`;
  const nearest =
    hint(
      both,
      COMMAND_NAMES.filter((name) => name.includes(' ')),
    ) || hint(first, FIRST_WORDS);
  return `"${first}" is no command${nearest}; "tartan help" lists them`;
}

function asks(flags: readonly FlagUse[], name: string): boolean {
  return flags.some((flag) => flag.name === name && parseGoBoolean(flag.value ?? '') !== false);
}

/** An invocation to which no option matters. */
function plain(command: Command, args: readonly string[], dockerOpts?: Invocation['dockerOpts']): CommandLineResult {
  const reader = new OptionReader();
  const options = reader.read(command, new Map(), {});
  const { origins } = reader;
  return { ok: true, invocation: { command, options, args, warnings: [], origins, dockerOpts } };
}

function parseDockerOpts(argv: readonly string[]): CommandLineResult {
  const parsed = parseDockerOptsFlags(argv);
  if (!parsed.ok) return parsed;
  return parsed.wantsHelp ? plain('help', ['docker', 'opts']) : plain('docker opts', [], parsed.flags);
}

function parseQuestion(command: 'help' | 'version', { flags, positionals }: ScannedFlags): CommandLineResult {
  const problems = sortFlags(command, flags).problems;
  const topic = positionals.join(' ');
  if (command === 'version') problems.push(...positionals.map((word) => unexpected(command, word)));
  else if (topic !== '' && !COMMAND_NAMES.some((name) => name === topic || name.startsWith(`${topic} `))) {
    problems.push(`"${topic}" is no command${hint(topic, COMMAND_NAMES)}`);
  }
  return problems.length === 0 ? plain(command, positionals) : { ok: false, problems };
}

function parseOptions(command: Command, { flags, positionals }: ScannedFlags, env: Environment): CommandLineResult {
  const sorted = sortFlags(command, flags);
  const reader = new OptionReader();
  const options = reader.read(command, sorted.given, env);
  const variables = judgeVariables(env);
  const problems = [...sorted.problems, ...reader.problems];
  // Variables of the Kubernetes mode matter to the agent alone; the other commands share its environment file.
  if (command === 'run') problems.push(...variables.problems);
  problems.push(...positionals.slice(COMMANDS[command].maxArgs).map((word) => unexpected(command, word)));
  if (problems.length > 0) return { ok: false, problems: [...new Set(problems)] };
  const warnings = [...new Set([...sorted.warnings, ...reader.warnings, ...variables.warnings])];
  const { origins } = reader;
  return { ok: true, invocation: { command, options, args: positionals, warnings, origins, dockerOpts: undefined } };
}

function unexpected(command: Command, word: string): string {
  if (parseGoBoolean(word) !== undefined)
    return `unexpected argument "${word}"; a switch takes its value as --switch=${word}`;
  if (command === 'run' && isCommand(word)) return `unexpected argument "${word}"; the command comes before the flags`;
  return `unexpected argument "${word}"`;
}

interface SortedFlags {
  readonly given: Map<OptionKey, string[]>;
  readonly problems: string[];
  readonly warnings: string[];
}

/** Texts by option; what is no option of the command becomes a problem or a warning. */
function sortFlags(command: Command, flags: readonly FlagUse[]): SortedFlags {
  const sorted: SortedFlags = { given: new Map(), problems: [], warnings: [] };
  for (const { name, value } of flags) {
    const key = KEYS_BY_FLAG.get(name);
    if (!KNOWN_FLAGS.has(name)) sorted.problems.push(`--${name}: no such option${hint(name, flagsOf(command), '--')}`);
    else if (value === undefined) sorted.problems.push(`--${name}: needs a value`);
    else if (key === undefined) sortForeign(command, name, value, sorted);
    else if (isTakenBy(key, command)) sorted.given.set(key, [...(sorted.given.get(key) ?? []), value]);
    else sorted.problems.push(`--${name}: no option of "${command}"; it is one of ${OPTIONS[key].commands.join(', ')}`);
  }
  return sorted;
}

function sortForeign(command: Command, name: string, value: string, sorted: SortedFlags): void {
  const flag = FOREIGN_FLAGS.get(name);
  if (flag === undefined) return;
  if (command !== 'run') {
    sorted.problems.push(`--${name}: no option of "${command}"`);
    return;
  }
  const judgement = judgeForeign(flag, value);
  if (judgement === undefined) return;
  if ('refused' in judgement) sorted.problems.push(`--${name}: ${judgement.refused}`);
  else sorted.warnings.push(`--${name}: ${judgement.warning}`);
}

function flagsOf(command: Command): readonly string[] {
  return OPTION_KEYS.filter((key) => isTakenBy(key, command)).map(flagName);
}
