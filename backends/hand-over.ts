/**
 * Leaving the host to a flanneld: it deletes routes by their gateway, which the kernel does not match on a route that
 * hangs on a nexthop object (ESRCH, for ever). So our routes are made plain, in place, and our nexthops go. So does a
 * device whose packets nobody carries without us.
 */
import { isOurs, type Ownership } from './ownership.ts';
import type { Actual } from './plan.ts';
import { type KernelObject, type Operation, TARTAN_PROTOCOL } from './state.ts';

const WHY = 'handed over';

function isUnneeded(object: KernelObject, needed: ReadonlySet<number>): boolean {
  return object.kind === 'nexthop' && !needed.has(object.id);
}

/** Routes first: a nexthop that is deleted takes the routes on it along. */
export function handOver(actual: Actual, policy: Ownership): Operation[] {
  const plain: Operation[] = [];
  const needed = new Set<number>();
  for (const observed of actual.values()) {
    const { object, protocol } = observed;
    if (object.kind !== 'route' || object.nexthopId === undefined) continue;
    if (protocol === TARTAN_PROTOCOL && isOurs(observed, policy)) {
      plain.push({ verb: 'set', object: { ...object, nexthopId: undefined }, why: WHY });
    } else needed.add(object.nexthopId);
  }
  const gone = [...actual.values()].flatMap((observed): Operation[] => {
    const { object } = observed;
    const isOrphan = object.kind === 'link' ? object.vxlan === undefined : isUnneeded(object, needed);
    return isOrphan && isOurs(observed, policy) ? [{ verb: 'delete', object, why: WHY }] : [];
  });
  return [...plain, ...gone];
}
