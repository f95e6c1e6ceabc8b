import { hostname } from 'node:os';
import { nodeId } from '../leases/identity.ts';
import { readTextFile } from './atomic-file.ts';

/** Where the machine-id stands, machine-id(5); the second is older systems' and D-Bus's. */
const MACHINE_ID_FILES = ['/etc/machine-id', '/var/lib/dbus/machine-id'];

export interface HostIdentity {
  readonly node: string;
  /** For people. */
  readonly name: string;
}

/**
 * Who this host is: by the name that it was given, by its machine-id, or by the state directory's claim at worst.
 * The host name alone identifies nobody: clones share it.
 */
export async function identifyHost(nodeName: string, claim: string): Promise<HostIdentity> {
  const name = nodeName || hostname();
  let machineId: string | undefined;
  for (const path of MACHINE_ID_FILES) machineId ??= await readTextFile(path).catch(() => undefined);
  return { node: nodeId({ nodeName, machineId }) ?? claim, name };
}
