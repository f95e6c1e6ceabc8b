/** Finds docker.service where systemd does: systemd.unit(5), "Unit File Load Path". */
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { namesIn, readSmallFile } from './small-file.ts';
import { commandWords, parseEnvironmentFile, parseUnit, type Unit, type UnitPart } from './unit-file.ts';

const NAME = 'docker.service';

/** The first that has a file counts. */
const DIRECTORIES = [
  '/etc/systemd/system.control',
  '/run/systemd/system.control',
  '/run/systemd/transient',
  '/etc/systemd/system',
  '/run/systemd/system',
  '/usr/local/lib/systemd/system',
  '/usr/lib/systemd/system',
  '/lib/systemd/system',
];

/** Where systemd looks for a program without a path. */
const PROGRAMS = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'].join(delimiter);

export interface DockerUnit extends Unit {
  /** The command with all variables. */
  readonly words: readonly string[];
  /** The same without what tartan's own options file says. */
  readonly othersWords: readonly string[];
  /** Whether tartan's own options file comes to be part of the command; undefined where it does not. */
  readonly ownOptions: { readonly isOptional: boolean } | undefined;
  readonly searchPath: string;
  readonly problems: readonly string[];
}

/**
 * undefined where there is no such unit, it is masked, or systemd does not run this host. Never throws.
 * @param optionsFile tartan's own.
 * @param root for tests: what stands before each path.
 */
export function readDockerUnit(optionsFile: string, root = ''): DockerUnit | undefined {
  const problems: string[] = [];
  // sd_booted(3)
  if (!existsSync(join(root, '/run/systemd/system'))) return undefined;
  const main = mainFile(root, problems);
  if (!main?.text) return undefined;
  const unit = parseUnit([main, ...dropIns(root, problems)]);
  const [all, others] = variablesOf(unit, optionsFile, root, problems);
  const command = unit.execStart ?? '';
  const [words, othersWords] = [commandWords(command, all), commandWords(command, others)];
  const listed = unit.environmentFiles.find(({ path }) => path === optionsFile);
  // Before the file is there nothing tells whether the command has its variable.
  const isUsed = words.join(' ') !== othersWords.join(' ') || !readSmallFile(join(root, optionsFile));
  const ownOptions = listed && isUsed ? { isOptional: listed.isOptional } : undefined;
  return { ...unit, words, othersWords, ownOptions, searchPath: others.get('PATH') ?? PROGRAMS, problems };
}

function mainFile(root: string, problems: string[]): UnitPart | undefined {
  for (const directory of DIRECTORIES) {
    const text = textOf(join(root, directory, NAME), problems);
    if (text !== undefined) return { path: join(directory, NAME), text };
  }
  return undefined;
}

/** In the order of their names, whatever directory they are in; of two of one name the first directory's counts. */
function dropIns(root: string, problems: string[]): UnitPart[] {
  const found = new Map<string, string>();
  for (const kind of [`${NAME}.d`, 'service.d']) {
    for (const directory of DIRECTORIES) {
      for (const name of namesIn(join(root, directory, kind))) {
        if (name.endsWith('.conf') && !found.has(name)) found.set(name, join(directory, kind, name));
      }
    }
  }
  const parts: UnitPart[] = [];
  for (const [, path] of [...found].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const text = textOf(join(root, path), problems);
    if (text !== undefined) parts.push({ path, text });
  }
  return parts;
}

function textOf(path: string, problems: string[]): string | undefined {
  const file = readSmallFile(path);
  if (file && 'problem' in file) problems.push(`${path} can't be read: ${file.problem}`);
  return file && 'text' in file ? file.text : undefined;
}

type Variables = ReadonlyMap<string, string>;

/** With tartan's options file, and without it. Files win over Environment=. */
function variablesOf(
  unit: Unit,
  optionsFile: string,
  root: string,
  problems: string[],
): readonly [Variables, Variables] {
  const all = new Map(unit.environment);
  const others = new Map(unit.environment);
  for (const { path } of unit.environmentFiles) {
    const variables = parseEnvironmentFile(textOf(join(root, path), problems) ?? '');
    for (const [name, value] of variables) {
      all.set(name, value);
      if (path !== optionsFile) others.set(name, value);
    }
  }
  return [all, others];
}
