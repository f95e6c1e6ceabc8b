/** What etcd says, as this agent has it: the network config, the peers, and the own key; all from one list and watch. */
import type { Clock } from '../config/clock.ts';
import { Durations } from '../config/durations.ts';
import type { Log } from '../config/log.ts';
import { Wakeup } from '../config/wakeup.ts';
import type { Changes, PeerChange } from '../leases/directory.ts';
import { Directory } from '../leases/directory.ts';
import type { DirectoryPolicy } from '../leases/directory-entry.ts';
import type { StoredLease } from '../leases/lease.ts';
import type { ClusterView, Keys } from '../leases/registry.ts';
import { keysUnder, viewOf } from '../leases/registry.ts';
import type { KeyValue, Store, StoreEvent, StoreVersion } from '../leases/store.ts';
import type { StoreTrust } from '../leases/store-trust.ts';
import type { FollowState, RangeSnapshot } from '../leases/watch.ts';
import { followRange } from '../leases/watch.ts';
import type { RememberedCluster } from './cluster-file.ts';
import type { StartRush } from './start-rush.ts';
import { StoreGrace } from './store-grace.ts';

const SWEEP_MS = 1_000;

/** Whoever must act on what changed. */
export interface ClusterListener {
  /** `complete`: what is no peer now may be removed from the kernel. */
  onPeers(changes: readonly PeerChange[], complete: boolean): void;
  onOwnKey(kv: KeyValue | undefined): void;
  onConfig(kv: KeyValue | undefined): void;
}

export interface ClusterOptions {
  readonly store: Store;
  readonly prefix: string;
  readonly clock: Clock;
  readonly log: Log;
  /** The store as this host last saw it. */
  readonly known: StoreVersion | undefined;
  /** What is not needed to be up comes behind. */
  readonly rush?: Pick<StartRush, 'over'>;
}

export class Cluster {
  readonly #options: ClusterOptions;
  readonly #keys: Keys;
  readonly #changed = new Wakeup();
  readonly #grace: StoreGrace;
  readonly directory: Directory;
  state: FollowState;
  config: KeyValue | undefined;
  events = 0;
  readonly listing = new Durations();
  /** Another one whenever a list or an event came. */
  edition = 0;
  /** Wall clock, ms: of when everything here is, while nothing of it is etcd's yet. */
  recalledOf: number | undefined;
  /** Why etcd is away, each told once an outage: two that take turns must not fill the log. */
  readonly #reasons = new Set<string>();
  #ownKey: string | undefined;
  #listener: ClusterListener | undefined;
  /** The first list, for the first claim to start from; outdated by the first event. */
  #fresh: RangeSnapshot | undefined;

  constructor(options: ClusterOptions) {
    this.#options = options;
    this.#keys = keysUnder(options.prefix);
    this.directory = new Directory(options.prefix, undefined);
    this.#grace = new StoreGrace(options.clock, options.known);
    this.state = { connected: false, since: options.clock.now(), reason: '', error: undefined };
  }

  /** The store as last seen; undefined: etcd has not answered yet. */
  get version(): StoreVersion | undefined {
    return this.#grace.version;
  }

  /** Whether what is free in the store may be taken. */
  get trust(): StoreTrust | undefined {
    return this.#grace.trust;
  }

