import { containsIp, containsPrefix, type Ip, type Prefix } from '../config/address.ts';
import { BOOT_PROTOCOL, type Observed, type Route, TARTAN_PROTOCOL } from './state.ts';

/** The ids that tartan's nexthop objects have; others on the host pick small numbers. */
export const NEXTHOP_IDS = { first: 0x54000000, last: 0x54ffffff } as const;

/** What tells ours from other people's. */
export interface Ownership {
  /** The overlay's networks, of both families; several while a change of the network config is being followed. */
  readonly networks: readonly Prefix[];
  /** Names of the devices that we made. */
  readonly devices: ReadonlySet<string>;
  /** What this host leases of the networks, where it is known: its containers' routes are in there, and no peer's. */
  readonly ownSubnets?: readonly Prefix[];
}

/**
 * Whether an object is ours to delete. What stands at a key that a live peer needs may be replaced without this; all
 * else that is not ours is left alone.
 */
export function isOurs(observed: Observed, policy: Ownership): boolean {
  const { object } = observed;
  switch (object.kind) {
    case 'link':
      return policy.devices.has(object.name);
    case 'address':
      return policy.devices.has(object.dev) && inNetworks(object.ip, policy);
    case 'neighbour':
    case 'fdb':
      return policy.devices.has(object.dev) && observed.permanent;
    case 'nexthop':
      // A second agent on this host marks its nexthops alike: device or gateway tell them apart.
      return (
        isTartanId(object.id) &&
        observed.protocol === TARTAN_PROTOCOL &&
        (policy.devices.has(object.dev) || inNetworks(object.gateway, policy))
      );
    case 'route':
      return isOurRoute(object, observed.protocol, policy);
  }
}

/** Boot routes count on our own devices only: that is what flannel leaves, and nobody else routes there. */
function isOurRoute(route: Route, protocol: number, policy: Ownership): boolean {
  if (!policy.networks.some((network) => containsPrefix(network, route.dst))) return false;
  if (protocol === TARTAN_PROTOCOL) return true;
  return protocol === BOOT_PROTOCOL && policy.devices.has(route.dev);
}

function inNetworks(ip: Ip, policy: Ownership): boolean {
  return policy.networks.some((network) => containsIp(network, ip));
}

export function isTartanId(id: number): boolean {
  return id >= NEXTHOP_IDS.first && id <= NEXTHOP_IDS.last;
}
