import type { JsonObject } from '../config/go-json.ts';
import { createAlloc } from './alloc/alloc.ts';
import type { Underlay } from './backend.ts';
import { type BackendResult, type Families, shown } from './backend-config.ts';
import { createHostGw } from './host-gw/host-gw.ts';
import type { Kernel } from './kernel/kernel.ts';
import { createUdp } from './udp/udp.ts';
import { createVxlan } from './vxlan/vxlan.ts';
import { vxlanMode } from './vxlan/vxlan-config.ts';

const OFFERED = new Map([
  ['alloc', createAlloc],
  ['host-gw', createHostGw],
  ['udp', createUdp],
  ['vxlan', createVxlan],
]);

/** Types of flannel that tartan does not have. */
const NOT_OFFERED = new Set(['ipip', 'wireguard', 'ipsec', 'extension', 'tencent-vpc']);

/**
 * The backend that the network config asks for.
 * @param type `Backend.Type`, any case. flannel takes `udp` where there is no Backend at all; that is the caller's.
 * @param backend The `Backend` object.
 * @param knowsVxlan whether the kernel makes vxlan devices.
 */
export function createBackend(
  type: string,
  backend: JsonObject,
  families: Families,
  underlay: Underlay,
  knowsVxlan = true,
): BackendResult {
  const create = OFFERED.get(type.toLowerCase());
  if (create !== undefined) return create(backend, families, underlay, knowsVxlan);
  const known = [...OFFERED.keys()].join(', ');
  if (NOT_OFFERED.has(type.toLowerCase())) {
    const problem = `Backend.Type "${type.toLowerCase()}" is not offered by this version (it has ${known})`;
    return { ok: false, problems: [problem] };
  }
  const what = type === '' ? 'Backend.Type is missing' : `Backend.Type ${shown(type)} is unknown`;
  return { ok: false, problems: [`${what} (known: ${known})`] };
}

/** As createBackend, where the kernel is asked what the config leaves to it. Rejects with TartanError KERNEL. */
export async function createBackendHere(
  kernel: Pick<Kernel, 'knowsVxlan'>,
  type: string,
  backend: JsonObject,
  families: Families,
  underlay: Underlay,
): Promise<BackendResult> {
  const isOpen = type.toLowerCase() === 'vxlan' && vxlanMode(backend) === 'auto';
  return createBackend(type, backend, families, underlay, isOpen ? await kernel.knowsVxlan() : true);
}
