/**
 * The claim as one transaction (pure): what it compares, what it writes, and what a lost one teaches.
 *
 *   if    config and every key that the choice stood on are unchanged, and the subnet is free (or is the lease taken on)
 *   then  put the lease and our side keys, delete what we leave behind
 *   else  return the lease, the config, what stands at the subnet and at the next ones to try, and the side keys
 *
 * All leases are never returned: where a thousand hosts claim at once, most of etcd's work would be to list them.
 */
import { formatLeaseValue, leaseKey, parseLeaseKey } from './codec.ts';
import { NO_IPV4 } from './coverage.ts';
import type { LeaseAttributes, LeaseOwner, LeaseSubnets } from './lease.ts';
import type { Keys } from './registry.ts';
import { oneKey } from './registry.ts';
import { formatSideRecord, type SeenKey, type SideKey } from './side-keys.ts';
import type { Compare, KeyRange, KeyValue, StoreOp, Txn, TxnResult } from './store.ts';

export interface OwnedAttributes extends LeaseAttributes {
  readonly owner: LeaseOwner;
}

/**
 * `key`: of the current length, so that one key tells whether it is free; leases of other lengths were known at `since`.
 * `all`: every lease was read at `since`, and none overlaps.
 */
export interface Room {
  readonly read: 'key' | 'all';
  /** Revision of the store. */
  readonly since: number;
}

export interface Claim {
  readonly subnets: LeaseSubnets;
  readonly attributes: OwnedAttributes;
  /** mod_revision of the config key that the choice was made from; undefined: whatever the config says now. */
  readonly configRevision: number | undefined;
  /** Why the subnet is thought to be free; of a target nothing is asked. */
  readonly room: Room;
  /** What stands at the lease's key and is taken on; undefined for a subnet that must be free. */
  readonly target: Pick<SeenKey, 'modRevision'> | undefined;
  /** What would be tried next: a lost claim tells which of these are free. */
  readonly alternatives: readonly LeaseSubnets[];
  /** Other leases of this host, which go in the same moment. */
  readonly removes: readonly SeenKey[];
  /** Our side keys; none where etcd forbids them. */
  readonly side: readonly SideKey[];
  /** Questions that nobody answered: an answer that comes before the claim foils it. */
  readonly unanswered: readonly SeenKey[];
  /** Whether to hold off while a restored or wiped store is settling: not for what this host held to the last. */
  readonly needsSettled: boolean;
  /** Our own length is not the current one: those who claim now must see it. */
  readonly isOtherLength: boolean;
  /** Etcd lease for the lease key; "0" for a reservation. */
  readonly etcdLease: string;
  /** Etcd lease for the side keys: the same, but for a reservation. */
  readonly sideLease: string;
}

export type ClaimResult =
  | { readonly won: { readonly key: string; readonly value: string; readonly modRevision: number } }
  | { readonly lost: 'config-changed' }
  | { readonly lost: 'moved' }
  | { readonly lost: 'unsettled' }
  /**
   * Only the chosen subnet was taken: choose again without `avoid`, what was lost. The alternatives are `taken` or `free`;
   * none counts as free where it was no lease of that very subnet that foiled the claim: read all leases then.
   */
  | {
      readonly lost: 'taken';
      readonly avoid: readonly LeaseSubnets[];
      readonly taken: readonly LeaseSubnets[];
      readonly free: readonly LeaseSubnets[];
    };

/** Every key that leases this subnet, alone or (IPv4) paired with any IPv6 one: `&`, which `'` follows. */
function keysOf(keys: Keys, subnets: LeaseSubnets): KeyRange {
  if (subnets.subnet === NO_IPV4) return oneKey(leaseKey(keys.prefix, subnets));
  const key = leaseKey(keys.prefix, { subnet: subnets.subnet, subnet6: undefined });
  return { key, end: `${key}'` };
}

/** What must hold so that nothing overlaps the subnets, but for what we leave in the same moment. */
function isFree(keys: Keys, { subnets, removes, side, room }: Claim): Compare[] {
  const { since } = room;
  const key = leaseKey(keys.prefix, subnets);
  if (room.read === 'all')
    return [
      { key, modRevision: 0 },
      { range: keys.subnets, unchangedSince: since },
    ];
  const range = keysOf(keys, subnets);
  // An IPv4 lease that becomes a dual-stack one leaves a key with the same IPv4 part.
  const leaves = removes.some((one) => one.key >= range.key && one.key < range.end);
  return [
    leaves ? { range, unchangedSince: since } : { absent: range },
    ...(side.length > 0 ? [{ range: keys.otherLengths, unchangedSince: since }] : []),
  ];
}

