/** What is left of tartan on a host once its network is down: the state directory, and directories that it made. */
import { readdir, rm, rmdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { TartanError, toError } from '../config/errors.ts';
import { CODE_FILE } from './code-cache.ts';

/** Where state directories are unless another place is named; whatever is empty in there was made for one. */
const STATE_ROOT = '/var/lib/tartan';
/** The unit's CacheDirectory=, where the launcher keeps V8's code. */
export const CACHE_DIR = '/var/cache/tartan';
/** All that tartan writes into a state directory. */
const OURS = /^(state\.json|cluster\.jsonl|\..*\.tartan-new|.*\.damaged)$/;
/** These go last, in this order: what was made is known, and no other agent starts, as long as they are there. */
const LAST = ['state.json', 'lock'];

/**
 * Removes what tartan writes into a state directory, and those of the directories that are empty then. What else lies
 * there stays, and its directories with it. Called with the lock held. Rejects with PERMISSION.
 * @param made directories that tartan made.
 * @returns what was done, or what stays, in words.
 */
export async function purge(stateDir: string, made: readonly string[]): Promise<string> {
  try {
    await removeIfEmpty(made.filter((dir) => !isWithin(stateDir, dir)));
    const names = (await readdir(stateDir)).filter((name) => OURS.test(name) && !LAST.includes(name));
    for (const name of [...names, ...LAST]) await rm(join(stateDir, name), { recursive: true, force: true });
    const others = await readdir(stateDir);
    await removeIfEmpty([stateDir, ...made, ...parentsOf(stateDir)]);
    return others.length === 0
      ? `removed ${stateDir}`
      : `left ${stateDir}: tartan did not write ${others.join(', ')} there`;
  } catch (cause) {
    throw new TartanError('PERMISSION', `cannot remove ${stateDir}: ${toError(cause).message}`, { cause });
  }
}

/** As purge, where the state directory is gone already: an earlier one was cut short. */
export async function purgeParents(stateDir: string): Promise<void> {
  await removeIfEmpty(parentsOf(stateDir));
}

/** Removes V8's code, and what was left half-written of it. What can't be removed is no reason to fail. */
export async function purgeCode(cacheDir: string): Promise<void> {
  const names = await readdir(cacheDir).catch(() => []);
  for (const name of names)
    if (CODE_FILE.test(name)) await rm(join(cacheDir, name), { force: true }).catch(() => undefined);
  await removeIfEmpty([cacheDir]);
}

/** Whether `path` is in the directory, or is it. */
function isWithin(path: string, dir: string): boolean {
  return path === dir || path.startsWith(`${dir}/`);
}

function parentsOf(stateDir: string): readonly string[] {
  const found: string[] = [];
  for (let dir = dirname(stateDir); isWithin(dir, STATE_ROOT); dir = dirname(dir)) found.push(dir);
  return found;
}

/** The innermost first. What is in use, or was removed by somebody else, is not ours to mind. */
async function removeIfEmpty(directories: readonly string[]): Promise<void> {
  const innermostFirst = [...new Set(directories)].sort((a, b) => b.length - a.length);
  for (const dir of innermostFirst) await rmdir(dir).catch(() => undefined);
}
