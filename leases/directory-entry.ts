import { overlaps, type Prefix } from '../config/address.ts';
import type { Claimant, Conflict } from './conflict-index.ts';
import { coverage } from './coverage.ts';
import { excerpt } from './excerpt.ts';
import type { StoredLease } from './lease.ts';
import type { KeyValue } from './store.ts';

/** What the caller knows about leases. Both functions are pure; when what they know changes: setPolicy. */
export interface DirectoryPolicy {
  /** The key of the lease that this host holds: never a peer, and nobody may overlap it. */
  readonly ownKey: string | undefined;
  /** Why a lease can't be a peer's, looked at alone: network and backend checks. */
  refuse(lease: StoredLease): string | undefined;
  /** What no two leases may share: `public IP 192.0.2.1`, `MAC 02:…`. */
  identities(lease: StoredLease): readonly string[];
}

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

/** A lease in the directory, and what is thought of it. */
export class Entry implements Claimant {
  readonly key: string;
  readonly prefixes: readonly Prefix[];
  lease: StoredLease;
  tokens: readonly string[] = [];
  isOwn = false;
  invalid: string | undefined;
  isIndexed = false;
  readonly standing: Standing;

  constructor(lease: StoredLease, standing = STORED) {
    this.key = lease.key;
    this.lease = lease;
    this.prefixes = coverage(lease);
    this.standing = standing;
  }

  /** Looks at the lease alone: whether it is ours, valid, and what it lays claim to. */
  judge(policy: DirectoryPolicy, ownPrefixes: readonly Prefix[]): void {
    this.isOwn = this.key === policy.ownKey;
    const own = ownPrefixes.find((ours) => this.prefixes.some((theirs) => overlaps(ours, theirs)));
    if (this.isOwn) this.invalid = undefined;
    else this.invalid = own === undefined ? policy.refuse(this.lease) : `it overlaps our own ${own}`;
    this.tokens = this.isOwn || this.invalid !== undefined ? [] : policy.identities(this.lease);
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
