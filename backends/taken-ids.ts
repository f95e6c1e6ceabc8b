import type { Kernel } from './kernel/kernel.ts';
import { isOurs, type Ownership } from './ownership.ts';
import type { Actual } from './plan.ts';

/**
 * The wanted nexthop ids at which somebody else's object stands, so that the gateway needs another one
 * (NexthopIds.avoid), and those at which nothing is seen.
 */
export function conflicts(
  wanted: Iterable<number>,
  actual: Actual,
  policy: Ownership,
): { readonly taken: readonly number[]; readonly unseen: readonly number[] } {
  const taken: number[] = [];
  const unseen: number[] = [];
  for (const id of wanted) {
    const standing = actual.get(`nexthop ${id}`);
    if (standing === undefined) unseen.push(id);
    else if (!isOurs(standing, policy)) taken.push(id);
  }
  return { taken, unseen };
}

/** All of the first. `actual`: with the nexthops as just read. */
export async function takenIds(
  kernel: Kernel,
  wanted: Iterable<number>,
  actual: Actual,
  policy: Ownership,
): Promise<ReadonlySet<number>> {
  const { taken, unseen } = conflicts(wanted, actual, policy);
  if (unseen.length === 0) return new Set(taken);
  // Blackholes, groups and whatever else has no gateway stand in no table of ours.
  const all = await kernel.nexthopIds();
  return new Set([...taken, ...unseen.filter((id) => all.has(id))]);
}
