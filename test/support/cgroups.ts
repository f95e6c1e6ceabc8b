/**
 * Docker's containers are not in the lab's namespaces, and carry no mark; their cgroups belong to the machine. Each lab's
 * lie below one that is named after it and its owner, in every hierarchy: removed with the lab and with all that runs in
 * them, and swept where its owner was killed.
 */
import { existsSync, readdirSync, readFileSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { isOwnerAlive, markOf, parseMark, pause, sendKill } from './ownership.ts';

const ROOT = '/sys/fs/cgroup';
const PREFIX = 'netlab-';

/** As `dockerd --cgroup-parent` takes it. */
export function cgroupParent(lab: string): string {
  return `/${PREFIX}${markOf(lab)}`;
}

/** A hierarchy each with cgroup v1, the root itself with v2. */
function hierarchies(): readonly string[] {
  if (existsSync(join(ROOT, 'cgroup.procs'))) return [ROOT];
  return existsSync(ROOT) ? readdirSync(ROOT).map((name) => join(ROOT, name)) : [];
}

/** A cgroup goes by rmdir, innermost first; its files are the kernel's. It does not go while a process is in it. */
export function removeCgroup(path: string): void {
  if (!existsSync(path)) return;
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    if (entry.isDirectory()) removeCgroup(join(path, entry.name));
  }
  rmdirSync(path);
}

function killIn(path: string): void {
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    if (entry.isDirectory()) killIn(join(path, entry.name));
  }
  const pids = readFileSync(join(path, 'cgroup.procs'), 'utf8')
    .split('\n')
    .filter((line) => line !== '');
  for (const pid of pids) sendKill(Number(pid));
}

function removeAll(isWanted: (name: string) => boolean): void {
  for (const hierarchy of hierarchies()) {
    for (const name of readdirSync(hierarchy)) {
      if (!name.startsWith(PREFIX) || !isWanted(name.slice(PREFIX.length))) continue;
      killIn(join(hierarchy, name));
      removeCgroup(join(hierarchy, name));
    }
  }
}

/** Once nobody in the lab can start containers any more. Synchronous, for exit handlers. */
export function removeLabCgroups(lab: string): void {
  const mark = markOf(lab);
  for (let tries = 1; ; tries++) {
    try {
      removeAll((name) => name === mark);
      return;
    } catch (fault: unknown) {
      // A process needs a moment to end.
      if (tries === 100) throw fault;
      pause(10);
    }
  }
}

/** Removes what was left behind by those who were killed; what does not go yet is left to the next who sweeps. */
export function sweepCgroups(): void {
  try {
    removeAll((name) => {
      const mark = parseMark(name);
      return mark !== undefined && !isOwnerAlive(mark);
    });
  } catch {
    // A process is still ending in it, or another sweeps too.
  }
}
