import { familyOf } from '../config/address.ts';
import type { Backend, DeviceObject } from './backend.ts';
import type { Kernel } from './kernel/kernel.ts';
import { KernelView } from './kernel-view.ts';
import { isSatisfied } from './same-object.ts';
import { type Address, keyOf, type Link, type Operation } from './state.ts';

const DEVICE_KINDS = new Set(['link', 'address'] as const);

/**
 * Puts our devices and their addresses in place, as far as they are not (routes follow with the others), before anything else of the kernel is looked
 * at. Rejects with TartanError KERNEL where the kernel can't be spoken to.
 * @returns what the kernel refuses, in words; undefined: all is there.
 */
export async function placeDevice(
  kernel: Kernel,
  { devices }: Backend,
  all: readonly DeviceObject[],
): Promise<string | undefined> {
  const objects = all.filter((object) => object.kind !== 'route');
  const families = new Set(objects.flatMap((object) => (object.kind === 'address' ? [familyOf(object.ip)] : [])));
  const view = new KernelView(kernel, devices, [...families]);
  await view.read(DEVICE_KINDS);
  const lacking = objects.filter((object) => {
    const found = view.objects.get(keyOf(object));
    return found === undefined || !isSatisfied(object, found);
  });
  // An address does not survive what makes its device anew.
  const isRenewed = lacking.some(({ kind }) => kind === 'link');
  const links = lacking.filter(({ kind }) => kind === 'link');
  const addresses = (isRenewed ? objects : lacking).filter(({ kind }) => kind === 'address');
  return (await refusalOf(kernel, links)) ?? (await refusalOf(kernel, addresses));
}

async function refusalOf(kernel: Kernel, objects: readonly (Link | Address)[]): Promise<string | undefined> {
  if (objects.length === 0) return undefined;
  const operations = objects.map((object): Operation => ({ verb: 'set', object, why: 'our device' }));
  const refusals = await kernel.apply(operations);
  for (const [place, refusal] of refusals.entries()) {
    const object = objects[place];
    if (refusal && object) return `${keyOf(object)}: ${refusal.errno} ${refusal.detail}`.trimEnd();
  }
  return undefined;
}
