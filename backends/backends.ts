import type { JsonObject } from '../config/go-json.ts';
import { createAlloc } from './alloc/alloc.ts';
import type { Underlay } from './backend.ts';
import { type BackendResult, type Families, shown } from './backend-config.ts';
import { createHostGw } from './host-gw/host-gw.ts';
import { createVxlan } from './vxlan/vxlan.ts';

const OFFERED = new Map([
  ['alloc', createAlloc],
  ['host-gw', createHostGw],
  ['vxlan', createVxlan],
]);

/** Types of flannel that tartan does not have. */
const NOT_OFFERED = new Set(['udp', 'ipip', 'wireguard', 'ipsec', 'extension', 'tencent-vpc']);

/**
 * The backend that the network config asks for.
 * @param type `Backend.Type`, any case. flannel takes `udp` where there is no Backend at all; that is the caller's.
 * @param backend The `Backend` object.
 */
export function createBackend(
  type: string,
  backend: JsonObject,
  families: Families,
  underlay: Underlay,
): BackendResult {
  const create = OFFERED.get(type.toLowerCase());
  if (create !== undefined) return create(backend, families, underlay);
  const known = [...OFFERED.keys()].join(', ');
  if (NOT_OFFERED.has(type.toLowerCase())) {
    const problem = `Backend.Type "${type.toLowerCase()}" is not offered by this version (it has ${known})`;
    return { ok: false, problems: [problem] };
  }
  const what = type === '' ? 'Backend.Type is missing' : `Backend.Type ${shown(type)} is unknown`;
  return { ok: false, problems: [`${what} (known: ${known})`] };
}
