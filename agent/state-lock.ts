/** One agent per state directory: a lock that dies with the process that holds it. */
import { mkdir, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { lockFile } from '../backends/kernel/syscalls.ts';
import { TartanError, toError } from '../config/errors.ts';
import { missingDirectories } from './journal.ts';

export interface StateLock {
  release(): void;
}

export function lockPath(stateDir: string): string {
  return join(stateDir, 'lock');
}

/**
 * Makes the directory if need be and takes its lock. Rejects with ALREADY_RUNNING or PERMISSION.
 * @returns made: the directories that were not there, the outermost first.
 */
export async function lockStateDir(stateDir: string): Promise<StateLock & { readonly made: readonly string[] }> {
  const made = missingDirectories([lockPath(stateDir)]);
  try {
    await mkdir(stateDir, { recursive: true, mode: 0o700 });
  } catch (cause) {
    const message = `cannot make the state directory ${stateDir} (--state-dir): ${toError(cause).message}`;
    throw new TartanError('PERMISSION', message, { cause });
  }
  const lock = lockFile(lockPath(stateDir));
  if ('release' in lock) return { release: lock.release, made };
  const who = lock.heldBy === undefined ? 'another process' : `pid ${lock.heldBy}`;
  const message = `${who} already works on ${stateDir}; a second network on this host needs its own --etcd-prefix and --subnet-file`;
  throw new TartanError('ALREADY_RUNNING', message, { data: { pid: lock.heldBy } });
}

/**
 * Whether process `pid` has the file open. The pid in a lock file was written in its writer's pid namespace: seen from
 * outside a container it may be another process altogether, which must not be signalled.
 */
export async function hasOpen(pid: number, path: string): Promise<boolean> {
  const wanted = await stat(path).catch(() => undefined);
  const fds = await readdir(`/proc/${pid}/fd`).catch(() => []);
  for (const fd of fds) {
    const found = await stat(`/proc/${pid}/fd/${fd}`).catch(() => undefined);
    if (wanted && found && found.ino === wanted.ino && found.dev === wanted.dev) return true;
  }
  return false;
}
