/** Operations as the kernel takes them: what one of ours means may need more than one of its own. */
import { familyOf, ipFromBigInt, prefixOf } from '../config/address.ts';
import type { Kernel, KernelRefusal } from './kernel/kernel.ts';
import type { KernelView } from './kernel-view.ts';
import type { Planned } from './plan.ts';
import type { Operation, Route } from './state.ts';

type Results = readonly (KernelRefusal | undefined)[];

/** Any link-local address: as a gateway the kernel takes it unseen. */
const LINK_LOCAL = ipFromBigInt((0xfe80n << 112n) | 1n, 6);

/**
 * Applies the operations; `view`: what the kernel had before. @returns by operation why it was refused, undefined where
 * it was not. Rejects with TartanError KERNEL where the kernel can't be spoken to.
 */
export async function applyOperations(
  kernel: Kernel,
  view: KernelView,
  operations: readonly Planned[],
): Promise<Results> {
  const plainFirst = plainRoutes(view, operations);
  if (plainFirst.length > 0) await kernel.apply(plainFirst);
  const results = await kernel.apply(operations);
  const without = await again(kernel, operations, results, fromBehind);
  return again(kernel, operations, without, overStandIn);
}

/** `around`: the operation itself and what it needs before and after, none where it is not to be tried again. */
async function again(
  kernel: Kernel,
  operations: readonly Operation[],
  results: Results,
  around: (one: Operation, errno: string) => readonly Operation[],
): Promise<Results> {
  // Nearly always nothing is refused, of ten thousands of operations.
  if (!results.some((refusal) => refusal !== undefined)) return results;
  const asked = operations.flatMap((one, place) => around(one, results[place]?.errno ?? ''));
  if (asked.length === 0) return results;
  const answers = await kernel.apply(asked);
  const second = new Map(asked.map((one, place) => [one, answers[place]]));
  return operations.map((one, place) => (second.has(one) ? second.get(one) : results[place]));
}

/**
 * A route that stands behind somebody else's of the same key can't take its place (EEXIST). It carries nothing there, so
 * it leaves first.
 */
function fromBehind(one: Operation, errno: string): readonly Operation[] {
  const isHidden = one.object.kind === 'route' && one.verb === 'set' && errno === 'EEXIST';
  return isHidden ? [{ ...one, verb: 'delete' }, one] : [];
}

/**
 * An IPv6 gateway that somebody's route sends to another device is refused, on-link or not (EINVAL,
 * ip6_route_check_nh_onlink): be it the very route that ours is to replace, or one to all of the network. It is looked up
 * only then, so a route to it alone stands in meanwhile.
 */
function overStandIn(one: Operation, errno: string): readonly Operation[] {
  const { verb, object, why } = one;
  if (errno !== 'EINVAL' || verb === 'delete') return [];
  if (object.kind !== 'nexthop' && object.kind !== 'route') return [];
  const { dev, gateway } = object;
  if (gateway === undefined || familyOf(gateway) === 4) return [];
  // Refused because its nexthop was.
  if (object.kind === 'route' && object.nexthopId !== undefined) return [one];
  if (!object.onlink) return [];
  const hop = { dev, gateway: LINK_LOCAL, onlink: false, nexthopId: undefined };
  const standIn: Route = { kind: 'route', dst: prefixOf(gateway, 128), ...hop };
  return [{ verb: 'create', object: standIn, why }, one, { verb: 'delete', object: standIn, why }];
}

/**
 * Where the same nexthop object is set again the kernel keeps the metrics that somebody gave the route (it finds the old
 * fib_info, fib_find_info_nh): it is made plain first. What that is refused for, the operation itself is, too.
 */
function plainRoutes(view: KernelView, operations: readonly Planned[]): Operation[] {
  const plain: Operation[] = [];
  for (const { key, verb, object, why } of operations) {
    if (verb === 'delete' || object.kind !== 'route' || object.nexthopId === undefined) continue;
    const found = view.objects.get(key)?.object;
    if (found?.kind !== 'route' || found.extras === undefined || found.nexthopId !== object.nexthopId) continue;
    plain.push({ verb, object: { ...object, nexthopId: undefined }, why });
  }
  return plain;
}
