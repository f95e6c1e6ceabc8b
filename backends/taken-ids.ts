import type { Kernel } from './kernel/kernel.ts';
import type { Ownership } from './ownership.ts';
import { type Actual, conflicts, type Desired } from './plan.ts';

/** The ids of wanted nexthops at which somebody else's stand. `actual`: with the nexthops as just read. */
export async function takenIds(
  kernel: Kernel,
  desired: Desired,
  actual: Actual,
  policy: Ownership,
): Promise<ReadonlySet<number>> {
  const taken = conflicts(desired, actual, policy).map(({ wanted }) => wanted.id);
  return new Set([...taken, ...(await hiddenIds(kernel, desired, actual))]);
}

/** Blackholes, groups and whatever else has no gateway stand in no table of ours. */
async function hiddenIds(kernel: Kernel, desired: Desired, actual: Actual): Promise<readonly number[]> {
  const unseen: number[] = [];
  for (const [key, object] of desired) if (object.kind === 'nexthop' && !actual.has(key)) unseen.push(object.id);
  if (unseen.length === 0) return [];
  const all = await kernel.nexthopIds();
  return unseen.filter((id) => all.has(id));
}
