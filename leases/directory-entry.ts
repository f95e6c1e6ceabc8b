import type { Prefix } from '../config/address.ts';
import { type AddressRange, overlap, rangeOf } from '../config/address-range.ts';
import type { Claimant, Conflict } from './conflict-index.ts';
import { coverage } from './coverage.ts';
import { excerpt } from './excerpt.ts';
import type { StoredLease } from './lease.ts';
import type { KeyValue } from './store.ts';

/** What the caller knows about leases. When that changes: setPolicy. */
export interface DirectoryPolicy {
  /** The key of the lease that this host holds: never a peer, and nobody may overlap it. */
  readonly ownKey: string | undefined;
  /** Looks at a lease alone. Pure. */
  judge(lease: StoredLease): Judgement;
}

/**
 * Why a lease can't be a peer's (network and backend checks), or what no two leases may share: `public IP 192.0.2.1`,
 * `MAC 02:…`.
 */
export type Judgement = { readonly refused: string } | { readonly identities: readonly string[] };

/**
 * What a lease stands on, and until when that is left open (monotonic ms), where the store was restored or wiped:
 *
 *   stored     the store has it
 *   kept       the store had it, and its holder is given time to claim it again
 *   unproven   the restored store has it from some earlier day: it gives way to what was known to the last
 */
export interface Standing {
  readonly kind: 'stored' | 'kept' | 'unproven';
  readonly until: number;
}

const STORED: Standing = { kind: 'stored', until: Number.POSITIVE_INFINITY };
const RANK = { stored: 0, kept: 1, unproven: 2 } as const;

const NOTHING: readonly string[] = [];

/** A lease in the directory, and what is thought of it. There are thousands: what can be told of the lease is not kept. */
export class Entry implements Claimant {
  lease: StoredLease;
  tokens = NOTHING;
  isOwn = false;
  invalid: string | undefined;
  isIndexed = false;
  readonly standing: Standing;

  constructor(lease: StoredLease, standing = STORED) {
    this.lease = lease;
    this.standing = standing;
  }

  get key(): string {
    return this.lease.key;
  }

  get prefixes(): readonly Prefix[] {
    return coverage(this.lease);
  }

  /** Looks at the lease alone: whether it is ours, valid, and what it lays claim to. */
  judge(policy: DirectoryPolicy, own: readonly AddressRange[]): void {
    this.isOwn = this.key === policy.ownKey;
    this.invalid = undefined;
    this.tokens = NOTHING;
    if (this.isOwn) return;
    const ours = own.find((range) => this.prefixes.some((prefix) => overlap(range, rangeOf(prefix))));
    const judgement = ours ? { refused: `it overlaps our own ${ours.prefix}` } : policy.judge(this.lease);
    if ('refused' in judgement) this.invalid = judgement.refused;
    else this.tokens = judgement.identities;
  }

  /** By standing first: revisions of two stores don't compare. */
  isOlderThan(other: Entry): boolean {
    const rank = RANK[this.standing.kind] - RANK[other.standing.kind];
    const age = rank || this.lease.createRevision - other.lease.createRevision;
    return age < 0 || (age === 0 && this.key < other.key);
  }

  /** Whether a key as it is read now says the same of the lease, at most on another etcd lease. */
  isRenewedBy(kv: KeyValue): boolean {
    const { value, createRevision, modRevision } = this.lease;
    if (value !== kv.value || createRevision !== kv.createRevision) return false;
    // Put again, by somebody who lives.
    return this.standing.kind === 'stored' || (this.standing.kind === 'unproven' && kv.modRevision === modRevision);
  }
}

function nameOf({ owner, publicIp, publicIp6 }: StoredLease): string {
  const ip = publicIp6 === undefined ? publicIp : `${publicIp}, ${publicIp6}`;
  return owner === undefined ? ip : `${excerpt(owner.name || owner.node)} (${ip})`;
}

/** Why `entry` is kept out although it is valid by itself. */
export function describeConflict(entry: Entry, conflict: Conflict<Entry>): string {
  const { lease } = conflict.with;
  const holder = `the older lease ${coverage(lease).join(' ')} of ${nameOf(lease)}`;
  if (entry.tokens.includes(conflict.about)) return `it has the ${conflict.about} of ${holder}`;
  return `it overlaps ${holder}`;
}
