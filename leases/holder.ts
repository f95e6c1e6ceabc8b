/**
 * Keeping the lease. An event on the key is a doubt, never a verdict: the key is read, then judged.
 *
 *             renewal due / doubt / the clock jumped
 *   holding ─────────────────────▶ read the key ─▶ ours      renew by KeepAlive, never by a PUT
 *      ▲                                          ├▶ altered   put ours again
 *      ├──────────── done ◀───────────────────────┼▶ gone      claim the same subnet again, at once
 *      │                                          ├▶ outdated  the same, after asking who stands there
 *      └── etcd away: back off, keep forwarding   ├▶ flanneld  LEASE_TAKEN_OVER: step aside, touch nothing
 *                                                 └▶ taken     LEASE_LOST
 *
 * What the lease says is another thing: where the host has another public IP since, the key is put once it is ours.
 */
import { TartanError, toError } from '../config/errors.ts';
import { Wakeup } from '../config/wakeup.ts';
import type { OwnedAttributes } from './claim.ts';
import { decodeLease, formatLeaseValue } from './codec.ts';
import { leaves, type Offer, traded, tradesOf } from './exchange.ts';
import type { AcquireContext } from './ground.ts';
import type { HeldLease } from './held-lease.ts';
import type { LeaseAttributes, LeaseOwner } from './lease.ts';
import { LeaseClock, LOOK_MS } from './lease-clock.ts';
import { Pace } from './pace.ts';
import { readvertise } from './readvertise.ts';
import { type Reclaimed, reclaim } from './reclaim.ts';
import { isForbidden } from './registry.ts';
import { nextPutAt, pauseMs } from './renewal.ts';
import type { KeyValue, StoreVersion } from './store.ts';
import { announceUnsettled, follows } from './store-trust.ts';
import { judge } from './verdict.ts';

/** In a store that was restored or wiped everybody claims again: spread over this, well within its grace time. */
const SPREAD_MS = 10_000;
const SURE_MS = 50;
const MOST_OFFERS = 50;
const READVERTISE_MS = 10_000;

export interface HolderOptions {
  /** --subnet-lease-renew-margin. */
  readonly marginSeconds: number;
  /** Whether the value names a device of this host (its MAC is ours, or the backend has none). */
  readonly isOurDevice: (attributes: LeaseAttributes) => boolean;
  /** Whether a live lease was written by a flanneld, whose node sees us again only after a PUT if it lost its peers. */
  readonly flanneldsLive: () => boolean;
  readonly onHeld: (held: HeldLease) => void;
  /** Why the lease is only remembered; undefined: it was read or claimed a moment ago. */
  readonly unconfirmed?: string | undefined;
}

export interface Failing {
  /** Wall clock, ms. */
  readonly since: number;
  readonly attempts: number;
  readonly error: string;
}

export class Holder {
  readonly #context: AcquireContext;
  readonly #options: HolderOptions;
  readonly #doorbell = new Wakeup();
  readonly #pace: Pace;
  readonly #leaseClock: LeaseClock;
  #held: HeldLease;
  /** The store as last seen. */
  #version: StoreVersion;
  #doubted = false;
  /** Monotonic clock, ms. */
  #putDueAt: number;
  #failing: Failing | undefined;
  #isConfirmed: boolean;
  /** What the lease is to say. */
  #wanted: OwnedAttributes;
  /** By its text, what we put, tried to or agreed to: it may stand there though no answer said so. */
  readonly #offers = new Map<string, OwnedAttributes>();
  #refusedBy: LeaseOwner | undefined;

  constructor(context: AcquireContext, held: HeldLease, options: HolderOptions) {
    this.#context = context;
    this.#options = options;
    this.#held = held;
    this.#wanted = held.attributes;
    this.#version = { clusterId: held.clusterId, revision: held.modRevision };
    this.#pace = new Pace(context.clock);
    this.#leaseClock = new LeaseClock(context.clock, held.expiresAt);
    this.#putDueAt = nextPutAt(context.clock);
    const { unconfirmed } = options;
    this.#isConfirmed = unconfirmed === undefined;
    // As after a renewal that failed: whatever etcd says first of our key is reason to read and judge it.
    if (unconfirmed !== undefined) this.#failing = { since: context.clock.now(), attempts: 1, error: unconfirmed };
  }

