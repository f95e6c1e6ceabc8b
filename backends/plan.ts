/**
 * The difference between what the kernel should hold and what it does hold, as operations in a safe order:
 *
 *   link → address → neighbour → fdb → nexthop → route   what is missing or wrong, by key within a kind
 *   route → nexthop → fdb → neighbour → address → link   what is ours and no longer wanted, the exact reverse
 *
 * A route is never there before what it leads to, and what it leads to never goes before the route. What is right is
 * not written again; what is not ours is not deleted. Pure: plan(d, apply(a, plan(d, a, p)), p) is empty.
 */
import { formatValue } from './operation-text.ts';
import { isOurs, type Ownership } from './ownership.ts';
import { isSatisfied, markFault, sameMake, sameObject } from './same-object.ts';
import type { KernelObject, ObjectKind, Observed, Operation } from './state.ts';

/** What should be, by `keyOf`. */
export type Desired = ReadonlyMap<string, KernelObject>;
/** What is, by `keyOf` of its object. */
export type Actual = ReadonlyMap<string, Observed>;

/** Keys of the routes of `actual` that are on a nexthop object. */
export type RoutesOn = (nexthopId: number) => Iterable<string>;

const KINDS_IN_ORDER: readonly ObjectKind[] = ['link', 'address', 'neighbour', 'fdb', 'nexthop', 'route'];
const RANK: Readonly<Record<ObjectKind, number>> = { link: 0, address: 1, neighbour: 2, fdb: 3, nexthop: 4, route: 5 };

/** With its object's key: to make it anew each time is most of what an operation costs. */
export interface Planned extends Operation {
  /** `keyOf` its object. */
  readonly key: string;
}

export interface Part {
  /** In the order in which to do them. */
  readonly operations: Planned[];
  /** Nexthops that are not planned because somebody else's stand at their ids, and the routes on them: by key. */
  readonly withheld: readonly string[];
}

/** Everything that has to change, in the order in which to do it. */
export function plan(desired: Desired, actual: Actual, policy: Ownership): Planned[] {
  return planKeys(new Set([...desired.keys(), ...actual.keys()]), desired, actual, policy).operations;
}

/**
 * The part of the plan that concerns some keys: what a change of one peer needs. Both maps are whole all the same.
 * Keys that hang together come along by themselves: a route's nexthop objects (wanted and found), and all that is
 * wanted on a device that has to be made anew. `routesOn`: an index of `actual`, so that its size does not count.
 */
export function planKeys(
  keys: Iterable<string>,
  desired: Desired,
  actual: Actual,
  policy: Ownership,
  routesOn: RoutesOn = indexed(actual),
): Part {
  const scope = new Scope(desired, actual, policy);
  const sets = new Map<string, Planned>();
  const deletes = new Map<string, Planned>();
  const withheld: string[] = [];
  for (const key of scope.withDependents(keys)) {
    const wanted = desired.get(key);
    const found = scope.standing(key);
    if (wanted !== undefined && scope.isWithheld(wanted)) {
      withheld.push(key);
    } else if (wanted !== undefined) {
      const why = fault(wanted, found);
      if (why !== undefined) sets.set(key, { key, verb: scope.verb(key, wanted), object: wanted, why });
    } else if (found !== undefined && isOurs(found, policy)) {
      deletes.set(key, removal(key, found));
    }
  }
  keepReferenced(deletes, sets, routesOn);
  return { operations: [...inOrder(sets), ...inOrder(deletes).reverse()], withheld };
}

/** One look at desired and actual state, with what follows from devices that have to be made anew. */
class Scope {
  readonly #desired: Desired;
  readonly #actual: Actual;
  readonly #policy: Ownership;
  /** Devices that are missing or have to be made anew: whatever was on them is gone afterwards. */
  readonly #renewed: ReadonlySet<string>;

  constructor(desired: Desired, actual: Actual, policy: Ownership) {
    this.#desired = desired;
    this.#actual = actual;
    this.#policy = policy;
    this.#renewed = new Set([...policy.devices].filter((device) => isRenewed(device, desired, actual)));
  }

