import type { Backend, DeviceMacs } from '../backends/backend.ts';
import type { Ip, Prefix } from '../config/address.ts';
import { coverage } from '../leases/coverage.ts';
import type { DirectoryPolicy } from '../leases/directory-entry.ts';
import type { HeldLease } from '../leases/held-lease.ts';
import type { StoredLease } from '../leases/lease.ts';
import { addressIdentities, refuseByNetwork } from '../leases/network-checks.ts';
import type { UnderlaySurvey } from './underlay-survey.ts';

/** What is asked of a host that joined. */
export interface PolicyBasis extends UnderlaySurvey {
  readonly backend: Backend;
  readonly macs: DeviceMacs;
  readonly held: Pick<HeldLease, 'key' | 'subnet' | 'subnet6'>;
}

/**
 * What this host takes as a peer.
 * @param networks the cluster's, as configured now and as when this agent started.
 * @param etcd addresses of etcd's members.
 */
export function peerPolicy(
  { backend, held, underlay, underlayNetworks, gateways, macs }: PolicyBasis,
  networks: readonly Prefix[],
  etcd: readonly Ip[],
): DirectoryPolicy {
  const context = {
    networks,
    ownSubnets: coverage(held),
    underlay: underlayNetworks,
    guarded: [...gateways, ...etcd],
    ownPublicIps: [underlay.publicIp, underlay.publicIp6, underlay.ip, underlay.ip6].filter((ip) => ip !== undefined),
  };
  const ownMacs = new Set([...macs.values()].map((mac) => `MAC ${mac}`));
  // A lease is looked at and laid hold of in one go.
  let last: { readonly lease: StoredLease; readonly identities: readonly string[] } | undefined;
  const identities = (lease: StoredLease): readonly string[] => {
    if (last?.lease !== lease)
      last = { lease, identities: [...new Set([...addressIdentities(lease), ...backend.identities(lease)])] };
    return last.identities;
  };
  const refuse = (lease: StoredLease): string | undefined => {
    const state = backend.peer(lease, { isOnLink: () => false, nexthopId: undefined });
    if ('foreign' in state) return state.foreign;
    if ('refused' in state) return state.refused;
    const ours = identities(lease).find((identity) => ownMacs.has(identity));
    return ours ? `it has our own ${ours}` : refuseByNetwork(lease, context);
  };
  return { ownKey: held.key, refuse, identities };
}
