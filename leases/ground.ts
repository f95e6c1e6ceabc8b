/** What an attempt to get a lease stands on: what the host wants, and what it found. */
import type { Prefix } from '../config/address.ts';
import type { Clock } from '../config/clock.ts';
import type { Log } from '../config/log.ts';
import type { NetworkConfig } from '../config/network-config.ts';
import type { OwnedAttributes } from './claim.ts';
import { candidates, type Self } from './identity.ts';
import { type Intent, intend } from './intent.ts';
import type { LeaseAttributes, LeaseOwner, LeaseSubnets, StoredLease } from './lease.ts';
import { type ClusterView, type Keys, keysUnder } from './registry.ts';
import { identityKeys, readBeside, type SideKey, type SideKeyName, sideKey, subnet6Keys } from './side-keys.ts';
import type { Store } from './store.ts';
import type { StoreTrust } from './store-trust.ts';

export interface AcquireContext {
  readonly store: Store;
  readonly prefix: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
}

export interface AcquireRequest {
  readonly self: Self & LeaseOwner;
  readonly config: NetworkConfig;
  /** mod_revision of the config key that `config` was parsed from. */
  readonly configRevision: number;
  /** What this host held last. `expiresAt`: until when, wall clock, ms; undefined: not known. */
  readonly previous: (LeaseSubnets & { readonly expiresAt?: number }) | undefined;
  readonly ttlSeconds: number;
  /** Networks that a new lease must not overlap: those that the hosts reach each other by. */
  readonly avoid: readonly Prefix[];
  /** Read moments ago; undefined: read now. */
  readonly view: ClusterView | undefined;
  /** The store as this host knows it; undefined: it never saw one. */
  readonly trust: StoreTrust | undefined;
  /** What to publish. `target`: the lease that is taken on, whose MAC is kept so that no peer has to notice. */
  attributes(target: StoredLease | undefined): Promise<Omit<LeaseAttributes, 'owner'>>;
}

/** One round. */
export interface Ground {
  readonly view: ClusterView;
  /** undefined: etcd forbids our keys. */
  readonly side: readonly SideKey[] | undefined;
  readonly intent: Intent;
  readonly attributes: OwnedAttributes;
}

/** The side keys of our addresses, our node, and the IPv6 subnets that we may come to hold. */
export async function readSide(
  { store, prefix }: AcquireContext,
  request: AcquireRequest,
  leases: readonly StoredLease[],
): Promise<SideKey[]> {
  const { self, previous } = request;
  const keys = keysUnder(prefix);
  const { target } = intend(request, leases, []);
  const subnets6 = [...subnet6Keys(keys, target?.lease), ...subnet6Keys(keys, previous)];
  const names = new Map<string, SideKeyName>();
  for (const name of [...identityKeys(keys, self.node, self), ...subnets6]) names.set(name.key, name);
  return (await readBeside(store, prefix, [...names.values()])).side;
}

/** Those of a host that no lease speaks of, as they are where nobody has its address or node: undefined if one does. */
export function sideOfNewcomer(
  { prefix }: AcquireContext,
  { self }: AcquireRequest,
  leases: readonly StoredLease[],
): SideKey[] | undefined {
  if (candidates(self, leases).length > 0) return undefined;
  return identityKeys(keysUnder(prefix), self.node, self).map((name) => sideKey(prefix, name, undefined));
}

/**
 * The side keys that a lease of these subnets has. Of the IPv6 subnets' keys that is one: as read where the lease is
 * taken on or the key is ours, else it must be absent.
 */
export function sideOf(
  keys: Keys,
  claim: string,
  side: readonly SideKey[],
  subnets: LeaseSubnets,
  isTakenOn: boolean,
): SideKey[] {
  const subnet6 = subnet6Keys(keys, subnets).map((name) => {
    const read = side.find(({ key }) => key === name.key);
    return read && (isTakenOn || read.record?.claim === claim) ? read : sideKey(keys.prefix, name, undefined);
  });
  return [...side.filter(({ about }) => about !== 'subnet6'), ...subnet6];
}
