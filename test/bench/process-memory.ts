import { readFile } from 'node:fs/promises';

/** Of /proc/PID/status, MB. */
export async function memoryOf(pid: number): Promise<{ peak: number; resident: number }> {
  const text = await readFile(`/proc/${pid}/status`, 'utf8');
  const megabytes = (key: string) => Number(new RegExp(`^${key}:\\s+(\\d+) kB`, 'm').exec(text)?.[1]) / 1024;
  return { peak: megabytes('VmHWM'), resident: megabytes('VmRSS') };
}
