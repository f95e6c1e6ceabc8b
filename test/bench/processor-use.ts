import { readFileSync } from 'node:fs';
import { TICKS_PER_SECOND } from './processor-time.ts';

/** How long the machine's processors have worked since it was started, all together, in seconds: programs and kernel. */
export function machineSeconds(): number {
  const [first = ''] = readFileSync('/proc/stat', 'utf8').split('\n');
  // user nice system idle iowait irq softirq steal
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0] = first.trim().split(/\s+/).slice(1).map(Number);
  return (user + nice + system + irq + softirq) / TICKS_PER_SECOND;
}
