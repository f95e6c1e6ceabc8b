import { readFileSync, writeFileSync } from 'node:fs';
import { toError } from '../../config/errors.ts';

export type SysctlOutcome = 'unchanged' | 'changed' | { readonly failed: string };

/**
 * Makes a kernel setting so. `name` in path form: `net/ipv4/ip_forward`. Where /proc/sys is read-only the setting is
 * only compared.
 *
 * Synchronous on purpose: such files never block, and settings of the network belong to the namespace of the thread
 * that opens the file, which the thread pool's need not be.
 */
export function setSysctl(name: string, value: string): SysctlOutcome {
  const path = `/proc/sys/${name}`;
  try {
    if (readFileSync(path, 'utf8').trim() === value) return 'unchanged';
    writeFileSync(path, value);
    return 'changed';
  } catch (error) {
    return { failed: toError(error).message };
  }
}

/** The setting as it is; undefined where this kernel or namespace does not have it. */
export function readSysctl(name: string): string | undefined {
  try {
    return readFileSync(`/proc/sys/${name}`, 'utf8').trim();
  } catch {
    return undefined;
  }
}

/** `net.ipv4.ip_forward`, as sysctl(8) calls it; a dot in a device's name becomes a slash there. */
export function sysctlName(path: string): string {
  return path.replace(/[./]/g, (one) => (one === '/' ? '.' : '/'));
}
