import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

/** USER_HZ, which Linux shows to programs as 100 on every machine. */
export const TICKS_PER_SECOND = 100;

/** Time on a processor since its start, of all threads of the process and of the programs that it ran, seconds. */
export async function cpuSeconds(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  // The fields after the name, which may hold anything: utime, stime, cutime and cstime are 14 to 17 of all.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks), 0) / TICKS_PER_SECOND;
}

/** @returns percent of one core. */
export async function cpuIn(pid: number, ms: number): Promise<number> {
  const [from, before] = [performance.now(), await cpuSeconds(pid)];
  await sleep(ms);
  const used = (await cpuSeconds(pid)) - before;
  return (used * 1000 * 100) / (performance.now() - from);
}