  withDependents(keys: Iterable<string>): ReadonlySet<string> {
    const all = new Set(keys);
    if (this.#renewed.size > 0) {
      for (const [key, object] of this.#desired) if (this.#renewed.has(deviceOf(object))) all.add(key);
    }
    // What is added meanwhile is gone through too, and has nothing to add.
    for (const key of all) {
      addNexthop(all, this.#desired.get(key));
      addNexthop(all, this.#actual.get(key)?.object);
    }
    return all;
  }

  /** What stands at the key and still will once its device and its nexthop object are as they should be. */
  standing(key: string): Observed | undefined {
    const found = this.#actual.get(key);
    if (found === undefined || found.object.kind === 'link') return found;
    if (this.#renewed.has(deviceOf(found.object))) return undefined;
    const id = found.object.kind === 'route' ? found.object.nexthopId : undefined;
    return id !== undefined && this.#isMissing(id) ? undefined : found;
  }

  /** IPv4 routes vanish without an event when their nexthop object does: such a route was read too early. */
  #isMissing(id: number): boolean {
    const found = this.#actual.get(`nexthop ${id}`);
    return this.#desired.has(`nexthop ${id}`) && (found === undefined || this.#renewed.has(deviceOf(found.object)));
  }

  /** A nexthop never replaces one that is not known to be ours: the kernel would let it, and move others' routes. */
  verb(key: string, wanted: KernelObject): 'set' | 'create' {
    const found = this.#actual.get(key);
    const safe = wanted.kind !== 'nexthop' || (found !== undefined && isOurs(found, this.#policy));
    return safe ? 'set' : 'create';
  }

  /** A nexthop at whose id somebody else's stands, and the routes that would follow that one. */
  isWithheld(wanted: KernelObject): boolean {
    if (wanted.kind !== 'nexthop' && wanted.kind !== 'route') return false;
    const id = wanted.kind === 'nexthop' ? wanted.id : wanted.nexthopId;
    const found = id === undefined ? undefined : this.standing(`nexthop ${id}`);
    return found !== undefined && !isOurs(found, this.#policy);
  }
}

function addNexthop(keys: Set<string>, object: KernelObject | undefined): void {
  if (object?.kind === 'route' && object.nexthopId !== undefined) keys.add(`nexthop ${object.nexthopId}`);
}

function isRenewed(device: string, desired: Desired, actual: Actual): boolean {
  const wanted = desired.get(`link ${device}`);
  if (wanted?.kind !== 'link') return false;
  const found = actual.get(`link ${device}`)?.object;
  return found?.kind !== 'link' || !sameMake(wanted, found);
}

/** A route is deleted by its maker's protocol: what flannel left goes, what others put there meanwhile stays. */
function removal(key: string, { object, protocol }: Observed): Planned {
  const gone = { key, verb: 'delete', object, why: 'not wanted any more' } as const;
  return object.kind === 'route' ? { ...gone, protocol } : gone;
}

function deviceOf(object: KernelObject): string {
  return object.kind === 'link' ? object.name : object.dev;
}

/** What is wrong with what stands there, undefined where nothing is: the old value, and whose it was if not ours. */
function fault(wanted: KernelObject, found: Observed | undefined): string | undefined {
  if (found === undefined) return 'missing';
  if (isSatisfied(wanted, found)) return undefined;
  const value = sameObject(wanted, found.object) ? undefined : formatValue(found.object);
  return `was ${[value, markFault(found)].filter((part) => part !== undefined).join(', ')}`;
}

/** Deleting a nexthop object silently deletes the routes on it: it stays while any that stays is on it. */
function keepReferenced(deletes: Map<string, Planned>, sets: ReadonlyMap<string, Planned>, routesOn: RoutesOn): void {
  for (const [key, { object }] of deletes) {
    if (object.kind !== 'nexthop') continue;
    const isLeft = (route: string): boolean => deletes.has(route) || sets.has(route);
    if (![...routesOn(object.id)].every(isLeft)) deletes.delete(key);
  }
}

function indexed(actual: Actual): RoutesOn {
  const routes = new Map<number, string[]>();
  for (const [key, { object }] of actual) {
    if (object.kind !== 'route' || object.nexthopId === undefined) continue;
    const on = routes.get(object.nexthopId);
    if (on) on.push(key);
    else routes.set(object.nexthopId, [key]);
  }
  return (id) => routes.get(id) ?? [];
}

function inOrder(operations: ReadonlyMap<string, Planned>): Planned[] {
  const ranks: Planned[][] = Array.from(KINDS_IN_ORDER, () => []);
  for (const operation of operations.values()) ranks[RANK[operation.object.kind]]?.push(operation);
  return ranks.flatMap((rank) => rank.sort((a, b) => (a.key < b.key ? -1 : 1)));
}