  /** Follows etcd until the signal is aborted. */
  async follow(signal: AbortSignal): Promise<void> {
    const { store, clock, log, known, rush } = this.#options;
    await followRange({
      ...{ store, clock, log, signal, range: this.#keys.watched, ...(known ? { known } : {}) },
      ...(rush && { beforeWatch: () => rush.over }),
      fleet: () => this.directory.peers.size,
      onListed: (ms) => this.listing.add(ms),
      onSnapshot: (snapshot) => this.#onSnapshot(snapshot),
      onEvents: (events, revision) => this.#onEvents(events, revision),
      onState: (state) => this.#onState(state),
    });
  }

  /**
   * Sweeps what was waited for: leases that a restored store lost, and leftovers in the kernel of a store unknown. Only
   * what is absent still: who slept through the grace, or lost its watch in it, has yet to hear who claimed again.
   */
  async sweep(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    for (;;) {
      await clock.sleep(SWEEP_MS, signal);
      if (this.#nextSweepAt() > clock.monotonic() || !(await this.#hasSeenAll())) continue;
      this.#tell(this.directory.sweep(clock.monotonic()));
      if (this.#grace.end()) this.#listener?.onPeers([], true);
    }
  }

  #nextSweepAt(): number {
    return Math.min(this.directory.nextSweepAt() ?? Number.POSITIVE_INFINITY, this.#grace.endsAt);
  }

  /** Whether every lease that stands in the store was told here. */
  async #hasSeenAll(): Promise<boolean> {
    const before = this.version;
    const listing = await this.#options.store.list(this.#keys.subnets, { keysOnly: true }).catch(() => undefined);
    return listing !== undefined && this.#grace.hasHeard(listing, before);
  }

  /** Resolves at the next change of anything here, or after `ms`. */
  async change(ms: number, signal: AbortSignal): Promise<void> {
    await this.#changed.wait(ms, this.#options.clock, signal);
  }

  /** How many leases there are, ours and refused ones included. */
  get leaseCount(): number {
    return this.directory.size;
  }

  /** The version of a store that has what it should have; undefined: it is not known to. */
  get settledVersion(): StoreVersion | undefined {
    return this.directory.nextSweepAt() === undefined ? this.#grace.settledVersion : undefined;
  }

  /** Ours and those of our peers, as they stand in the store. */
  get leasesInUse(): readonly StoredLease[] {
    const own = this.#ownKey === undefined ? undefined : this.directory.get(this.#ownKey);
    return [...(own ? [own] : []), ...this.directory.peers.values()];
  }

  /** Goes by what an earlier run saw, for as long as etcd has not answered. The first list is judged as if it had not. */
  recall({ kvs, config, savedAt }: RememberedCluster): void {
    if (this.version !== undefined || this.recalledOf !== undefined) return;
    this.recalledOf = savedAt;
    this.config = { key: this.#keys.config, value: config, createRevision: 0, modRevision: 0, lease: '0' };
    this.#tell(this.directory.applySnapshot(kvs, { continuous: true, now: this.#options.clock.monotonic() }));
    this.#changed.ring();
  }

  /** Whether etcd, as far as it was seen, has the lease as it was held. */
  mayStillHold({ key, value, etcdLease }: Pick<StoredLease, 'key' | 'value' | 'etcdLease'>): boolean {
    if (this.version === undefined) return true;
    const stored = this.directory.get(key);
    return stored?.value === value && stored.etcdLease === etcdLease;
  }

  /** The first list where nothing happened since; given out once. */
  takeFreshView(): ClusterView | undefined {
    const snapshot = this.#fresh;
    this.#fresh = undefined;
    return snapshot && viewOf(this.#options.prefix, snapshot, (kv) => this.#decoded(kv));
  }

  /** From now on peers are judged by `policy` and told to `listener`, first all that there is. */
  serve(policy: DirectoryPolicy, listener: ClusterListener): void {
    this.#fresh = undefined;
    this.#ownKey = policy.ownKey;
    const { refused } = this.directory.setPolicy(policy);
    this.#listener = listener;
    // Not listed yet: all of it follows with the list.
    if (this.version === undefined && this.recalledOf === undefined) return;
    const peers = [...this.directory.peers].map(([key, after]) => ({ key, before: undefined, after }));
    this.#logRefused({ peers: [], refused });
    listener.onPeers(peers, this.#grace.serve());
    // What was changed since the claim, before anybody listened.
    listener.onConfig(this.config);
    this.#tellOwnKey();
  }

  /** Judges everything again: the networks have changed. */
  judge(policy: DirectoryPolicy): void {
    this.#ownKey = policy.ownKey;
    this.#tell(this.directory.setPolicy(policy));
  }

  #onSnapshot(snapshot: RangeSnapshot): void {
    const { clock } = this.#options;
    const { kvs, continuous, ...version } = snapshot;
    const isFirst = this.version === undefined;
    const isOther = this.#grace.listed(version, continuous);
    this.edition++;
    if (this.recalledOf !== undefined) {
      this.#options.log.info('etcd answered: no longer going by remembered leases', { ...version });
      this.recalledOf = undefined;
    }
    if (isOther) {
      this.#options.log.warn('etcd is not the store that we knew: absent leases are kept for a while', {
        ...version,
      });
    }
    this.config = kvs.find(({ key }) => key === this.#keys.config);
    const leases = kvs.filter(({ key }) => key.startsWith(this.#keys.subnets.key));
    this.#tell(this.directory.applySnapshot(leases, { continuous, now: clock.monotonic() }));
    if (this.#listener === undefined) this.#fresh = snapshot;
    this.#listener?.onConfig(this.config);
    if (this.#ownKey !== undefined) this.#listener?.onOwnKey(kvs.find(({ key }) => key === this.#ownKey));
    if (isFirst) this.#listener?.onPeers([], this.#grace.serve());
    this.#changed.ring();
  }

  /** Two stores may have the same revision of a key, not of the same value. */
  #decoded({ key, value, createRevision, modRevision, lease: etcdLease }: KeyValue): StoredLease | undefined {
    const lease = this.directory.get(key);
    const isSame = lease?.value === value && lease.etcdLease === etcdLease && lease.modRevision === modRevision;
    return isSame && lease.createRevision === createRevision ? lease : undefined;
  }

  #onEvents(events: readonly StoreEvent[], revision: number): void {
    this.#fresh = undefined;
    this.edition++;
    this.events += events.length;
    this.#grace.heard(revision);
    const leases: StoreEvent[] = [];
    for (const event of events) {
      const key = event.type === 'put' ? event.kv.key : event.key;
      const kv = event.type === 'put' ? event.kv : undefined;
      if (key === this.#keys.config) this.#onConfig(kv);
      else if (key.startsWith(this.#keys.subnets.key)) leases.push(event);
      if (key === this.#ownKey) this.#listener?.onOwnKey(kv);
    }
    this.#tell(this.directory.applyEvents(leases));
    this.#changed.ring();
  }

  #tellOwnKey(): void {
    if (this.#ownKey === undefined) return;
    const own = this.directory.get(this.#ownKey);
    this.#listener?.onOwnKey(own && { ...own, lease: own.etcdLease });
  }

  #onConfig(kv: KeyValue | undefined): void {
    this.config = kv;
    this.#listener?.onConfig(kv);
  }

  #onState(state: FollowState): void {
    const { log } = this.#options;
    if (state.connected) {
      log.info('connected to etcd');
      this.#reasons.clear();
      // Whoever waits to renew our lease must not wait for a change of it.
      this.#tellOwnKey();
    } else if (!this.#reasons.has(state.reason)) {
      const code = state.error?.code ?? 'ETCD_UNAVAILABLE';
      log.warn('etcd is away: the network stays as it is', { code, reason: state.reason });
      this.#reasons.add(state.reason);
    }
    this.state = state;
    this.#changed.ring();
  }

  #tell(changes: Changes): void {
    if (!this.#listener) return;
    this.#logRefused(changes);
    if (changes.peers.length > 0) this.#listener.onPeers(changes.peers, false);
  }

  #logRefused({ refused }: Changes): void {
    for (const { key, reason } of refused.slice(0, 10)) {
      this.#options.log.warn('a lease is refused and kept out of the kernel', { key, reason });
    }
    if (refused.length > 10) this.#options.log.warn('more leases are refused', { count: refused.length });
  }
}
