/**
 * The live set of peer leases: a fold over snapshots and watch events, without clock or I/O.
 *
 *                      decodes      ours?      policy, own subnet        older rival
 *   key, value ──────► lease ─────► ────────► individually valid ─────► accepted: `peers`
 *       └─► junk key           └─► own lease          └─► refused              └─► refused
 *
 * Troubles that this shape answers: one key that doesn't parse made flannel drop every peer; a snapshot after a restored
 * or wiped store must not take down a network whose holders are about to claim again, nor lead it back to where they were
 * on the day of the backup; a peer that is refused because of another must come back when that one goes. A change costs
 * what it touches, not the size of the set.
 */
import { type AddressRange, rangeOf } from '../config/address-range.ts';
import { decodeLeaseIn, parseLeaseKey, subnetsFolder } from './codec.ts';
import { ConflictIndex } from './conflict-index.ts';
import { coverage } from './coverage.ts';
import { type DirectoryPolicy, describeConflict, Entry, type Standing } from './directory-entry.ts';
import { excerpt } from './excerpt.ts';
import { JunkKeys } from './junk-keys.ts';
import type { StoredLease } from './lease.ts';
import type { KeyValue, StoreEvent } from './store.ts';

/** A key moved in or out of `peers`, or its value changed. A renewal is no change. */
export interface PeerChange {
  readonly key: string;
  readonly before: StoredLease | undefined;
  readonly after: StoredLease | undefined;
}

export interface Refusal {
  readonly key: string;
  readonly reason: string;
}

export interface Changes {
  /** In key order. */
  readonly peers: readonly PeerChange[];
  /** What was not refused before, for the log: the first hundred. */
  readonly refused: readonly Refusal[];
}

const MAX_LISTED = 1000;
const MAX_REPORTED = 100;

export class Directory {
  readonly #prefix: string;
  readonly #folder: string;
  readonly #graceMs: number;
  #policy: DirectoryPolicy | undefined;
  #own: readonly AddressRange[];
  readonly #entries = new Map<string, Entry>();
  readonly #index = new ConflictIndex<Entry>();
  readonly #peers = new Map<string, StoredLease>();
  readonly #refused = new Map<string, Entry>();
  /** Those whose standing is open. */
  readonly #open = new Set<Entry>();
  /** What a restored store has at the keys of leases that are kept. */
  readonly #contradictions = new Map<string, KeyValue>();
  #junk = new JunkKeys();
  /** Keys to be judged at the end of the batch. */
  readonly #touched = new Set<string>();
  #newJunk: Refusal[] = [];

  /**
   * @param policy undefined: nobody can tell yet who is a peer; leases are gathered, and judged when there is one.
   * @param graceMs how long a peer is kept that another store doesn't have.
   */
  constructor(prefix: string, policy: DirectoryPolicy | undefined, graceMs = 60_000) {
    this.#prefix = prefix;
    this.#folder = subnetsFolder(prefix);
    this.#policy = policy;
    this.#graceMs = graceMs;
    this.#own = this.#rangesOf(policy?.ownKey);
  }

  /** The accepted leases of other hosts by key: a live view. */
  get peers(): ReadonlyMap<string, StoredLease> {
    return this.#peers;
  }

