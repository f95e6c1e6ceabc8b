/**
 * Who started a lab's processes. Each carries `NETLAB=<lab>:<owner pid>:<owner start time>` in its environment, and so
 * do its descendants; the start time tells a reused pid. What is left of a killed run is found by that alone.
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

export const MARK = 'NETLAB';

export interface Mark {
  readonly lab: string;
  readonly owner: number;
  readonly started: string;
}

function readOrNothing(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}

/** Fields of /proc/PID/stat from the third on; the second, the name in brackets, may hold anything. */
function stat(pid: number): readonly string[] {
  const text = readOrNothing(`/proc/${pid}/stat`);
  return text.slice(text.lastIndexOf(')') + 2).split(' ');
}

/** Start time in clock ticks since boot; undefined: no such process, or a zombie. */
function startTime(pid: number): string | undefined {
  const fields = stat(pid);
  return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19];
}

export function markOf(lab: string): string {
  return `${lab}:${process.pid}:${startTime(process.pid) ?? '0'}`;
}

export function parseMark(text: string): Mark | undefined {
  const [lab, owner, started, ...rest] = text.split(':');
  if (lab === undefined || owner === undefined || started === undefined || rest.length > 0) return undefined;
  return /^\d+$/.test(owner) && lab !== '' ? { lab, owner: Number(owner), started } : undefined;
}

function readMark(pid: number): Mark | undefined {
  const entry = readOrNothing(`/proc/${pid}/environ`)
    .split('\0')
    .find((variable) => variable.startsWith(`${MARK}=`));
  return entry === undefined ? undefined : parseMark(entry.slice(MARK.length + 1));
}

/** The mount namespace tells a process that dropped its environment. */
export function mountNamespace(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/mnt`);
  } catch {
    return undefined;
  }
}

function livingPids(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => pid !== process.pid && startTime(pid) !== undefined);
}

export function sendKill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It ended by itself.
  }
}

/** Blocks: for exit handlers, which can't wait otherwise. */
export function pause(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

/** Kills, synchronously (an exit handler can't wait), until none that `isOurs` names is alive. @returns how many */
function killWhile(isOurs: (pid: number) => boolean): number {
  const killed = new Set<number>();
  for (let round = 0; round < 200; round++) {
    const left = livingPids().filter(isOurs);
    if (left.length === 0) break;
    for (const pid of left) {
      killed.add(pid);
      sendKill(pid);
    }
    pause(10);
  }
  return killed.size;
}

export function killLab(lab: string, mountNamespaces: ReadonlySet<string>): number {
  return killWhile((pid) => {
    const mark = readMark(pid);
    if (mark !== undefined) return mark.lab === lab && mark.owner === process.pid;
    const namespace = mountNamespace(pid);
    return namespace !== undefined && mountNamespaces.has(namespace);
  });
}

/** Everything in one mount namespace: a host that loses its power. */
export function killNamespace(namespace: string): number {
  return killWhile((pid) => mountNamespace(pid) === namespace);
}

/** Living processes of labs that this process made, or makes. */
export function labProcessesOf(owner: number): readonly number[] {
  return livingPids().filter((pid) => readMark(pid)?.owner === owner);
}

export function isOwnerAlive({ owner, started }: Mark): boolean {
  return startTime(owner) === started;
}

/** Kills what labs left behind whose owner is dead. */
export function sweepLabs(): number {
  return killWhile((pid) => {
    const mark = readMark(pid);
    return mark !== undefined && !isOwnerAlive(mark);
  });
}