  /** Whether etcd was seen to have the lease, by this holder or by who claimed it. */
  get isConfirmed(): boolean {
    return this.#isConfirmed;
  }

  get held(): HeldLease {
    return this.#held;
  }

  /** Why renewals fail, since when; undefined while they do not. */
  get failing(): Failing | undefined {
    return this.#failing;
  }

  /** Who lives with the public IP that the lease is to have, and has therefore not; undefined: nobody. */
  get refusedBy(): LeaseOwner | undefined {
    return this.#refusedBy;
  }

  /** The lease is to say this from now on: it is put when etcd lets us, and as long as it is not, the old value stays. */
  advertise(attributes: OwnedAttributes): void {
    this.#wanted = attributes;
    this.#refusedBy = undefined;
    if (formatLeaseValue(attributes) !== this.#held.value) this.#doubt();
  }

  /** What our lease may say instead where we leave what is wanted: for `answerChallenges`. */
  cede(offer: Offer): string | undefined {
    const { attributes } = this.#held;
    const trades = tradesOf(attributes, offer);
    if (!trades || !leaves(this.#wanted, trades)) return undefined;
    const ceded = { ...this.#wanted, ...traded(attributes, trades) };
    const value = formatLeaseValue(ceded);
    this.#offer(value, ceded);
    return value;
  }

  /** What a watch or a list says stands at our key. That anything is said shows, too, that etcd is back. */
  observe(kv: KeyValue | undefined): void {
    const isAsPut = kv && kv.value === this.#held.value && kv.lease === this.#held.etcdLease;
    if (!isAsPut || this.#failing) this.#doubt();
  }

  /**
   * Resolves when the lease is ours as far as anybody can know: at once, but where this process slept, the lease ran out
   * or is only remembered; then once the key was read. Rejects with the signal's reason. For whatever is done in the
   * lease's name.
   */
  async sure(): Promise<void> {
    await this.#until(() => this.#isConfirmed && this.#leaseClock.isSure());
  }

  /** As `sure`, but one that is only remembered is good until it has run out or etcd says otherwise: for this host's files. */
  async good(): Promise<void> {
    await this.#until(() => this.#leaseClock.isSure());
  }

  /** Returns never but by rejection: LEASE_LOST, LEASE_TAKEN_OVER, or the signal's reason. */
  async run(): Promise<never> {
    // It may have slept since the claim.
    if (!this.#leaseClock.isSure()) this.#doubted = true;
    for (;;) {
      if (!this.#doubted) await this.#wait(this.#pauseMs());
      await this.#step();
    }
  }

  async #until(is: () => boolean): Promise<void> {
    const { clock, signal } = this.#context;
    for (let isTold = false; !is(); isTold = true) {
      if (!isTold) this.#doubt();
      await clock.sleep(SURE_MS, signal);
    }
    signal.throwIfAborted();
  }

  #doubt(): void {
    this.#doubted = true;
    this.#doorbell.ring();
  }

  #pauseMs(): number {
    const { ttlSeconds } = this.#held;
    const { marginSeconds } = this.#options;
    const failures = this.#failing?.attempts ?? 0;
    return pauseMs(this.#context.clock, {
      ttlSeconds,
      marginSeconds,
      failures,
      isRefused: this.#refusedBy !== undefined,
    });
  }

  /** Until the time is over, the bell rings, or the clocks tell that this host slept or was set another time. */
  async #wait(ms: number): Promise<void> {
    const { clock, signal } = this.#context;
    const dueAt = clock.monotonic() + ms;
    const sleeps = this.#leaseClock.look();
    while (!this.#doubted && clock.monotonic() < dueAt && this.#leaseClock.look() === sleeps) {
      await this.#doorbell.wait(Math.min(dueAt - clock.monotonic(), LOOK_MS), clock, signal);
    }
  }

  async #step(): Promise<void> {
    const { clock, log, signal } = this.#context;
    this.#doubted = false;
    try {
      await this.#settle();
      // First: whatever keeps another address from us must not cost us the lease.
      await this.#renew();
      await this.#readvertise();
      if (this.#failing) log.info('the lease is renewed again', { subnet: this.#held.subnet });
      this.#failing = undefined;
      this.#isConfirmed = true;
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof TartanError && (error.code === 'LEASE_LOST' || error.code === 'LEASE_TAKEN_OVER'))
        throw error;
      const { message } = toError(error);
      if (!this.#failing)
        log.warn('the lease could not be renewed; trying again', { subnet: this.#held.subnet, error });
      const attempts = (this.#failing?.attempts ?? 0) + 1;
      this.#failing = { since: this.#failing?.since ?? clock.now(), attempts, error: message };
    }
  }

  /** Reads the key until it is ours. */
  async #settle(): Promise<void> {
    const { store, prefix, clock, log, signal } = this.#context;
    for (;;) {
      const sleeps = this.#leaseClock.look();
      const { kv, ...version } = await store.get(this.#held.key);
      // What was read before a sleep says nothing about now, even if somebody else noticed it first.
      if (this.#leaseClock.look() !== sleeps) continue;
      const isOtherStore = !follows(version, this.#version);
      this.#version = version;
      this.#recognise(kv);
      const verdict = judge(prefix, this.#held, { kv, ...version }, this.#options.isOurDevice);
      if (verdict === 'flanneld') throw this.#takenOver();
      if (verdict === 'taken' && kv) throw this.#lost(this.#publicIpAt(kv));
      if (kv && (verdict === 'ours' || verdict === 'reserved')) return this.#confirm(kv, version);
      if (isOtherStore) {
        log.warn('etcd is not the store that we knew: claiming our lease again', { subnet: this.#held.subnet });
        this.#leaseClock.awake();
        await announceUnsettled(store, prefix).catch((error: unknown) => {
          if (!isForbidden(error)) throw error;
        });
        await clock.sleep(SPREAD_MS * clock.random(), signal);
      } else await this.#repair(kv);
    }
  }

  /** A put of ours whose answer was lost, or an exchange that we agreed to: the next one goes on from there. */
  #recognise(kv: KeyValue | undefined): void {
    const attributes = kv && kv.value !== this.#held.value ? this.#offers.get(kv.value) : undefined;
    if (!kv || !attributes) return;
    const { publicIp, publicIp6 } = attributes;
    this.#context.log.info('the lease has another public IP', { subnet: this.#held.subnet, publicIp, publicIp6 });
    this.#become({ attributes, value: kv.value, modRevision: kv.modRevision });
  }

  async #readvertise(): Promise<void> {
    const { clock, log, signal } = this.#context;
    const giveUpAt = clock.monotonic() + READVERTISE_MS;
    while (formatLeaseValue(this.#wanted) !== this.#held.value) {
      const wanted = this.#wanted;
      this.#offer(this.#held.value, this.#held.attributes);
      this.#offer(formatLeaseValue(wanted), wanted);
      const result = await readvertise(this.#context, this.#held, wanted);
      if (result.outcome === 'held') {
        const { publicIp, publicIp6 } = wanted;
        log.info('the lease has another public IP', { subnet: this.#held.subnet, publicIp, publicIp6 });
        this.#become(result.held);
      } else if (result.outcome === 'foiled') {
        await clock.sleep(this.#pace.afterLoss(), signal);
        // Another try, but a renewal first.
        if (clock.monotonic() >= giveUpAt) {
          this.#doubted = true;
          return;
        }
        await this.#settle();
      } else if (wanted === this.#wanted) {
        return this.#refuse(result.by, wanted);
      }
    }
    this.#refusedBy = undefined;
  }

  /** Whoever may write to etcd can have us agree to many: the last ones are kept. */
  #offer(value: string, attributes: OwnedAttributes): void {
    this.#offers.delete(value);
    this.#offers.set(value, attributes);
    const [first] = this.#offers.keys();
    if (this.#offers.size > MOST_OFFERS && first !== undefined) this.#offers.delete(first);
  }

  #refuse(holder: LeaseOwner, { publicIp }: OwnedAttributes): void {
    const { subnet } = this.#held;
    const fields = { code: 'ADDRESS_IN_USE', holder, publicIp, subnet };
    if (!this.#refusedBy)
      this.#context.log.error('another live host has our public IP: the lease keeps the old one', fields);
    this.#refusedBy = holder;
  }

  #confirm({ modRevision, lease }: KeyValue, { clusterId }: StoreVersion): void {
    const { etcdLease } = this.#held;
    this.#leaseClock.awake();
    if (this.#held.modRevision === modRevision && this.#held.clusterId === clusterId && etcdLease === lease) return;
    const expiresAt = lease === '0' ? Number.POSITIVE_INFINITY : this.#held.expiresAt;
    this.#become({ modRevision, clusterId, etcdLease: lease, expiresAt });
  }

  async #repair(kv: KeyValue | undefined): Promise<void> {
    const { clock, log, signal } = this.#context;
    const { subnet } = this.#held;
    log.warn(kv ? 'our lease was altered: putting it again' : 'our lease is gone: claiming it again', { subnet });
    const result = await this.#reclaim(kv);
    if (result.outcome === 'lost') throw this.#lost(result.by);
    if (result.outcome === 'foiled') return clock.sleep(this.#pace.afterLoss(), signal);
    this.#become(result.held);
    this.#putDueAt = nextPutAt(clock);
    const restMs = this.#pace.afterRepair();
    if (restMs === 0) return;
    log.warn('somebody fights us for our lease: resting', { subnet, restMs });
    await clock.sleep(restMs, signal);
  }

  /** As it was: another address comes after it, in order. Only where a live host has the old one, with the new one. */
  async #reclaim(kv: KeyValue | undefined): Promise<Reclaimed> {
    const result = await reclaim(this.#context, this.#held, kv);
    const value = formatLeaseValue(this.#wanted);
    if (result.outcome !== 'lost' || value === this.#held.value) return result;
    return await reclaim(this.#context, { ...this.#held, attributes: this.#wanted, value }, kv);
  }

  async #renew(): Promise<void> {
    const { store, clock } = this.#context;
    const { etcdLease, sideLease } = this.#held;
    const renewed = etcdLease === '0' ? sideLease : etcdLease;
    if (renewed === undefined) return;
    const before = clock.now();
    const seconds = await store.keepAlive(renewed);
    if (seconds <= 0) return this.#revive();
    if (etcdLease !== '0') this.#become({ expiresAt: before + seconds * 1000 });
    if (this.#options.flanneldsLive() && clock.monotonic() >= this.#putDueAt) await this.#putAgain();
  }

  /** The etcd lease died between the read and here: the key went with it, or, of a reservation, the side keys. */
  async #revive(): Promise<void> {
    if (this.#held.etcdLease !== '0') return this.#settle();
    const { kv } = await this.#context.store.get(this.#held.key);
    if (kv?.value === this.#held.value) await this.#repair(kv);
    else await this.#settle();
  }

  async #putAgain(): Promise<void> {
    const { key, value, modRevision } = this.#held;
    const success = [{ put: key, value, keepLease: true as const }];
    const result = await this.#context.store.txn({ compare: [{ key, modRevision }], success, failure: [] });
    if (!result.succeeded) return this.#settle();
    this.#become({ modRevision: result.revision });
    this.#putDueAt = nextPutAt(this.#context.clock);
  }

  #become(change: Partial<HeldLease>): void {
    this.#held = { ...this.#held, ...change };
    if (change.expiresAt !== undefined) this.#leaseClock.extend(change.expiresAt);
    this.#options.onHeld(this.#held);
  }

  #publicIpAt(kv: KeyValue): string {
    const decoded = decodeLease(this.#context.prefix, kv);
    return decoded.ok ? decoded.lease.publicIp : kv.key;
  }

  #lost(by: string): TartanError {
    const { subnet } = this.#held;
    const message = `the lease of ${subnet} was taken by another host (${by}); restart to get a new one`;
    return new TartanError('LEASE_LOST', message, { data: { subnet, by } });
  }

  #takenOver(): TartanError {
    const message = `a flanneld on this host took the lease of ${this.#held.subnet} over; stop one of the two`;
    return new TartanError('LEASE_TAKEN_OVER', message, { data: { subnet: this.#held.subnet } });
  }
}
