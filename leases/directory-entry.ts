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

/** A lease in the directory, and what is thought of it. */
export class Entry implements Claimant {
  readonly key: string;
  readonly prefixes: readonly Prefix[];
  lease: StoredLease;
  tokens: readonly string[] = [];
  isOwn = false;
  invalid: string | undefined;
  isIndexed = false;
  /** When a key that a new store doesn't have is given up. */
  absentUntil: number | undefined;

  constructor(lease: StoredLease, absentUntil?: number) {
    this.key = lease.key;
    this.lease = lease;
    this.prefixes = coverage(lease);
    this.absentUntil = absentUntil;
  }

  /** Looks at the lease alone: whether it is ours, valid, and what it lays claim to. */
  judge(policy: DirectoryPolicy, ownPrefixes: readonly Prefix[]): void {
    this.isOwn = this.key === policy.ownKey;
    const own = ownPrefixes.find((ours) => this.prefixes.some((theirs) => overlaps(ours, theirs)));
    if (this.isOwn) this.invalid = undefined;
    else this.invalid = own === undefined ? policy.refuse(this.lease) : `it overlaps our own ${own}`;
    this.tokens = this.isOwn || this.invalid !== undefined ? [] : policy.identities(this.lease);
  }

  /** What the store has comes before what it only had: revisions of two stores don't compare. */
  isOlderThan(other: Entry): boolean {
    const [absent, otherAbsent] = [this.absentUntil !== undefined, other.absentUntil !== undefined];
    if (absent !== otherAbsent) return otherAbsent;
    const age = this.lease.createRevision - other.lease.createRevision;
    return age < 0 || (age === 0 && this.key < other.key);
  }
}

/** The same lease, at most on another etcd lease. A key that is back from absence has to be placed anew. */
export function isRenewal(known: Entry, kv: KeyValue): boolean {
  const { value, createRevision } = known.lease;
  return known.absentUntil === undefined && value === kv.value && createRevision === kv.createRevision;
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
