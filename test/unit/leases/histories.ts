/** Agents that live through crashes, outages and hands in the store, each with its own slow connection to one etcd. */

import { overlaps } from '../../../config/address.ts';
import { TartanError } from '../../../config/errors.ts';
import { silentLog } from '../../../config/log.ts';
import { parseNetworkConfig } from '../../../config/network-config.ts';
import { type Acquisition, acquire } from '../../../leases/acquisition.ts';
import { answerChallenges } from '../../../leases/challenge.ts';
import { decodeLease } from '../../../leases/codec.ts';
import { coverage } from '../../../leases/coverage.ts';
import type { AcquireRequest } from '../../../leases/ground.ts';
import type { HeldLease } from '../../../leases/held-lease.ts';
import { Holder } from '../../../leases/holder.ts';
import type { StoredLease } from '../../../leases/lease.ts';
import { keysUnder } from '../../../leases/registry.ts';
import type { KeyValue, Store } from '../../../leases/store.ts';
import { type StoreTrust, trustAfter } from '../../../leases/store-trust.ts';
import { followRange } from '../../../leases/watch.ts';
import { VirtualClock } from '../../fakes/clock.ts';
import { FakeEtcd } from '../../fakes/etcd.ts';
import type { FakeStore } from '../../fakes/store.ts';
import { ip, PREFIX } from './leases.ts';

const KEYS = keysUnder(PREFIX);
const LATENCY_MS = 40;

export interface Identity {
  readonly publicIp: string;
  readonly node: string;
}

/**
 * The same store, by a slow line: whatever can come between two calls of one agent sometimes does. Of a crashed agent
 * what was sent still arrives, and nothing more is sent.
 */
function slowed(store: FakeStore, clock: VirtualClock, life: AbortSignal): Store {
  const pause = (): Promise<void> => clock.sleep(Math.floor(clock.random() * LATENCY_MS), new AbortController().signal);
  const slow = async <T>(call: () => Promise<T>): Promise<T> => {
    if (life.aborted) return new Promise<never>(() => undefined);
    await pause();
    const answer = await call();
    await pause();
    return answer;
  };
  return {
    get: (key) => slow(() => store.get(key)),
    list: (range, options) => slow(() => store.list(range, options)),
    txn: (txn) => slow(() => store.txn(txn)),
    grant: (seconds) => slow(() => store.grant(seconds)),
    keepAlive: (lease) => slow(() => store.keepAlive(lease)),
    timeToLive: (lease) => slow(() => store.timeToLive(lease)),
    revoke: (lease) => slow(() => store.revoke(lease)),
    watch: (range, from, handler) => store.watch(range, from, handler),
    reconnect: () => store.reconnect(),
    close: () => store.close(),
  };
}

export class History {
  readonly clock: VirtualClock;
  readonly etcd: FakeEtcd;
  readonly agents: readonly Agent[];
  /** What was seen in the store and must never be: empty. */
  readonly violations: string[] = [];

  constructor(identities: readonly Identity[], config: string, ttlSeconds: number, seed: number) {
    this.clock = new VirtualClock(undefined, seed);
    this.etcd = new FakeEtcd(this.clock);
    this.etcd.put(KEYS.config, config);
    this.etcd.subscribe(() => this.#check());
    this.agents = identities.map((identity, i) => new Agent(this, i, identity, ttlSeconds));
  }

  get leases(): readonly StoredLease[] {
    return this.etcd.kvs.flatMap((kv) => {
      const decoded = decodeLease(PREFIX, kv);
      return decoded.ok ? [decoded.lease] : [];
    });
  }

  end(): void {
    for (const agent of this.agents) agent.crash();
    this.etcd.stop();
  }

  #check(): void {
    const { leases } = this;
    for (const [i, a] of leases.entries()) {
      for (const b of leases.slice(i + 1)) {
        const both = `${a.key} of ${a.owner?.name} and ${b.key} of ${b.owner?.name}`;
        if (coverage(a).some((one) => coverage(b).some((other) => overlaps(one, other)))) this.#note('overlap', both);
        if (a.publicIp === b.publicIp) this.#note('one public IP', both);
        if (a.owner?.node === b.owner?.node) this.#note('one node', both);
      }
    }
  }

  #note(what: string, both: string): void {
    this.violations.push(`${this.clock.monotonic()} ms, revision ${this.etcd.version.revision}: ${what}: ${both}`);
  }
}

/** What `agent/` does around a lease, in short: it waits, claims, holds, and starts again where the lease is lost. */
export class Agent {
  readonly #history: History;
  #identity: Identity;
  readonly #name: string;
  readonly #ttlSeconds: number;
  readonly store: FakeStore;
  #claim: string;
  #claims = 0;
  #previous: AcquireRequest['previous'];
  #life: AbortController | undefined;
  #trust: StoreTrust | undefined;
  #holder: Holder | undefined;
  /** How the last attempt to get a lease ended. */
  outcome: Acquisition['outcome'] | undefined;
  /** How often a lease that was held was lost. */
  losses = 0;

