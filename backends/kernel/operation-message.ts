import { type KernelObject, type Operation, TARTAN_PROTOCOL } from '../state.ts';
import { encodeAddress } from './address-message.ts';
import { encodeLinkDelete } from './link-message.ts';
import type { MessageWriter } from './message-writer.ts';
import { encodeFdbEntry, encodeNeighbour } from './neighbour-message.ts';
import { encodeNexthop } from './nexthop-message.ts';
import { encodeRoute, encodeRouteDelete } from './route-message.ts';

/** The device whose index the message must carry; undefined where it needs none. */
export function deviceNeeded(operation: Operation): string | undefined {
  const { verb, object } = operation;
  switch (object.kind) {
    case 'link':
      return verb === 'delete' ? undefined : object.vxlan?.lower;
    case 'nexthop':
      return verb === 'delete' ? undefined : object.dev;
    case 'route':
      return verb === 'delete' || object.nexthopId !== undefined ? undefined : object.dev;
    default:
      return object.dev;
  }
}

/**
 * Writes the one message that does the operation. `index` is that of `deviceNeeded`. Links are made and adjusted in
 * steps that depend on what is found, so only their deletion is written here.
 */
export function encodeOperation(writer: MessageWriter, operation: Operation, index: number): void {
  const { verb, object } = operation;
  switch (object.kind) {
    case 'link':
      if (verb === 'delete') encodeLinkDelete(writer, object.name);
      return;
    case 'address':
      encodeAddress(writer, verb, object, index);
      return;
    case 'neighbour':
      encodeNeighbour(writer, verb, object, index);
      return;
    case 'fdb':
      encodeFdbEntry(writer, verb, object, index);
      return;
    case 'nexthop':
      encodeNexthop(writer, verb, object, index);
      return;
    case 'route':
      if (verb === 'delete') encodeRouteDelete(writer, object, operation.protocol ?? TARTAN_PROTOCOL);
      else encodeRoute(writer, verb, object, index);
  }
}

/** How the kernel says that what is to be deleted is not there. */
const ABSENT = new Set(['ENOENT', 'ESRCH', 'EADDRNOTAVAIL', 'ENODEV']);

/** Whether a refusal means that the state is as the operation wants it. */
export function isDoneAnyway(verb: Operation['verb'], kind: KernelObject['kind'], errno: string): boolean {
  if (verb === 'delete') return ABSENT.has(errno);
  return verb === 'set' && kind === 'address' && errno === 'EEXIST';
}
