/**
 * What lies where in etcd, and the whole of it at one revision.
 *
 *   <prefix>/config                       the network config            (flannel)
 *   <prefix>/subnets/<lease>              the leases                    (flannel)
 *   <prefix>/tartan/addresses/<ip>        who holds that public IP      ┐
 *   <prefix>/tartan/nodes/<node>          who holds that node id        │ side keys, on the lease's own etcd lease,
 *   <prefix>/tartan/subnets6/<subnet>     who holds that IPv6 subnet    ┘ so that they go when it goes
 *   <prefix>/tartan/challenges/<lease>    "are you alive?", short-lived
 *   <prefix>/tartan/unsettled             this store was restored or wiped: nobody allocates anew; a minute
 *   <prefix>/tartan/other-lengths         put by every claim whose length is not the config's SubnetLen; stays
 */
import { posix } from 'node:path';
import { TartanError } from '../config/errors.ts';
import { decodeLeaseIn, leaseKey, leaseRange, parseLeaseKey } from './codec.ts';
import type { RefusalReason } from './etcd-failure.ts';
import type { LeaseSubnets, StoredLease } from './lease.ts';
import type { KeyRange, KeyValue, Listing, Store, StoreVersion } from './store.ts';

export interface Keys {
  readonly prefix: string;
  readonly config: string;
  /** The config key and all leases: adjacent, so that one list and one watch give both at one revision. */
  readonly watched: KeyRange;
  readonly subnets: KeyRange;
  /** The one key `other-lengths`. */
  readonly otherLengths: KeyRange;
  readonly unsettled: string;
  address(ip: string): string;
  node(node: string): string;
  subnet6(subnet: string): string;
  challenge(subnets: LeaseSubnets): string;
}

/** Doubled and trailing slashes in the prefix don't matter, as in flannel. */
export function keysUnder(prefix: string): Keys {
  const subnets = leaseRange(prefix);
  const config = posix.join(prefix, 'config');
  const own = posix.join(prefix, 'tartan');
  const otherLengths = `${own}/other-lengths`;
  return {
    prefix,
    config,
    watched: { key: config, end: subnets.end },
    subnets,
    otherLengths: oneKey(otherLengths),
    unsettled: `${own}/unsettled`,
    address: (ip) => `${own}/addresses/${encodeURIComponent(ip)}`,
    node: (node) => `${own}/nodes/${encodeURIComponent(node)}`,
    subnet6: (subnet) => `${own}/subnets6/${encodeURIComponent(subnet)}`,
    challenge: (lease) => `${own}/challenges/${leaseKey(prefix, lease).slice(subnets.key.length)}`,
  };
}

export function oneKey(key: string): KeyRange {
  return { key, end: `${key}\0` };
}

/** Config and leases at one revision. */
export interface ClusterView extends StoreVersion {
  readonly config: KeyValue | undefined;
  readonly leases: readonly StoredLease[];
  /** Subnets of every well-formed lease key, whatever its value: nobody may allocate them. */
  readonly taken: readonly LeaseSubnets[];
}

/** `known`: leases of that very listing, decoded already. */
export function viewOf(
  prefix: string,
  listing: Listing,
  known: (kv: KeyValue) => StoredLease | undefined = () => undefined,
): ClusterView {
  const keys = keysUnder(prefix);
  const leases: StoredLease[] = [];
  const taken: LeaseSubnets[] = [];
  let config: KeyValue | undefined;
  for (const kv of listing.kvs) {
    if (kv.key === keys.config) config = kv;
    const lease = known(kv) ?? leaseOf(keys, kv);
    if (lease) leases.push(lease);
    const subnets = lease ?? subnetsOf(prefix, kv);
    if (subnets) taken.push(subnets);
  }
  return { config, leases, taken, revision: listing.revision, clusterId: listing.clusterId };
}

function leaseOf(keys: Keys, kv: KeyValue): StoredLease | undefined {
  const decoded = decodeLeaseIn(keys.subnets.key, kv);
  return decoded.ok ? decoded.lease : undefined;
}

function subnetsOf(prefix: string, kv: KeyValue): LeaseSubnets | undefined {
  const parsed = parseLeaseKey(prefix, kv.key);
  return parsed.ok ? parsed.subnets : undefined;
}

export async function readView(store: Store, prefix: string): Promise<ClusterView> {
  return viewOf(prefix, await store.list(keysUnder(prefix).watched));
}

function isRefused(error: unknown, reason: RefusalReason): boolean {
  return error instanceof TartanError && error.code === 'ETCD_REFUSED' && error.data['reason'] === reason;
}

/** Whether etcd has no such revision: compacted away, or not there yet. */
export function isHistoryGone(error: unknown): boolean {
  return isRefused(error, 'history');
}

/** Whether etcd said that this user may not touch the key. */
export function isForbidden(error: unknown): boolean {
  return isRefused(error, 'permission');
}

/** Whether an etcd lease ran out before something could be hung on it. */
export function isLeaseGone(error: unknown): boolean {
  return isRefused(error, 'lease');
}
