import type { Kernel } from './kernel/kernel.ts';
import { isOurs, type Ownership } from './ownership.ts';
import type { Actual } from './plan.ts';

/** Of wanted nexthop ids, those at which somebody else's object stands, and those at which nothing is seen. */
export function standing(
  wanted: Iterable<number>,
  actual: Actual,
  policy: Ownership,
): { readonly taken: readonly number[]; readonly unseen: readonly number[] } {
  const taken: number[] = [];
  const unseen: number[] = [];
  for (const id of wanted) {
    const found = actual.get(`nexthop ${id}`);
    if (found === undefined) unseen.push(id);
    else if (!isOurs(found, policy)) taken.push(id);
  }
  return { taken, unseen };
}

/**
 * The wanted nexthop ids at which somebody else's object stands: the gateways need others (NexthopIds.avoid).
 * @param actual with the nexthops as just read.
 */
export async function takenIds(
  kernel: Kernel,
  wanted: Iterable<number>,
  actual: Actual,
  policy: Ownership,
): Promise<ReadonlySet<number>> {
  const { taken, unseen } = standing(wanted, actual, policy);
  if (unseen.length === 0) return new Set(taken);
  // Blackholes, groups and whatever else has no gateway stand in no table of ours.
  const all = await kernel.nexthopIds();
  return new Set([...taken, ...unseen.filter((id) => all.has(id))]);
}