function compares(keys: Keys, claim: Claim): Compare[] {
  const { subnets, target, configRevision, needsSettled } = claim;
  const key = leaseKey(keys.prefix, subnets);
  const seen = [...claim.removes, ...claim.side, ...claim.unanswered];
  return [
    ...(configRevision === undefined ? [] : [{ key: keys.config, modRevision: configRevision }]),
    ...(target ? [{ key, modRevision: target.modRevision }] : isFree(keys, claim)),
    ...seen.map((one) => ({ key: one.key, modRevision: one.modRevision })),
    ...(needsSettled ? [{ key: keys.unsettled, modRevision: 0 }] : []),
  ];
}

export function claimTxn(keys: Keys, claim: Claim): Txn {
  const { subnets, attributes, alternatives, side, removes, sideLease } = claim;
  const key = leaseKey(keys.prefix, subnets);
  const record = formatSideRecord(keys.prefix, attributes.owner, subnets);
  const lengths: StoreOp = { put: keys.otherLengths.key, value: key, lease: '0' };
  return {
    compare: compares(keys, claim),
    success: [
      { put: key, value: formatLeaseValue(attributes), lease: claim.etcdLease },
      ...side.map((one): StoreOp => ({ put: one.key, value: record, lease: sideLease })),
      ...removes.map((one): StoreOp => ({ delete: one.key })),
      ...(claim.isOtherLength && side.length > 0 ? [lengths] : []),
    ],
    failure: [
      { get: key },
      { get: keys.config },
      ...side.map((one): StoreOp => ({ get: one.key })),
      ...(claim.needsSettled ? [{ get: keys.unsettled }] : []),
      ...[subnets, ...alternatives].map((one): StoreOp => ({ list: keysOf(keys, one), keysOnly: true })),
    ],
  };
}

/** The subnets of every well-formed lease key. */
export function subnetsOf(prefix: string, kvs: readonly KeyValue[]): LeaseSubnets[] {
  return kvs.flatMap((kv) => {
    const parsed = parseLeaseKey(prefix, kv.key);
    return parsed.ok ? [parsed.subnets] : [];
  });
}

/** What the answer to `claimTxn(keys, claim)` means. */
export function claimResult(keys: Keys, claim: Claim, result: TxnResult): ClaimResult {
  const key = leaseKey(keys.prefix, claim.subnets);
  const value = formatLeaseValue(claim.attributes);
  if (result.succeeded) return { won: { key, value, modRevision: result.revision } };
  const [lease, config, ...rest] = result.responses;
  const [sides, places] = [rest.slice(0, claim.side.length), rest.slice(claim.side.length)];
  const stored = lease?.[0];
  if (stored && isOurs(claim, value, stored)) return { won: { key, value, modRevision: stored.modRevision } };
  const { configRevision } = claim;
  if (configRevision !== undefined && config?.[0]?.modRevision !== configRevision) return { lost: 'config-changed' };
  if (claim.needsSettled && places.shift()?.[0]) return { lost: 'unsettled' };
  const moved = claim.side.filter((one, i) => one.modRevision !== (sides[i]?.[0]?.modRevision ?? 0));
  const stoodOnMore = claim.target !== undefined || claim.removes.length > 0 || claim.unanswered.length > 0;
  if (stoodOnMore || moved.some(({ about }) => about !== 'subnet6')) return { lost: 'moved' };
  const [here = [], ...next] = places;
  const isTold = here.length > 0 && claim.room.read === 'key';
  return {
    lost: 'taken',
    avoid: lostOnes(claim.subnets, here, moved),
    taken: claim.alternatives.filter((_, i) => next[i]?.length !== 0),
    free: isTold ? claim.alternatives.filter((_, i) => next[i]?.length === 0) : [],
  };
}

/** The client may have sent the transaction twice: then the first one won, and our own value stands there since. */
function isOurs({ etcdLease, target }: Claim, value: string, stored: KeyValue): boolean {
  return stored.value === value && stored.lease === etcdLease && stored.modRevision !== target?.modRevision;
}

/** What was lost, even if no well-formed key says so: else the same would be chosen for ever. */
function lostOnes(subnets: LeaseSubnets, here: readonly KeyValue[], moved: readonly SideKey[]): LeaseSubnets[] {
  const { subnet, subnet6 } = subnets;
  const only6 = { subnet: NO_IPV4, subnet6 };
  const only4 = subnet === NO_IPV4 ? only6 : { subnet, subnet6: undefined };
  return [...(here.length > 0 ? [only4] : []), ...(moved.length > 0 ? [only6] : [])];
}
