/** What is so in etcd, whatever anybody knows of it, and what must never be. */
import { overlaps } from '../../../config/address.ts';
import { decodeLease, parseOwner } from '../../../leases/codec.ts';
import { coverage } from '../../../leases/coverage.ts';
import type { StoredLease } from '../../../leases/lease.ts';
import { keysUnder } from '../../../leases/registry.ts';
import type { VirtualClock } from '../../fakes/clock.ts';
import type { FakeBackup, FakeEtcd } from '../../fakes/etcd.ts';
import { PREFIX } from '../leases/leases.ts';

export const KEYS = keysUnder(PREFIX);
const CHALLENGES = `${PREFIX}/tartan/challenges/`;
/** After a restore leases may stand there from before their holders' time; until then those have claimed again. */
const SETTLED_MS = 90_000;
/** An answer may be on its way while the lease is taken, and of so short a sleep nobody wakes. */
const ANSWER_MS = 8_000;

/** A lease as long as it stands unchanged. */
function idOf({ key, value }: Pick<StoredLease, 'key' | 'value'>): string {
  return `${key} ${value}`;
}

function areRivals(a: StoredLease, b: StoredLease): boolean {
  if (a.publicIp === b.publicIp) return true;
  return coverage(a).some((one) => coverage(b).some((other) => overlaps(one, other)));
}

export class Truth {
  readonly #time: VirtualClock;
  readonly #etcd: FakeEtcd;
  readonly #since = new Map<string, { readonly lease: StoredLease; readonly at: number }>();
  /** What ended by an event, which its watchers see, if only after the next restore. */
  readonly #ended = new Set<string>();
  /** What was lost without one: the store was restored. */
  readonly #lost = new Map<string, { readonly lease: StoredLease; readonly at: number }>();
  restoredAt = Number.NEGATIVE_INFINITY;
  /** Empty, or the model has found something. */
  readonly violations: string[] = [];

  constructor(time: VirtualClock, etcd: FakeEtcd) {
    this.#time = time;
    this.#etcd = etcd;
    etcd.subscribe((change) => this.#look(change));
  }

  get leases(): readonly StoredLease[] {
    return this.#etcd.range(KEYS.subnets).flatMap((kv) => {
      const decoded = decodeLease(PREFIX, kv);
      return decoded.ok ? [decoded.lease] : [];
    });
  }

  restore(backup: Partial<FakeBackup>): void {
    this.restoredAt = this.#time.monotonic();
    this.#etcd.restore(backup);
  }

  note(what: string): void {
    this.violations.push(`${this.#time.monotonic()} ms, revision ${this.#etcd.version.revision}: ${what}`);
  }

  /** For how long this lease has stood as it is, ms. */
  ageOf(lease: StoredLease): number {
    return this.#time.monotonic() - (this.#since.get(idOf(lease))?.at ?? this.#time.monotonic());
  }

  /**
   * Whether a host may take the lease out of its kernel: it was ended, a restored store gave it its time, or somebody
   * who lives has put another in its place since.
   */
  mayGo(key: string, value: string, graceMs: number): boolean {
    const id = idOf({ key, value });
    const lost = this.#lost.get(id);
    return this.#ended.has(id) || (lost !== undefined && this.#time.monotonic() >= lost.at + graceMs);
  }

  #look(change: 'events' | 'restored'): void {
    const at = this.#time.monotonic();
    const { leases } = this;
    const present = new Map(leases.map((lease) => [idOf(lease), lease]));
    for (const [id, { lease }] of this.#since) {
      if (present.has(id)) continue;
      this.#since.delete(id);
      if (change === 'events') this.#ended.add(id);
      else this.#lost.set(id, { lease, at });
    }
    for (const [id, lease] of present) {
      const known = this.#since.get(id);
      // Put again with the same value: by somebody who lives.
      if (known?.lease.modRevision === lease.modRevision) continue;
      this.#since.set(id, { lease, at: known?.at ?? at });
      this.#lost.delete(id);
      if (change === 'events') this.#displace(lease);
    }
    this.#checkPairs(leases);
    this.#checkAnswers(leases);
  }

  /** What a restored store lost ends too when somebody puts another in its place. */
  #displace(by: StoredLease): void {
    for (const [id, { lease }] of this.#lost) if (areRivals(lease, by)) this.#ended.add(id);
  }

  #checkPairs(leases: readonly StoredLease[]): void {
    for (const [i, a] of leases.entries()) {
      for (const b of leases.slice(i + 1)) {
        const both = `${a.key} of ${a.owner?.name} and ${b.key} of ${b.owner?.name}`;
        if (areRivals(a, b)) this.note(`one subnet or public IP: ${both}`);
        if (a.owner?.node === b.owner?.node) this.note(`one node: ${both}`);
      }
    }
  }

  /** Nobody says that it holds what another one holds: not even who slept while it was taken. */
  #checkAnswers(leases: readonly StoredLease[]): void {
    const { revision } = this.#etcd.version;
    if (this.#time.monotonic() < this.restoredAt + SETTLED_MS) return;
    for (const kv of this.#etcd.kvs) {
      if (kv.modRevision !== revision || !kv.key.startsWith(CHALLENGES)) continue;
      const said: { readonly answer?: unknown } = JSON.parse(kv.value);
      const answer = parseOwner(said.answer);
      const lease = leases.find(({ key }) => key === KEYS.subnets.key + kv.key.slice(CHALLENGES.length));
      if (answer && lease && lease.owner?.claim !== answer.claim && this.ageOf(lease) > ANSWER_MS)
        this.note(`${answer.name} answers for ${lease.key}, which ${lease.owner?.name} holds`);
    }
  }
}
