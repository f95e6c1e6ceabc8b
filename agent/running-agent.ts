/** Stopping an agent from outside: asked first, then made to. What it has in the kernel stays either way. */
import { readFile, stat } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { lockFile } from '../backends/kernel/syscalls.ts';
import { TartanError } from '../config/errors.ts';
import type { StateLock } from './state-lock.ts';
import { hasOpen, lockPath } from './state-lock.ts';
import { supervisorOf } from './supervisor.ts';

const STOP_WITHIN_MS = 10_000;
const KILL_WITHIN_MS = 5_000;
const POLL_MS = 50;

/**
 * Stops the agent of the state directory, if one runs, and takes its lock, so that no other one starts meanwhile.
 * Rejects with ALREADY_RUNNING where it can't be told or does not end, PERMISSION where it may not be signalled.
 */
export async function stopAgent(stateDir: string, say: (text: string) => void): Promise<StateLock> {
  const path = lockPath(stateDir);
  const stopping = new Map<number, Stopping>();
  for (;;) {
    const lock = lockFile(path);
    if ('release' in lock) {
      for (const each of stopping.values()) say(each.told());
      return lock;
    }
    const pid = await holderOf(path, lock.heldBy);
    // Between two looks it may have ended.
    if (pid === undefined && 'release' in (await later(path))) continue;
    if (pid === undefined) throw unseen(path, lock.heldBy);
    const known = stopping.get(pid);
    if (known) known.insist(stateDir);
    else stopping.set(pid, await Stopping.begin(pid));
    await sleep(POLL_MS);
  }
}

/** One who holds it has just begun, and not yet written who it is. */
async function later(path: string): Promise<ReturnType<typeof lockFile>> {
  await sleep(POLL_MS);
  const lock = lockFile(path);
  if ('release' in lock) lock.release();
  return lock;
}

class Stopping {
  readonly #pid: number;
  readonly #supervisor: string | undefined;
  readonly #askedAt = performance.now();
  #killedAt: number | undefined;

  private constructor(pid: number, supervisor: string | undefined) {
    this.#pid = pid;
    this.#supervisor = supervisor;
  }

  static async begin(pid: number): Promise<Stopping> {
    const stopping = new Stopping(pid, await supervisorOf(pid));
    signal(pid, 'SIGTERM');
    return stopping;
  }

  /** It still runs. One that hangs, or was stopped (SIGSTOP), is killed: that is a crash, and the kernel stays as it is. */
  insist(stateDir: string): void {
    const now = performance.now();
    if (this.#killedAt === undefined && now - this.#askedAt > STOP_WITHIN_MS) {
      this.#killedAt = now;
      signal(this.#pid, 'SIGKILL');
    }
    if (now - (this.#killedAt ?? now) < KILL_WITHIN_MS) return;
    const message = `the agent of ${stateDir} (pid ${this.#pid}) does not end, not even by SIGKILL: it waits for a device or a file system that hangs`;
    throw new TartanError('ALREADY_RUNNING', message, { data: { pid: this.#pid } });
  }

  told(): string {
    const how =
      this.#killedAt === undefined ? 'stopped' : `killed, as it did not end within ${STOP_WITHIN_MS / 1000} s,`;
    const whose = this.#supervisor === undefined ? '' : `; it ran in ${this.#supervisor}`;
    return `${how} the agent (pid ${this.#pid})${whose}`;
  }
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EPERM')) return;
    throw new TartanError('PERMISSION', `may not stop the agent (pid ${pid}): be root`, { cause: error });
  }
}

/**
 * The pid, as seen from here, that holds the lock. What the lock file says was written in its writer's pid namespace: an
 * agent in a container is another process there, and the kernel's own table of locks tells which.
 */
async function holderOf(path: string, written: number | undefined): Promise<number | undefined> {
  const inode = String((await stat(path).catch(() => undefined))?.ino);
  const table = await readFile('/proc/locks', 'utf8').catch(() => '');
  for (const pid of [...(written === undefined ? [] : [written]), ...holdersIn(table, inode)]) {
    if (await hasOpen(pid, path)) return pid;
  }
  return undefined;
}

/** @param table `1: FLOCK  ADVISORY  WRITE 1234 08:01:5678 0 EOF`, proc_locks(5); the device is not compared */
export function holdersIn(table: string, inode: string): readonly number[] {
  return table.split('\n').flatMap((line) => {
    const [, type, , , pid, file] = line.trim().split(/\s+/);
    const isIt = type === 'FLOCK' && file?.split(':')[2] === inode && Number(pid) > 0;
    return isIt ? [Number(pid)] : [];
  });
}

function unseen(path: string, pid: number | undefined): TartanError {
  const who = pid === undefined ? '' : `, and is not pid ${pid} as seen from here`;
  const message = `an agent holds ${path}${who} (does it run in a container, or as another user?); stop it there, then try again`;
  return new TartanError('ALREADY_RUNNING', message, { data: { pid } });
}
