/** Operations as the kernel takes them: what one of ours means may need more than one of its own. */
import type { Kernel, KernelRefusal } from './kernel/kernel.ts';
import type { KernelView } from './kernel-view.ts';
import type { Planned } from './plan.ts';
import type { Operation } from './state.ts';

/**
 * Applies the operations; `view`: what the kernel had before. @returns by operation why it was refused, undefined where
 * it was not. Rejects with TartanError KERNEL where the kernel can't be spoken to.
 *
 * A route that stands behind somebody else's of the same key can't take its place (EEXIST). It carries nothing there, so
 * it leaves first.
 */
export async function applyOperations(
  kernel: Kernel,
  view: KernelView,
  operations: readonly Planned[],
): Promise<readonly (KernelRefusal | undefined)[]> {
  const plainFirst = operations.flatMap((one) => withoutMetrics(view, one));
  if (plainFirst.length > 0) await kernel.apply(plainFirst);
  const results = await kernel.apply(operations);
  const isHidden = ({ verb, object }: Operation, place: number): boolean =>
    object.kind === 'route' && verb === 'set' && results[place]?.errno === 'EEXIST';
  const hidden = operations.filter(isHidden);
  if (hidden.length === 0) return results;
  const answers = await kernel.apply(hidden.flatMap((one): Operation[] => [{ ...one, verb: 'delete' }, one]));
  const second = new Map(hidden.map((one, place) => [one, answers[place * 2 + 1]]));
  return operations.map((one, place) => (second.has(one) ? second.get(one) : results[place]));
}

/**
 * Where the same nexthop object is set again the kernel keeps the metrics that somebody gave the route (it finds the old
 * fib_info, fib_find_info_nh): it is made plain first. What that is refused for, the operation itself is, too.
 */
function withoutMetrics(view: KernelView, { key, verb, object, why }: Planned): readonly Operation[] {
  if (verb === 'delete' || object.kind !== 'route' || object.nexthopId === undefined) return [];
  const found = view.objects.get(key)?.object;
  if (found?.kind !== 'route' || found.extras === undefined || found.nexthopId !== object.nexthopId) return [];
  return [{ verb, object: { ...object, nexthopId: undefined }, why }];
}
