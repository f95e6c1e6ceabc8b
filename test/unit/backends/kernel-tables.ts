/**
 * The kernel's tables as one map, with what Linux does beyond the single entry: a device that goes takes everything on
 * it along, a nexthop object its routes.
 */
import { sameMake } from '../../../backends/same-object.ts';
import { type KernelObject, keyOf, type Observed, type Operation } from '../../../backends/state.ts';
import { found } from './values.ts';

export type Tables = Map<string, Observed>;

/** The tables after the operations, and the operations that the kernel refused. */
export function apply(
  before: ReadonlyMap<string, Observed>,
  operations: readonly Operation[],
): { tables: Tables; refused: Operation[] } {
  const tables = new Map(before);
  const refused = operations.filter((operation) => !applyOne(tables, operation));
  return { tables, refused };
}

function applyOne(tables: Tables, { verb, object }: Operation): boolean {
  const key = keyOf(object);
  const old = tables.get(key)?.object;
  if (verb === 'delete') {
    remove(tables, key);
    return true;
  }
  if (verb === 'create' && old !== undefined) return false;
  if (!hasFooting(tables, object)) return false;
  if (object.kind === 'link' && old?.kind === 'link' && !sameMake(object, old)) remove(tables, key);
  tables.set(key, found(object));
  return true;
}

/** ENODEV and EINVAL: the device, and a route's nexthop object, have to be there first. Other devices always are. */
function hasFooting(tables: Tables, object: KernelObject): boolean {
  if (object.kind === 'link') return true;
  if (object.kind === 'route' && object.nexthopId !== undefined) return tables.has(`nexthop ${object.nexthopId}`);
  return !object.dev.startsWith('flannel') || tables.has(`link ${object.dev}`);
}

function remove(tables: Tables, key: string): void {
  const gone = tables.get(key)?.object;
  tables.delete(key);
  if (gone?.kind !== 'link' && gone?.kind !== 'nexthop') return;
  for (const [other, { object }] of [...tables]) if (hangsOn(object, gone)) remove(tables, other);
}

function hangsOn(object: KernelObject, gone: KernelObject): boolean {
  if (gone.kind === 'nexthop') return object.kind === 'route' && object.nexthopId === gone.id;
  return gone.kind === 'link' && object.kind !== 'link' && object.dev === gone.name;
}
