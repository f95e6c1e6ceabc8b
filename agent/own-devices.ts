import { randomBytes } from 'node:crypto';
import type { Backend, DeviceMacs } from '../backends/backend.ts';
import type { Kernel } from '../backends/kernel/kernel.ts';
import { formatOperation } from '../backends/operation-text.ts';
import type { LinkInfo, Operation } from '../backends/state.ts';
import type { Mac } from '../config/address.ts';
import { macFromRandom } from '../config/address.ts';
import { TartanError } from '../config/errors.ts';
import type { LeaseAttributes } from '../leases/lease.ts';

/**
 * Makes the backend's devices before the lease names them. Each has the MAC that the lease already publishes, else the
 * one it has, else the one it had in an earlier run, else a random one; the kernel's answer is what is published.
 * Rejects with KERNEL, or PERMISSION where a capability is missing.
 * @param target the lease that is taken on.
 * @param remember writes down what will be made, where that is news: after a crash `tartan down` must know of it.
 */
export async function prepareDevices(
  kernel: Kernel,
  backend: Backend,
  target: LeaseAttributes | undefined,
  remembered: DeviceMacs,
  remember: (macs: DeviceMacs) => Promise<void>,
): Promise<DeviceMacs> {
  if (backend.devices.length === 0) return new Map();
  const links = await kernel.links();
  const macOf = (name: string): Mac =>
    (target && backend.publishedMac(target, name)) ??
    existingMac(links, name) ??
    remembered.get(name) ??
    macFromRandom(randomBytes(6));
  const wanted = new Map(backend.devices.map((name) => [name, macOf(name)]));
  if (backend.devices.some((name) => !remembered.has(name))) await remember(wanted);
  const objects = backend.device(undefined, wanted);
  const operations = objects.map((object): Operation => ({ verb: 'set', object, why: 'our device' }));
  const results = await kernel.apply(operations);
  for (const [i, operation] of operations.entries()) {
    const refusal = results[i];
    if (!refusal) continue;
    if (refusal.errno === 'EPERM') throw lacksCapability(operation);
    const message = `the kernel refused "${formatOperation(operation)}": ${refusal.errno} ${refusal.detail}`;
    throw new TartanError('KERNEL', message.trimEnd(), { data: { ...refusal } });
  }
  const made = await kernel.links();
  return new Map([...wanted].map(([name, mac]) => [name, existingMac(made, name) ?? mac]));
}

function lacksCapability(operation: Operation): TartanError {
  const message = `"${formatOperation(operation)}" needs CAP_NET_ADMIN: run as root, or give it (setcap, AmbientCapabilities=, a container's capabilities)`;
  return new TartanError('PERMISSION', message);
}

function existingMac(links: readonly LinkInfo[], name: string): Mac | undefined {
  return links.find((link) => link.name === name && link.type === 'vxlan')?.mac;
}
