/** Whose is a lease? The decision only: asking a possible holder (the challenge) is the holder's work. */
import { createHmac } from 'node:crypto';
import { type Ip, notUnicast } from '../config/address.ts';
import type { StoredLease } from './lease.ts';

export interface Addresses {
  readonly publicIp: Ip | undefined;
  readonly publicIp6: Ip | undefined;
}

/** This host. */
export interface Self extends Addresses {
  readonly node: string | undefined;
  readonly claim: string;
}

/**
 * How a lease relates to this host, in the order in which leases are tried:
 *
 *   relation         public IP   claim   node    owner
 *   ours             same        same    any             take it
 *   ours-state-lost  same        other   same            challenge: our state directory is gone, or a second agent here
 *   flanneld         same                        none    take it, as flannel would: the swap
 *   same-address     same        other   other           challenge: reinstalled, or a second host with our address
 *   same-node        other       same or same            challenge: renumbered, or a clone of this host
 */
export type Relation = 'ours' | 'ours-state-lost' | 'flanneld' | 'same-address' | 'same-node';

const ORDER: readonly Relation[] = ['ours', 'ours-state-lost', 'flanneld', 'same-address', 'same-node'];

export interface Candidate {
  readonly relation: Relation;
  readonly lease: StoredLease;
}

function known(ip: Ip | undefined): Ip | undefined {
  return ip === undefined || notUnicast(ip) === 'unspecified' ? undefined : ip;
}

/**
 * IPv4 decides where both have it, as in flannel. Else IPv6: the 0.0.0.0 that a host without IPv4 publishes is nobody's
 * address (by it flannel steals the lease of the next IPv6-only host).
 */
export function isSameAddress(a: Addresses, b: Addresses): boolean {
  const [a4, b4] = [known(a.publicIp), known(b.publicIp)];
  if (a4 !== undefined && b4 !== undefined) return a4 === b4;
  const a6 = known(a.publicIp6);
  return a6 !== undefined && a6 === b.publicIp6;
}

/** The addresses by which a host can be told from others. */
export function knownAddresses({ publicIp, publicIp6 }: Addresses): readonly Ip[] {
  return [publicIp, publicIp6].flatMap((ip) => known(ip) ?? []);
}

function relationOf(self: Self, lease: StoredLease): Relation | undefined {
  const { owner } = lease;
  const sameClaim = owner?.claim === self.claim;
  const sameNode = owner !== undefined && owner.node === self.node;
  if (!isSameAddress(self, lease)) return sameClaim || sameNode ? 'same-node' : undefined;
  if (owner === undefined) return 'flanneld';
  if (sameClaim) return 'ours';
  return sameNode ? 'ours-state-lost' : 'same-address';
}

function older(a: StoredLease, b: StoredLease): number {
  return a.createRevision - b.createRevision || (a.key < b.key ? -1 : 1);
}

/**
 * The leases that are or may be this host's, the most certain first; of equal ones the older, which is the one that
 * peers keep. Leases of every backend type count, as in flannel: the type may just have been changed.
 */
export function candidates(self: Self, leases: Iterable<StoredLease>): readonly Candidate[] {
  const found: Candidate[] = [];
  for (const lease of leases) {
    const relation = relationOf(self, lease);
    if (relation !== undefined) found.push({ relation, lease });
  }
  return found.sort((a, b) => ORDER.indexOf(a.relation) - ORDER.indexOf(b.relation) || older(a.lease, b.lease));
}

const APPLICATION = 'tartan node id';

/**
 * The stable id of this host: its name if the operator gave one, else the first 32 hex digits of an HMAC-SHA256 of the
 * machine-id, which is confidential and never leaves the host (machine-id(5)). undefined where neither is known: a
 * machine-id is 32 hex digits, not all zero.
 */
export function nodeId(source: {
  readonly nodeName: string | undefined;
  readonly machineId: string | undefined;
}): string | undefined {
  const name = source.nodeName?.trim();
  if (name) return name;
  const machine = source.machineId?.trim().toLowerCase() ?? '';
  if (!/^[0-9a-f]{32}$/.test(machine) || /^0+$/.test(machine)) return undefined;
  return createHmac('sha256', APPLICATION).update(machine).digest('hex').slice(0, 32);
}
