import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

/** USER_HZ, which Linux shows to programs as 100 on every machine. */
const TICKS_PER_SECOND = 100;

/** Time on a processor since its start, of all threads of the process, seconds. */
export async function cpuSeconds(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  // The fields after the name, which may hold anything: utime and stime are 14 and 15 of all.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

/** @returns percent of one core. */
export async function cpuIn(pid: number, ms: number): Promise<number> {
  const [from, before] = [performance.now(), await cpuSeconds(pid)];
  await sleep(ms);
  const used = (await cpuSeconds(pid)) - before;
  return (used * 1000 * 100) / (performance.now() - from);
}
