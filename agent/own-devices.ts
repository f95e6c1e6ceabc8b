import { randomBytes } from 'node:crypto';
import type { Backend, DeviceMacs } from '../backends/backend.ts';
import type { Kernel, KernelRefusal } from '../backends/kernel/kernel.ts';
import { formatOperation } from '../backends/operation-text.ts';
import type { LinkInfo, Operation } from '../backends/state.ts';
import type { Mac } from '../config/address.ts';
import { macFromRandom } from '../config/address.ts';
import { TartanError } from '../config/errors.ts';
import type { LeaseAttributes } from '../leases/lease.ts';

const BUSY = 'EBUSY';

/** Writes devices down. `isAdopted`: one of them was found here that no run of ours is known to have made: a flanneld's. */
export type RememberDevices = (macs: DeviceMacs, isAdopted: boolean) => Promise<void>;

/**
 * Makes the backend's devices before the lease names them. Each that has a MAC has the one that the lease already
 * publishes, else the one it has, else the one it had in an earlier run, else a random one; where the kernel refuses that
 * one, another. What the kernel has is what is published.
 * Rejects with KERNEL (see isHeldByAnother), or PERMISSION where a capability is missing.
 * @param target the lease that is taken on.
 * @param remember writes down what will be made, where that is news: after a crash `tartan down` must know of it.
 */
export async function prepareDevices(
  kernel: Kernel,
  backend: Backend,
  target: LeaseAttributes | undefined,
  remembered: DeviceMacs,
  remember: RememberDevices,
): Promise<DeviceMacs> {
  if (backend.devices.length === 0) return new Map();
  const links = await kernel.links();
  const macOf = (name: string): Mac =>
    (target && backend.publishedMac(target, name)) ??
    existingMac(links, name) ??
    remembered.get(name) ??
    macFromRandom(randomBytes(6));
  const wanted = new Map(backend.devices.map((name) => [name, backend.hasMacs ? macOf(name) : undefined]));
  const news = backend.devices.filter((name) => !remembered.has(name));
  const isAdopted = news.some((name) => links.some((link) => link.name === name && isOverlay(link)));
  if (news.length > 0) await remember(wanted, isAdopted);
  const refused = await make(kernel, backend, wanted);
  const [first] = refused;
  if (first === undefined) return await macsNow(kernel, wanted);
  if (first.mac === undefined || first.refusal.errno === BUSY) throw failure(first.operation, first.refusal);
  // A MAC that this kernel does not take can't be kept: peers follow another one as soon as the lease has it.
  const others = new Map(wanted);
  for (const { name, mac } of refused) others.set(name, otherThan(mac, existingMac(links, name)));
  await remember(others, isAdopted);
  for (const { operation, refusal } of await make(kernel, backend, others)) throw failure(operation, refusal);
  return await macsNow(kernel, others);
}

/** Whether another process holds a device that is to be ours, a flanneld or somebody's VPN: it may end. */
export function isHeldByAnother(error: unknown): error is TartanError {
  return error instanceof TartanError && error.code === 'KERNEL' && error.data['errno'] === BUSY;
}

/**
 * Whether a lease value names our devices: that is how a flanneld on this very host is told from another host. Where they
 * are taps it makes its own in their place, with other MACs: then the public IP alone tells, as with a backend without.
 */
export function areOurDevices(
  { backend, macs }: { readonly backend: Backend; readonly macs: DeviceMacs },
  attributes: LeaseAttributes,
): boolean {
  if (backend.userSpace) return true;
  return backend.devices.every((name) => {
    const published = backend.publishedMac(attributes, name);
    return published === undefined || published === macs.get(name);
  });
}

interface Refused {
  readonly name: string;
  readonly mac: Mac | undefined;
  readonly operation: Operation;
  readonly refusal: KernelRefusal;
}

/** @returns the devices that the kernel refused. Rejects with PERMISSION. */
async function make(kernel: Kernel, backend: Backend, macs: DeviceMacs): Promise<readonly Refused[]> {
  const links = backend.device(undefined, macs).filter((object) => object.kind === 'link');
  const operations = links.map((object): Operation => ({ verb: 'set', object, why: 'our device' }));
  const results = await kernel.apply(operations);
  return links.flatMap(({ name, mac }, i) => {
    const [operation, refusal] = [operations[i], results[i]];
    if (!operation || !refusal) return [];
    if (refusal.errno === 'EPERM') throw lacksCapability(operation, refusal);
    return [{ name, mac, operation, refusal }];
  });
}

async function macsNow(kernel: Kernel, wanted: DeviceMacs): Promise<DeviceMacs> {
  const links = await kernel.links();
  return new Map([...wanted].map(([name, mac]) => [name, mac && (existingMac(links, name) ?? mac)]));
}

function otherThan(refused: Mac | undefined, existing: Mac | undefined): Mac {
  return existing !== undefined && existing !== refused ? existing : macFromRandom(randomBytes(6));
}

function failure(operation: Operation, refusal: KernelRefusal): TartanError {
  const message = `the kernel refused "${formatOperation(operation)}": ${refusal.errno} ${refusal.detail}`;
  return new TartanError('KERNEL', message.trimEnd(), { data: { ...refusal } });
}

function lacksCapability(operation: Operation, { detail }: KernelRefusal): TartanError {
  const needed = `needs CAP_NET_ADMIN: run as root, or give it (setcap, AmbientCapabilities=, a container's capabilities)`;
  const message = `"${formatOperation(operation)}" ${needed}${detail === '' ? '' : `; ${detail}`}`;
  return new TartanError('PERMISSION', message);
}

function existingMac(links: readonly LinkInfo[], name: string): Mac | undefined {
  return links.find((link) => link.name === name && isOverlay(link))?.mac;
}

function isOverlay({ type }: LinkInfo): boolean {
  return type === 'vxlan' || type === 'tun';
}
