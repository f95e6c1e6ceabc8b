/** What this host's lease asks of its packet filters (pure). */
import type { Backend, DeviceMacs, Underlay } from '../backends/backend.ts';
import type { GuardedDevice } from '../backends/firewall/peer-filter-script.ts';
import type { FirewallFamily, FirewallWish } from '../backends/firewall/wish.ts';
import { subnetOf } from '../backends/lease-part.ts';
import { familyOf, type Prefix } from '../config/address.ts';
import type { NetworkConfig } from '../config/network-config.ts';
import type { Options } from '../config/options.ts';
import type { LeaseSubnets } from '../leases/lease.ts';
import type { DockerNeeds } from './docker/engine.ts';

export interface WishBasis {
  readonly config: NetworkConfig;
  readonly own: LeaseSubnets;
  readonly backend: Backend;
  readonly underlay: Underlay;
  /** Networks of earlier runs, whose rules may stand. */
  readonly former: readonly Prefix[];
}

type Said = Pick<Options, 'ipMasq' | 'ipMasqFullyRandomDisable' | 'iptablesForwardRules'>;

/** @param needs what it takes to pass the Docker of this host. */
export function firewallWish(basis: WishBasis, options: Said, needs: DockerNeeds): FirewallWish {
  const devices = peerDevices(basis);
  return {
    families: familiesOf(basis),
    masquerade: options.ipMasq,
    randomFully: !options.ipMasqFullyRandomDisable,
    forward: options.iptablesForwardRules,
    nftables: basis.config.enableNftables,
    former: basis.former,
    docker: needs.deviceRules && devices.length > 0 ? { devices, mark: needs.mark } : undefined,
  };
}

function familiesOf({ config, own }: WishBasis): FirewallFamily[] {
  return ([4, 6] as const).flatMap((family) => {
    const network = config.ranges[family]?.network;
    const subnet = subnetOf(own, family);
    return network && subnet ? [{ family, network, subnet }] : [];
  });
}

/** By which packets of peers arrive: with alloc, which somebody else routes, that is not known. */
function peerDevices({ backend, underlay }: WishBasis): readonly string[] {
  if (backend.type === 'alloc') return [];
  const isPlain = backend.devices.length === 0 || backend.directRouting;
  return isPlain ? [...backend.devices, underlay.dev] : backend.devices;
}

/** A flanneld's cluster may have hosts whose packets come from elsewhere than their leases say: first they are only told. */
const ADOPTED_REPORT_MS = 3_600_000;

/**
 * Until when the peer filter drops nothing.
 * @param adoptedAt when our device was taken over from a flanneld: one that lies in the future was told by a clock that
 * has been set since, and counts as now. Both wall clock, ms.
 */
export function reportUntil(adoptedAt: number | undefined, now: number): number | undefined {
  return adoptedAt === undefined ? undefined : Math.min(adoptedAt, now) + ADOPTED_REPORT_MS;
}

/** Those by which the kernel takes packets in: what comes to a process of ours, that one judges. */
export function guardedDevices(backend: Backend, macs: DeviceMacs): readonly GuardedDevice[] {
  return backend.device(undefined, macs).flatMap((object) => {
    if (object.kind !== 'link' || object.vxlan === undefined) return [];
    const { name: device, vxlan } = object;
    return [{ device, family: familyOf(vxlan.local), udpPort: vxlan.port, vni: vxlan.vni }];
  });
}
