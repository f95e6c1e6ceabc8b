/** Finds docker.service where systemd does: systemd.unit(5), "Unit File Load Path". */
import { stat } from 'node:fs/promises';
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
 * undefined where there is no such unit, it is masked, or systemd does not run this host. Never rejects.
 * @param optionsFile tartan's own.
 * @param root for tests: what stands before each path.
 */
export async function readDockerUnit(optionsFile: string, root = ''): Promise<DockerUnit | undefined> {
  const problems: string[] = [];
  if (!(await isBooted(root))) return undefined;
  const main = await mainFile(root, problems);
  if (!main?.text) return undefined;
  const unit = parseUnit([main, ...(await dropIns(root, problems))]);
  const [all, others] = await variablesOf(unit, optionsFile, root, problems);
  const command = unit.execStart ?? '';
  const [words, othersWords] = [commandWords(command, all), commandWords(command, others)];
  const listed = unit.environmentFiles.find(({ path }) => path === optionsFile);
  // Before the file is there nothing tells whether the command has its variable.
  const isUsed = words.join(' ') !== othersWords.join(' ') || !(await readSmallFile(join(root, optionsFile)));
  const ownOptions = listed && isUsed ? { isOptional: listed.isOptional } : undefined;
  return { ...unit, words, othersWords, ownOptions, searchPath: others.get('PATH') ?? PROGRAMS, problems };
}

/** sd_booted(3) */
async function isBooted(root: string): Promise<boolean> {
  const found = await stat(join(root, '/run/systemd/system')).catch(() => undefined);
  return found?.isDirectory() === true;
}

async function mainFile(root: string, problems: string[]): Promise<UnitPart | undefined> {
  for (const directory of DIRECTORIES) {
    const text = await textOf(join(root, directory, NAME), problems);
    if (text !== undefined) return { path: join(directory, NAME), text };
  }
  return undefined;
}

/** In the order of their names, whatever directory they are in; of two of one name the first directory's counts. */
async function dropIns(root: string, problems: string[]): Promise<UnitPart[]> {
  const found = new Map<string, string>();
  for (const kind of [`${NAME}.d`, 'service.d']) {
    for (const directory of DIRECTORIES) {
      for (const name of await namesIn(join(root, directory, kind))) {
        if (name.endsWith('.conf') && !found.has(name)) found.set(name, join(directory, kind, name));
      }
    }
  }
  const parts: UnitPart[] = [];
  for (const [, path] of [...found].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const text = await textOf(join(root, path), problems);
    if (text !== undefined) parts.push({ path, text });
  }
  return parts;
}

async function textOf(path: string, problems: string[]): Promise<string | undefined> {
  const file = await readSmallFile(path);
  if (file && 'problem' in file) problems.push(`${path} can't be read: ${file.problem}`);
  return file && 'text' in file ? file.text : undefined;
}

type Variables = ReadonlyMap<string, string>;

/** With tartan's options file, and without it. Files win over Environment=. */
async function variablesOf(
  unit: Unit,
  optionsFile: string,
  root: string,
  problems: string[],
): Promise<readonly [Variables, Variables]> {
  const all = new Map(unit.environment);
  const others = new Map(unit.environment);
  for (const { path } of unit.environmentFiles) {
    const variables = parseEnvironmentFile((await textOf(join(root, path), problems)) ?? '');
    for (const [name, value] of variables) {
      all.set(name, value);
      if (path !== optionsFile) others.set(name, value);
    }
  }
  return [all, others];
}