  constructor(history: History, number: number, identity: Identity, ttlSeconds: number) {
    this.#history = history;
    this.#identity = identity;
    this.#name = `host${number}`;
    this.#claim = `claim-${this.#name}`;
    this.#ttlSeconds = ttlSeconds;
    this.store = history.etcd.connect();
  }

  /** The lease held, as far as the agent knows. */
  get held(): HeldLease | undefined {
    return this.#holder?.held;
  }

  get identity(): Identity {
    return this.#identity;
  }

  /** Whether the store agrees that it holds its lease. */
  get isHolding(): boolean {
    const { held } = this;
    return this.#history.leases.some(({ key, value }) => key === held?.key && value === held.value);
  }

  start(): void {
    if (this.#life) return;
    const life = new AbortController();
    this.#life = life;
    void this.#live(life.signal).catch(() => undefined);
  }

  /** As kill -9: nothing of it runs on, and it remembers what it had written. */
  crash(): void {
    this.#life?.abort();
    this.#life = undefined;
    this.#holder = undefined;
    this.outcome = undefined;
  }

  /** The host gets another address, while the agent runs or not. */
  renumber(publicIp: string): void {
    this.#identity = { ...this.#identity, publicIp };
    this.#advertise();
  }

  #advertise(): void {
    const publicIp = ip(this.#identity.publicIp);
    this.#holder?.advertise({ ...this.#holder.held.attributes, publicIp });
  }

  /** The disk is new: nothing is remembered. */
  reinstall(): void {
    this.crash();
    this.#claims += 1;
    this.#claim = `claim-${this.#name}-${this.#claims}`;
    this.#previous = undefined;
    this.#trust = undefined;
  }

  async #live(signal: AbortSignal): Promise<void> {
    const { clock } = this.#history;
    void this.#follow(signal);
    for (;;) {
      try {
        await this.#run(signal);
      } catch (error) {
        signal.throwIfAborted();
        if (!(error instanceof TartanError)) throw error;
        if (error.code.startsWith('LEASE_')) this.losses += 1;
      }
      this.#holder = undefined;
      await clock.sleep(1000 + 1000 * clock.random(), signal);
    }
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { clock, etcd } = this.#history;
    const store = slowed(this.store, clock, signal);
    const context = { store, prefix: PREFIX, clock, log: silentLog, signal };
    const kv = etcd.kvs.find(({ key }) => key === KEYS.config);
    const parsed = parseNetworkConfig(kv?.value ?? '');
    if (!kv || !parsed.ok || !this.store.isReachable) return;
    const owner = { node: this.#identity.node, name: this.#name, claim: this.#claim };
    const publicIp = ip(this.#identity.publicIp);
    const attributes = {
      publicIp,
      publicIp6: undefined,
      backendType: 'host-gw',
      backendData: undefined,
      backendV6Data: undefined,
    };
    const result = await acquire(context, {
      ...{ self: { ...owner, publicIp, publicIp6: undefined }, config: parsed.config, configRevision: kv.modRevision },
      ...{ previous: this.#previous, ttlSeconds: this.#ttlSeconds, view: undefined, trust: this.#trust, avoid: [] },
      attributes: async () => attributes,
    });
    signal.throwIfAborted();
    this.outcome = result.outcome;
    if (result.outcome !== 'held') return;
    await this.#hold(context, result.held, owner);
  }

  async #hold(
    context: Parameters<typeof acquire>[0],
    held: HeldLease,
    owner: { readonly node: string; readonly name: string; readonly claim: string },
  ): Promise<void> {
    this.#previous = held;
    const holding = new AbortController();
    const stop = (): void => holding.abort();
    context.signal.addEventListener('abort', stop, { once: true });
    const inner = { ...context, signal: holding.signal };
    this.#holder = new Holder(inner, held, {
      marginSeconds: 0,
      isOurDevice: () => true,
      flanneldsLive: () => false,
      onHeld: (now) => {
        this.#previous = now;
      },
    });
    void answerChallenges(context.store, PREFIX, held, owner, inner);
    // The address may be another one since the claim began.
    this.#advertise();
    try {
      await this.#holder.run();
    } finally {
      context.signal.removeEventListener('abort', stop);
      holding.abort();
    }
  }

  async #follow(signal: AbortSignal): Promise<void> {
    const { clock } = this.#history;
    const observe = (key: string, kv: KeyValue | undefined): void => {
      if (key === this.#holder?.held.key) this.#holder.observe(kv);
    };
    await followRange({
      ...{ store: this.store, range: KEYS.watched, clock, log: silentLog, signal },
      onSnapshot: (snapshot) => {
        this.#trust = trustAfter(this.#trust, snapshot, clock.monotonic());
        const { key } = this.#holder?.held ?? {};
        if (key !== undefined)
          observe(
            key,
            snapshot.kvs.find((kv) => kv.key === key),
          );
      },
      onEvents: (events, revision) => {
        if (this.#trust) this.#trust = { ...this.#trust, version: { ...this.#trust.version, revision } };
        for (const event of events)
          observe(event.type === 'put' ? event.kv.key : event.key, event.type === 'put' ? event.kv : undefined);
      },
    });
  }
}
