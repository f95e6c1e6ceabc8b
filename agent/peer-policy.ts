import type { Backend, DeviceMacs } from '../backends/backend.ts';
import type { Ip, Prefix } from '../config/address.ts';
import { coverage } from '../leases/coverage.ts';
import type { DirectoryPolicy, Judgement } from '../leases/directory-entry.ts';
import type { HeldLease } from '../leases/held-lease.ts';
import type { StoredLease } from '../leases/lease.ts';
import { addressIdentities, NetworkChecks } from '../leases/network-checks.ts';
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
  const checks = new NetworkChecks(context);
  const ownMacs = new Set([...macs.values()].flatMap((mac) => (mac === undefined ? [] : [`MAC ${mac}`])));
  const judge = (lease: StoredLease): Judgement => {
    const claim = backend.claim(lease);
    if ('foreign' in claim) return { refused: claim.foreign };
    if ('refused' in claim) return claim;
    const ours = claim.identities.find((identity) => ownMacs.has(identity));
    const refused = ours === undefined ? checks.refuse(lease) : `it has our own ${ours}`;
    return refused === undefined ? { identities: [...addressIdentities(lease), ...claim.identities] } : { refused };
  };
  return { ownKey: held.key, judge };
}
