import type { JsonObject } from '../../config/go-json.ts';
import type { Underlay } from '../backend.ts';
import { BackendFields, type Families } from '../backend-config.ts';

/** Outer Ethernet 14 + IPv4 20 + UDP 8 + VXLAN 8 (RFC 7348 section 5), as the kernel's VXLAN_HEADROOM. */
export const OVERHEAD_4 = 50;
/** The same with an outer IPv6 header, 40: the kernel's VXLAN6_HEADROOM. */
export const OVERHEAD_6 = 70;
/** The kernel's default UDP port, older than IANA's 4789. Sent explicitly, so that a device can be compared with it. */
const KERNEL_PORT = 8472;
/** Below it the kernel makes no device (ETH_MIN_MTU). */
const SMALLEST_MTU_4 = 68;
/** RFC 8200 section 5: a smaller link can't carry IPv6, and the kernel takes IPv6 off it. */
const SMALLEST_MTU_6 = 1280;

const NO_VXLAN =
  'this kernel makes no vxlan devices: packets are carried in user space (Backend.Mode "auto"; modprobe vxlan and restart to have the kernel do it)';
const MODES = ['kernel', 'user', 'auto'] as const;
export type VxlanMode = (typeof MODES)[number];

export interface VxlanConfig {
  /** Who carries the packets: the kernel's vxlan device, or a process of ours. */
  readonly inUserSpace: boolean;
  /** Why it is so, where the config left it open and the kernel can't. */
  readonly note: string | undefined;
  readonly vni: number;
  readonly port: number;
  /** MTU of the outer packets: the configured one, but never more than the underlay carries. */
  readonly outerMtuBytes: number;
  readonly gbp: boolean;
  readonly learning: boolean;
  readonly directRouting: boolean;
}

/** What the `Backend` object says of it; a wrong value counts as `auto`. */
export function vxlanMode(backend: JsonObject): VxlanMode {
  return readMode(new BackendFields(backend));
}

function readMode(fields: BackendFields): VxlanMode {
  return fields.choice('Mode', 'auto', MODES);
}

/**
 * The `Backend` object with defaults and ranges applied. `problems` is empty where all of it is usable.
 * @param knowsVxlan whether this kernel makes vxlan devices.
 */
export function readVxlanConfig(
  backend: JsonObject,
  families: Families,
  underlay: Underlay,
  knowsVxlan: boolean,
): { readonly config: VxlanConfig; readonly problems: readonly string[] } {
  const fields = new BackendFields(backend);
  const smallest = families.ipv6 ? SMALLEST_MTU_6 + OVERHEAD_6 : SMALLEST_MTU_4 + OVERHEAD_4;
  const port = fields.integer('Port', 0, 0, 65535);
  const mtu = fields.integer('MTU', underlay.mtuBytes, smallest, 65535);
  const mode = readMode(fields);
  const isForced = mode === 'auto' && !knowsVxlan;
  const config = {
    inUserSpace: mode === 'user' || isForced,
    note: isForced ? NO_VXLAN : undefined,
    vni: fields.integer('VNI', 1, 1, 0xffffff),
    port: port === 0 ? KERNEL_PORT : port,
    outerMtuBytes: Math.min(mtu, underlay.mtuBytes, 65535),
    gbp: fields.boolean('GBP', false),
    learning: fields.boolean('Learning', false),
    directRouting: fields.boolean('DirectRouting', false),
  };
  if (config.gbp && config.inUserSpace) {
    const why = isForced ? 'this kernel makes no vxlan devices' : 'Backend.Mode is "user"';
    fields.problems.push(`Backend.GBP needs the kernel's vxlan, and ${why}`);
  }
  if (underlay.mtuBytes < smallest) {
    fields.problems.push(`the MTU of ${underlay.dev} is ${underlay.mtuBytes}, VXLAN needs at least ${smallest} here`);
  }
  return { config, problems: fields.problems };
}
