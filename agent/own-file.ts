/** Files that an earlier run wrote for this one: read only where nobody else can have written them, and in bounds. */
import { existsSync } from 'node:fs';
import { constants, open, rename, rm } from 'node:fs/promises';
import { toError } from '../config/errors.ts';
import { isMissing } from './atomic-file.ts';

/** `problem`: why what stands there is not ours to believe. */
export type OwnFile = { readonly text: string } | { readonly problem: string };

/** A file that was not believed. */
export interface Damage {
  readonly file: string;
  readonly problem: string;
  /** Where it is kept for whoever wants to look; undefined: it could not be moved. */
  readonly keptAs: string | undefined;
}

/** Neither a symbolic link nor a pipe, which would block, is followed. */
const FLAGS = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW;

/** The file's text, or why it is not to be believed; undefined where there is none. Never rejects. */
export async function readOwnFile(path: string, maxBytes: number): Promise<OwnFile | undefined> {
  try {
    const file = await open(path, FLAGS);
    try {
      const stat = await file.stat();
      if (!stat.isFile()) return { problem: 'it is no file' };
      if (stat.uid !== 0 && stat.uid !== process.geteuid?.()) return { problem: `it belongs to user ${stat.uid}` };
      if ((stat.mode & 0o022) !== 0) return { problem: 'others may write to it' };
      if (stat.size > maxBytes) return { problem: `it has ${stat.size} bytes, more than ${maxBytes}` };
      return { text: await file.readFile('utf8') };
    } finally {
      await file.close();
    }
  } catch (cause) {
    return isMissing(cause) ? undefined : { problem: toError(cause).message };
  }
}

export function damagedFile(file: string): string {
  return `${file}.damaged`;
}

/** Moves what stands there out of the way, in place of what was moved before. Never rejects. */
export async function setAside(file: string, problem: string): Promise<Damage> {
  const keptAs = damagedFile(file);
  try {
    await rm(keptAs, { recursive: true, force: true });
    await rename(file, keptAs);
    return { file, problem, keptAs };
  } catch {
    return { file, problem, keptAs: undefined };
  }
}

/** For the operator, for as long as it was not cleared away. */
export function damageProblem({ file, problem, keptAs }: Damage): string | undefined {
  if (keptAs === undefined) return `${file} is not believed (${problem}) and can't be moved: remove it`;
  if (!existsSync(keptAs)) return undefined;
  return `${file} was not believed (${problem}); look at ${keptAs}, then remove it`;
}