  /** What is kept out, and why: at most a thousand, leases before keys that are none. */
  get refused(): ReadonlyMap<string, { readonly reason: string; readonly lease?: StoredLease }> {
    const listed = new Map<string, { reason: string; lease?: StoredLease }>();
    for (const [key, entry] of this.#refused) {
      if (listed.size === MAX_LISTED) return listed;
      listed.set(key, { reason: this.#reasonOf(entry), lease: entry.lease });
    }
    for (const [key, reason] of this.#junk.listed) {
      if (listed.size === MAX_LISTED) return listed;
      listed.set(key, { reason });
    }
    return listed;
  }

  /** How many there are, listed or not. */
  get refusedCount(): number {
    return this.#refused.size + this.#junk.size;
  }

  /** The lease at that key, be it ours, a peer's or refused. */
  get(key: string): StoredLease | undefined {
    return this.#entries.get(key)?.lease;
  }

  /** How many leases `all` has. */
  get size(): number {
    return this.#entries.size;
  }

  /** Every lease that decodes: peers, refused ones, our own, and those that a new store doesn't have yet. */
  all(): StoredLease[] {
    return Array.from(this.#entries.values(), ({ lease }) => lease);
  }

  /**
   * Takes over the whole range as it stands.
   * @param how.continuous the store is the one that we knew, so what is absent is gone. Otherwise what we knew is kept
   *   for the grace time, in which its holder can claim it again, and gives way only to what is put from now on.
   * @param how.now monotonic milliseconds, as for `sweep`.
   */
  applySnapshot(kvs: readonly KeyValue[], how: { readonly continuous: boolean; readonly now: number }): Changes {
    const wasKnown = this.#entries.size > 0;
    // To those that were known already it is compared.
    const present = new Map<string, KeyValue>();
    if (wasKnown) for (const kv of kvs) present.set(kv.key, kv);
    const until = how.continuous ? undefined : how.now + this.#graceMs;
    const junkBefore = this.#junk;
    this.#junk = new JunkKeys();
    if (until !== undefined) this.#keepAll(present, until);
    const isDoubted = until !== undefined && wasKnown;
    for (const kv of kvs) {
      if (this.#isContradiction(kv)) continue;
      // Who was in force to the last stays ahead.
      const isProven = !isDoubted || this.#inForce(kv.key)?.value === kv.value;
      this.#put(kv, junkBefore, isProven ? undefined : { kind: 'unproven', until });
    }
    if (wasKnown) this.#removeAbsent(present, until);
    return this.#settle();
  }

  #removeAbsent(present: ReadonlyMap<string, KeyValue>, until: number | undefined): void {
    for (const { key, standing } of this.#entries.values()) {
      const isKept = standing.kind === 'kept' && (until === undefined || standing.until === until);
      if (!present.has(key) && !isKept) this.#remove(key);
    }
    for (const key of this.#contradictions.keys()) if (!present.has(key)) this.#contradictions.delete(key);
  }

  /** Applies what an unbroken watch reports, in its order. Events older than what is known of their key do nothing. */
  applyEvents(events: readonly StoreEvent[]): Changes {
    for (const event of events) {
      const key = event.type === 'put' ? event.kv.key : event.key;
      const revision = event.type === 'put' ? event.kv.modRevision : event.modRevision;
      const known = this.#entries.get(key);
      if (known && known.standing.kind !== 'kept' && revision < known.lease.modRevision) continue;
      // The end of what nobody believed is not the end of what is kept in its place.
      const wasContradiction = this.#contradictions.delete(key);
      if (event.type === 'put') this.#put(event.kv, this.#junk);
      else if (!wasContradiction) this.#remove(key);
    }
    return this.#settle();
  }

  /** Ends the grace of those whose time is over: from then on the store is believed. */
  sweep(now: number): Changes {
    for (const { key, lease, standing } of this.#open) {
      if (standing.until > now) continue;
      const instead = this.#contradictions.get(key);
      this.#contradictions.delete(key);
      if (standing.kind === 'unproven') this.#place(new Entry(lease));
      else if (instead) this.#put(instead, this.#junk);
      else this.#remove(key);
    }
    return this.#settle();
  }

  /** When `sweep` has something to do; undefined: no lease is waited for. Until then nobody should allocate anew. */
  nextSweepAt(): number | undefined {
    let next: number | undefined;
    for (const { standing } of this.#open) if (next === undefined || standing.until < next) next = standing.until;
    return next;
  }

  /** Judges every lease again: our key is known now, or the network was widened. */
  setPolicy(policy: DirectoryPolicy): Changes {
    this.#policy = policy;
    this.#own = this.#rangesOf(policy.ownKey);
    for (const entry of this.#entries.values()) this.#place(entry);
    return this.#settle();
  }

  #rangesOf(key: string | undefined): readonly AddressRange[] {
    const parsed = key === undefined ? undefined : parseLeaseKey(this.#prefix, key);
    return parsed?.ok ? coverage(parsed.subnets).map(rangeOf) : [];
  }

  /** Before anything is judged, whatever is there. */
  #inForce(key: string): StoredLease | undefined {
    return this.#policy ? this.#peers.get(key) : this.#entries.get(key)?.lease;
  }

  /** Keeps what is in force and the store has no more, or has otherwise. */
  #keepAll(present: ReadonlyMap<string, KeyValue>, until: number): void {
    for (const { key, lease, standing, isOwn } of [...this.#entries.values()]) {
      const stands = present.get(key);
      if (stands?.value === lease.value || !(isOwn || this.#inForce(key))) continue;
      if (stands && standing.kind === 'unproven') continue;
      this.#place(new Entry(lease, { kind: 'kept', until }));
      if (stands) this.#contradictions.set(key, stands);
    }
  }

  /** Whether this is what the restored store had from the first, not put since. */
  #isContradiction({ key, modRevision, value }: KeyValue): boolean {
    if (this.#contradictions.size === 0) return false;
    const known = this.#contradictions.get(key);
    if (known?.modRevision === modRevision && known.value === value) return true;
    this.#contradictions.delete(key);
    return false;
  }

  #put(kv: KeyValue, junkBefore: JunkKeys, standing?: Standing): void {
    const known = this.#entries.get(kv.key);
    if (!standing && known?.isRenewedBy(kv)) {
      this.#renew(known, kv);
      return;
    }
    const decoded = decodeLeaseIn(this.#folder, kv);
    if (decoded.ok) {
      this.#junk.delete(kv.key);
      this.#place(new Entry(decoded.lease, standing));
      return;
    }
    this.#remove(kv.key);
    if (this.#newJunk.length < MAX_REPORTED && !junkBefore.has(kv.key))
      this.#newJunk.push({ key: excerpt(kv.key), reason: decoded.reason });
    this.#junk.add(kv.key, decoded.reason);
  }

  #renew(entry: Entry, kv: KeyValue): void {
    entry.lease = { ...entry.lease, modRevision: kv.modRevision, etcdLease: kv.lease };
    // Another value of this very batch is yet to be told.
    if (this.#peers.get(entry.key)?.value === entry.lease.value) this.#peers.set(entry.key, entry.lease);
  }

  /** Puts an entry where it belongs, in place of what had its key. */
  #place(entry: Entry): void {
    const before = this.#entries.get(entry.key);
    if (before) this.#forget(before);
    this.#entries.set(entry.key, entry);
    if (entry.standing.kind !== 'stored') this.#open.add(entry);
    if (!this.#policy) return;
    entry.judge(this.#policy, this.#own);
    if (!entry.isOwn && entry.invalid === undefined) {
      this.#index.add(entry);
      entry.isIndexed = true;
    }
    this.#touched.add(entry.key);
  }

  #forget(entry: Entry): void {
    if (entry.isIndexed) this.#index.delete(entry);
    entry.isIndexed = false;
    this.#open.delete(entry);
    this.#touched.add(entry.key);
  }

  #remove(key: string): void {
    this.#junk.delete(key);
    const entry = this.#entries.get(key);
    if (!entry) return;
    this.#forget(entry);
    this.#entries.delete(key);
  }

  /** Ends a batch: judges what it touched and what that set free, each once. */
  #settle(): Changes {
    if (!this.#policy) this.#touched.clear();
    for (const { key } of this.#index.takeDoubted()) this.#touched.add(key);
    const peers: PeerChange[] = [];
    const refused = this.#newJunk;
    for (const key of this.#touched) {
      const change = this.#settleKey(key, refused);
      if (change) peers.push(change);
    }
    this.#touched.clear();
    this.#newJunk = [];
    return { peers: peers.sort((a, b) => (a.key < b.key ? -1 : 1)), refused };
  }

  #settleKey(key: string, refused: Refusal[]): PeerChange | undefined {
    const entry = this.#entries.get(key);
    const isPeer = entry?.isIndexed && this.#index.conflictOf(entry) === undefined;
    const before = this.#peers.get(key);
    const after = isPeer ? entry?.lease : undefined;
    if (after) this.#peers.set(key, after);
    else this.#peers.delete(key);
    this.#noteRefusal(key, entry && !isPeer && !entry.isOwn ? entry : undefined, refused);
    return before?.value === after?.value ? undefined : { key, before, after };
  }

  #noteRefusal(key: string, entry: Entry | undefined, refused: Refusal[]): void {
    if (entry === undefined) {
      this.#refused.delete(key);
      return;
    }
    if (!this.#refused.has(key) && refused.length < MAX_REPORTED) refused.push({ key, reason: this.#reasonOf(entry) });
    this.#refused.set(key, entry);
  }

  #reasonOf(entry: Entry): string {
    if (entry.invalid !== undefined) return entry.invalid;
    const conflict = this.#index.conflictOf(entry);
    if (conflict === undefined) return '';
    return describeConflict(entry, conflict);
  }
}
