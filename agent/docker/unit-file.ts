/**
 * The unit docker.service as systemd puts it together from its file and the drop-ins, as far as Docker's command line
 * and its order at boot go: systemd.syntax(7), systemd.service(5) "Command lines". Pure.
 */
import { parseEnv } from 'node:util';

/** One file of the unit, in the order in which systemd reads them. */
export interface UnitPart {
  readonly path: string;
  readonly text: string;
}

export interface Unit {
  /** The last ExecStart that counts, as it stands there; undefined where there is none. */
  readonly execStart: string | undefined;
  /** The file that has it. */
  readonly execStartFrom: string;
  /** Of Environment=, in the order of assignment. */
  readonly environment: ReadonlyMap<string, string>;
  readonly environmentFiles: readonly { readonly path: string; readonly isOptional: boolean }[];
  /** Names of units that it starts after. */
  readonly after: ReadonlySet<string>;
}

/** Never throws: what makes no sense is passed over, as systemd does. */
export function parseUnit(parts: readonly UnitPart[]): Unit {
  let execStart: string | undefined;
  let execStartFrom = '';
  const environment = new Map<string, string>();
  let environmentFiles: { path: string; isOptional: boolean }[] = [];
  const after = new Set<string>();
  for (const { path, text } of parts) {
    for (const [key, value] of settingsOf(text)) {
      if (key === 'Service.ExecStart') [execStart, execStartFrom] = [value || undefined, path];
      else if (key === 'Service.Environment') assign(environment, value);
      else if (key === 'Unit.After') addNames(after, value);
      else if (key === 'Service.EnvironmentFile') {
        if (value === '') environmentFiles = [];
        else environmentFiles.push({ path: value.replace(/^-/, ''), isOptional: value.startsWith('-') });
      }
    }
  }
  return { execStart, execStartFrom, environment, environmentFiles, after };
}

/** `Section.Key` and the value, in order. A line that ends in a backslash goes on in the next one. */
function settingsOf(text: string): [string, string][] {
  const settings: [string, string][] = [];
  let section = '';
  for (const line of logicalLines(text)) {
    const header = /^\[(.+)\]$/.exec(line);
    if (header) section = header[1] ?? '';
    const at = line.indexOf('=');
    if (!header && at > 0) settings.push([`${section}.${line.slice(0, at).trim()}`, line.slice(at + 1).trim()]);
  }
  return settings;
}

function logicalLines(text: string): string[] {
  const lines: string[] = [];
  let begun = '';
  for (const line of text.split('\n')) {
    if (/^\s*[#;]/.test(line)) continue;
    if (line.endsWith('\\')) begun += `${line.slice(0, -1)} `;
    else {
      lines.push((begun + line).trim());
      begun = '';
    }
  }
  return begun === '' ? lines : [...lines, begun.trim()];
}

function assign(environment: Map<string, string>, value: string): void {
  if (value === '') environment.clear();
  for (const word of splitWords(value)) {
    const at = word.indexOf('=');
    if (at > 0) environment.set(word.slice(0, at), word.slice(at + 1));
  }
}

function addNames(names: Set<string>, value: string): void {
  if (value === '') names.clear();
  for (const name of splitWords(value)) names.add(name);
}

/** Words apart by white space; quotes hold together, a backslash takes the next character as it is. */
export function splitWords(text: string): string[] {
  const words: string[] = [];
  for (const [word] of text.matchAll(/(?:"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|\\.|[^\s"'\\]|["'\\])+/gs)) {
    words.push(word.replace(/"((?:\\.|[^"\\])*)"|'((?:\\.|[^'\\])*)'|\\(.)/gs, unquoted));
  }
  return words;
}

function unquoted(_all: string, double: string | undefined, single: string | undefined, escaped: string | undefined) {
  return escaped ?? (double ?? single ?? '').replace(/\\(.)/gs, '$1');
}

/**
 * The words of a command line with its variables put in: `$NAME` alone is split at white space (none where it is not
 * set), `${NAME}` stays in its word. The prefixes `@-:+!` are no part of it.
 */
export function commandWords(execStart: string, variables: ReadonlyMap<string, string>): string[] {
  const prefix = /^[@:+!|-]*/.exec(execStart)?.[0] ?? '';
  const [program, ...rest] = splitWords(execStart.slice(prefix.length).trim());
  if (program === undefined) return [];
  // After `@` the second word is what the program is told to be called.
  const words = prefix.includes('@') ? rest.slice(1) : rest;
  const expanded = prefix.includes(':') ? words : words.flatMap((word) => expand(word, variables));
  return [program, ...expanded.map((word) => word.replaceAll('%%', '%'))];
}

function expand(word: string, variables: ReadonlyMap<string, string>): string[] {
  const alone = /^\$([A-Za-z_]\w*)$/.exec(word);
  if (alone) return splitWords(variables.get(alone[1] ?? '') ?? '');
  return [
    word.replace(/\$\$|\$\{([A-Za-z_]\w*)\}/g, (_all, name?: string) => (name ? (variables.get(name) ?? '') : '$')),
  ];
}

/** The variables of an EnvironmentFile. */
export function parseEnvironmentFile(text: string): ReadonlyMap<string, string> {
  const variables = new Map<string, string>();
  for (const [name, value] of Object.entries(parseEnv(text))) variables.set(name, value ?? '');
  return variables;
}
