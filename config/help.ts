/** Help for people, made from the tables of commands and options. */
import { COMMAND_NAMES, COMMANDS, type Command, isCommand } from './commands.ts';
import { DOCKER_OPTS_FLAGS } from './docker-opts-flags.ts';
import { variablesOf } from './environment.ts';
import { flagName, GROUPS, isTakenBy, OPTION_KEYS, OPTIONS, type OptionKey } from './options.ts';

const WIDTH = 100;
const COLUMN = 32;

/** Help for one command, for all commands that start with the word, or without either for the program. */
export function helpText(command?: string): string {
  if (command === undefined || command === '') return programHelp();
  if (isCommand(command)) return commandHelp(command);
  const inside = COMMAND_NAMES.filter((name) => name.startsWith(`${command} `));
  return inside.length === 0 ? programHelp() : inside.map(commandHelp).join('\n');
}

function programHelp(): string {
  const commands = COMMAND_NAMES.map((name) => entry(`${name} ${COMMANDS[name].args}`.trim(), COMMANDS[name].summary));
  return [
    'tartan leases a subnet for this host from etcd and keeps the routes to the other hosts in step.',
    '',
    'Usage: tartan [COMMAND] [OPTION]...',
    '',
    'Commands:',
    ...commands,
    '',
    ...optionSections('run', 'Options of run'),
    ...closing(),
  ].join('\n');
}

function commandHelp(command: Command): string {
  const { args, summary } = COMMANDS[command];
  const options = command === 'docker opts' ? dockerOptsSection() : [...optionSections(command), ...closing()];
  return [`Usage: ${`tartan ${command} [OPTION]... ${args}`.trim()}`, '', `${summary}.`, '', ...options].join('\n');
}

function closing(): string[] {
  const text =
    'Each option may also be given as a variable TARTAN_<NAME>, and those of flanneld as FLANNELD_<NAME>: --etcd-prefix is TARTAN_ETCD_PREFIX. A flag wins over a variable. Switches take a value after "=" only: --json=false.';
  return [...wrapped(text, WIDTH), ''];
}

function optionSections(command: Command, heading = 'Options'): string[] {
  return GROUPS.flatMap((group) => {
    const keys = OPTION_KEYS.filter((key) => OPTIONS[key].group === group && isTakenBy(key, command));
    return keys.length === 0 ? [] : [`${heading} (${group}):`, ...keys.map(optionEntry), ''];
  });
}

function optionEntry(key: OptionKey): string {
  const fallback = defaultOf(key);
  const doc = OPTIONS[key].doc + (fallback === '' ? '' : ` (default: ${fallback})`);
  return entry(`--${flagName(key)} ${OPTIONS[key].kind.metavar}`.trim(), doc);
}

function dockerOptsSection(): string[] {
  const entries = Object.entries(DOCKER_OPTS_FLAGS).map(([letter, flag]) => {
    const doc = flag.doc + (flag.default === '' ? '' : ` (default: ${flag.default})`);
    return entry(`${letter.length === 1 ? '-' : '--'}${letter} ${flag.metavar}`.trim(), doc);
  });
  return ['Options:', ...entries, ''];
}

/** The default in words; "" where it is nothing. */
function defaultOf(key: OptionKey): string {
  const { defaultText, default: value } = OPTIONS[key];
  if (defaultText !== undefined) return defaultText;
  if (value === undefined || value === false) return '';
  return Array.isArray(value) ? value.join(',') : String(value);
}

function entry(left: string, right: string): string {
  const lines = wrapped(right, WIDTH - COLUMN);
  const head = `  ${left}`;
  const indent = ' '.repeat(COLUMN);
  const first = head.length < COLUMN - 1 ? [head.padEnd(COLUMN) + (lines.shift() ?? '')] : [head];
  return [...first, ...lines.map((line) => indent + line)].join('\n');
}

function wrapped(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const last = lines.at(-1);
    if (last === undefined || last.length + 1 + word.length > width) lines.push(word);
    else lines[lines.length - 1] = `${last} ${word}`;
  }
  return lines;
}

/** All options as a Markdown table, for the README. */
export function optionTableMarkdown(): string {
  const rows = GROUPS.flatMap((group) => OPTION_KEYS.filter((key) => OPTIONS[key].group === group).map(markdownRow));
  return ['| Option | Default | Variables | Commands | |', '|---|---|---|---|---|', ...rows, ''].join('\n');
}

function markdownRow(key: OptionKey): string {
  const { kind, defaultText, doc, commands } = OPTIONS[key];
  const fallback = defaultOf(key);
  const cells = [
    code(`--${flagName(key)} ${kind.metavar}`.trim()),
    fallback === '' ? '' : (defaultText ?? code(fallback)),
    variablesOf(key).map(code).join(' '),
    commands.join(', '),
    doc,
  ];
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|').replaceAll('<', '&lt;')).join(' | ')} |`;
}

function code(text: string): string {
  return `\`${text}\``;
}
