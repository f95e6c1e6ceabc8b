/** What an outcome is worth against what its fault promises. */
import type { Outcome } from './trial.ts';

/** One promise that was not kept, in words; undefined: all were. `factor`: how much later than promised is allowed. */
export function brokenPromise({ fault, healedMs, lost, why }: Outcome, factor = 1): string | undefined {
  if (healedMs === undefined) return `not healed: ${why}`;
  if (healedMs > fault.withinMs * factor)
    return `healed after ${healedMs.toFixed()} ms, promised: ${fault.withinMs} ms`;
  const most = fault.loses ?? Number.POSITIVE_INFINITY;
  return lost > most * factor ? `${lost} packets lost, promised: at most ${most}` : undefined;
}
