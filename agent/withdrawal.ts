/** Leaving: what `tartan down` does, an agent whose lease another host has taken, and one that a flanneld replaced. */
import { lstat, rm } from 'node:fs/promises';
import { clearPeerFilters } from '../backends/firewall/clear-peer-filters.ts';
import { HostPrograms } from '../backends/firewall/programs.ts';
import { handOver } from '../backends/hand-over.ts';
import type { Kernel } from '../backends/kernel/kernel.ts';
import { KernelView, KINDS } from '../backends/kernel-view.ts';
import { formatOperation } from '../backends/operation-text.ts';
import type { Ownership } from '../backends/ownership.ts';
import type { Actual } from '../backends/plan.ts';
import { plan } from '../backends/plan.ts';
import type { KernelObject, Operation } from '../backends/state.ts';
import { TartanError, toError } from '../config/errors.ts';
import { temporaryOf } from './atomic-file.ts';
import type { AgentMemory } from './state-file.ts';

/** Gone already, with its device or its nexthop object. */
const GONE = new Set(['ENOENT', 'ESRCH', 'ENODEV', 'EADDRNOTAVAIL']);

/** What an agent made, as its state file has it. */
export type Made = Pick<AgentMemory, 'macs' | 'networks'>;

/**
 * Takes our objects out of the kernel, in the reverse of the order in which they are made. Rejects with KERNEL, naming
 * every one that stays.
 * @returns what was done.
 */
export function clearKernel(kernel: Kernel, { macs, networks }: Made): Promise<readonly Operation[]> {
  return clear(kernel, { macs, networks }, () => true);
}

/**
 * Takes our objects out of the kernel, then the files away: peers must no longer reach the subnet here, nor Docker use it.
 * Containers that still run keep their way out: the firewall's rules stay, and follow the next lease. Where the one can't be done, the other is. Rejects once both are over.
 */
export async function withdraw(
  kernel: Kernel,
  { files, ...made }: Made & Pick<AgentMemory, 'files'>,
): Promise<{ readonly operations: readonly Operation[]; readonly files: readonly string[] }> {
  const clearing = clearKernel(kernel, made);
  await clearing.catch(() => undefined);
  const removed = await removeFiles(files);
  return { operations: await clearing, files: removed };
}

/** As clearKernel, but only these devices and what is on them. */
export function clearDevices(kernel: Kernel, { macs, networks }: Made): Promise<readonly Operation[]> {
  return clear(kernel, { macs, networks }, (object) => macs.has(object.kind === 'link' ? object.name : object.dev));
}

/**
 * Makes our routes plain, so that a flanneld can delete them; no packet notices. Its firewall rules are ours, and those
 * that let packets through Docker's go on to; but the peer filter would keep out whoever joins from now on. Rejects with
 * KERNEL.
 */
export async function leaveToFlanneld(kernel: Kernel, made: Made): Promise<readonly Operation[]> {
  await clearPeerFilters(new HostPrograms(), made.macs.keys());
  return await change(kernel, made, handOver);
}

function clear(kernel: Kernel, made: Made, concerns: (object: KernelObject) => boolean): Promise<readonly Operation[]> {
  return change(kernel, made, (actual, policy) =>
    plan(new Map(), actual, policy).filter(({ object }) => concerns(object)),
  );
}

async function change(
  kernel: Kernel,
  { macs, networks }: Made,
  decide: (actual: Actual, policy: Ownership) => readonly Operation[],
): Promise<readonly Operation[]> {
  const devices = [...macs.keys()];
  const view = new KernelView(kernel, devices, [4, 6], networks);
  await view.read(new Set(KINDS));
  const operations = decide(view.objects, { networks, devices: new Set(devices) });
  const results = await kernel.apply(operations);
  const refused = operations.flatMap((operation, i) => {
    const refusal = results[i];
    return refusal && !GONE.has(refusal.errno)
      ? [`${formatOperation(operation)}: ${refusal.errno} ${refusal.detail}`.trimEnd()]
      : [];
  });
  if (refused.length > 0) throw new TartanError('KERNEL', `the kernel refused:\n  ${refused.join('\n  ')}`);
  return operations;
}

/**
 * Removes published files, and what a crash left of them half written. Rejects with PERMISSION, once all
 * that can be removed is.
 * @returns those that were there
 */
export async function removeFiles(files: readonly string[]): Promise<readonly string[]> {
  const removed: string[] = [];
  const failed: string[] = [];
  for (const file of new Set(files)) {
    for (const path of [file, temporaryOf(file)]) {
      try {
        const found = await lstat(path).catch(() => undefined);
        if (!found || found.isDirectory()) continue;
        await rm(path, { force: true });
        removed.push(path);
      } catch (error) {
        failed.push(`cannot remove ${path}: ${toError(error).message}`);
      }
    }
  }
  if (failed.length > 0) throw new TartanError('PERMISSION', failed.join('; '));
  return removed;
}
