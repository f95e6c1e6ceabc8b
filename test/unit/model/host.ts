/** A host and what `agent/` does on it, but for files and the kernel: it waits, claims, holds, follows its peers. */

import { Cluster } from '../../../agent/cluster.ts';
import { TartanError } from '../../../config/errors.ts';
import { silentLog } from '../../../config/log.ts';
import { parseNetworkConfig } from '../../../config/network-config.ts';
import { type Acquisition, acquire } from '../../../leases/acquisition.ts';
import { answerChallenges } from '../../../leases/challenge.ts';
import { coverage } from '../../../leases/coverage.ts';
import type { PeerChange } from '../../../leases/directory.ts';
import type { DirectoryPolicy } from '../../../leases/directory-entry.ts';
import type { Offer } from '../../../leases/exchange.ts';
import type { HeldLease } from '../../../leases/held-lease.ts';
import { Holder } from '../../../leases/holder.ts';
import type { LeaseOwner } from '../../../leases/lease.ts';
import { NetworkChecks } from '../../../leases/network-checks.ts';
import type { Store, StoreVersion } from '../../../leases/store.ts';
import type { VirtualClock } from '../../fakes/clock.ts';
import type { FakeEtcd } from '../../fakes/etcd.ts';
import { ProcessClock } from '../../fakes/process-clock.ts';
import { ip, net, PREFIX, policyOf } from '../leases/leases.ts';
import { Line } from './line.ts';
import type { Truth } from './truth.ts';

const GRACE_MS = 60_000;
const REMEMBER_MS = 60_000;
/** A host that had no trouble for so long has every peer that stands for so long. */
const IN_STEP_MS = 5_000;
const NETWORKS = [net('10.5.0.0/16'), net('fd00:5::/32')];

export interface Identity {
  readonly publicIp: string;
  readonly node: string;
}

/** What is on the disk. */
interface Memory {
  readonly claim: string;
  readonly held: HeldLease | undefined;
  readonly known: StoreVersion | undefined;
}

export class ModelHost {
  readonly clock: ProcessClock;
  readonly line: Line;
  #identity: Identity;
  readonly #name: string;
  readonly #time: VirtualClock;
  readonly #truth: Truth;
  readonly #ttlSeconds: number;
  #disks = 0;
  #memory: Memory;
  /** The peers as programmed, key to value: of every process on this host. */
  readonly kernel = new Map<string, string>();
  #life: AbortController | undefined;
  #holder: Holder | undefined;
  #cluster: Cluster | undefined;
  /** Since when nothing has troubled it, ms. */
  #calmSince = 0;
  /** Since when its present process programs peers, ms. */
  #servesSince = Number.POSITIVE_INFINITY;
  /** How the last attempt to get a lease ended. */
  outcome: Acquisition['outcome'] | undefined;
  losses = 0;

  constructor(
    { time, etcd, truth }: { readonly time: VirtualClock; readonly etcd: FakeEtcd; readonly truth: Truth },
    number: number,
    identity: Identity,
    ttlSeconds: number,
  ) {
    this.#time = time;
    this.#truth = truth;
    this.#identity = identity;
    this.#name = `host${number}`;
    this.#ttlSeconds = ttlSeconds;
    this.clock = new ProcessClock(time);
    this.line = new Line(etcd.connect(), time, this.clock);
    this.#memory = this.#newDisk();
  }

  /** The lease held, as far as the process knows. */
  get held(): HeldLease | undefined {
    return this.#holder?.held;
  }

  /** Whether the store agrees that it holds its lease. */
  get isHolding(): boolean {
    const { held } = this;
    return this.#truth.leases.some(({ key, value }) => key === held?.key && value === held.value);
  }

  start(): void {
    if (this.#life) return;
    this.trouble();
    this.clock.go();
    this.#life = new AbortController();
    void this.#live(this.#life.signal).catch(() => undefined);
  }

  /** As kill -9: nothing of it runs on; disk and kernel stay. */
  crash(): void {
    this.#life?.abort();
    this.#life = undefined;
    this.clock.go();
    this.#ended();
    this.outcome = undefined;
  }

  /** Disk and kernel are new. */
  reinstall(): void {
    this.crash();
    this.#disks += 1;
    this.#memory = this.#newDisk();
    this.kernel.clear();
  }

  /** The host has another address, whether the agent runs or not. */
  renumber(publicIp: string): void {
    this.trouble();
    this.#identity = { ...this.#identity, publicIp };
    this.#followAddress();
  }

  stop(): void {
    if (this.#life) this.clock.stop();
    this.trouble();
  }

  go(): void {
    this.clock.go();
    this.trouble();
  }

  /** Something happened to it, of which it has yet to recover. */
  trouble(): void {
    this.#calmSince = this.#time.monotonic();
  }

  /** Compares its kernel with the leases. `isEnd`: in every respect. */
  check(isEnd: boolean): void {
    const own = this.held;
    const now = this.#time.monotonic();
    const calmMs = now - this.#calmSince;
    const isTroubled = !this.line.isCalm || this.clock.isStopped || calmMs < IN_STEP_MS;
    if (!own || isTroubled || now - this.#servesSince < IN_STEP_MS) return;
    const { leases } = this.#truth;
    for (const lease of leases) {
      const ageMs = this.#truth.ageOf(lease);
      if (lease.key === own.key || ageMs < IN_STEP_MS) continue;
      // What a host finds in a restored store gives way to what it knew, for the grace. It looks when it is calm, or a
      // little later, where a call hung until then.
      const wasThere = ageMs >= calmMs - IN_STEP_MS;
      if (this.#calmSince >= this.#truth.restoredAt && wasThere && calmMs < GRACE_MS + IN_STEP_MS) continue;
      // Of two with one address one is about to lose its lease.
      if ([own.attributes.publicIp, this.#identity.publicIp].includes(lease.publicIp)) continue;
      if (this.kernel.get(lease.key) !== lease.value) this.#truth.note(`${this.#name} lacks its peer ${lease.key}`);
    }
    for (const [key, value] of this.kernel) {
      const isThere = leases.some((lease) => lease.key === key && lease.value === value);
      if (isEnd && !isThere) this.#truth.note(`${this.#name} has a peer that is gone: ${key}`);
    }
  }

  #newDisk(): Memory {
    return { claim: `claim-${this.#name}-${this.#disks}`, held: undefined, known: undefined };
  }

  #ended(): void {
    this.#holder = undefined;
    this.#cluster = undefined;
    this.#servesSince = Number.POSITIVE_INFINITY;
  }

  /** The supervisor: whenever the agent ends, there is another one soon. */
  async #live(life: AbortSignal): Promise<void> {
    for (;;) {
      const run = new AbortController();
      const end = (): void => run.abort(life.reason);
      life.addEventListener('abort', end, { once: true });
      try {
        await this.#run(run.signal);
      } catch (error) {
        life.throwIfAborted();
        if (!(error instanceof TartanError)) this.#truth.note(`${this.#name} ended: ${error}`);
        else if (error.code === 'LEASE_LOST') this.#withdraw(error);
        else this.#truth.note(`${this.#name} ended: ${error.message}`);
      } finally {
        life.removeEventListener('abort', end);
        run.abort();
      }
      this.#ended();
      await this.clock.sleep(1000 + 1000 * this.clock.random(), life);
    }
  }

  #withdraw(error: TartanError): void {
    this.losses += 1;
    this.kernel.clear();
    this.#memory = { ...this.#memory, held: undefined };
    const quietMs = this.line.isCalm ? this.#time.monotonic() - this.#calmSince : 0;
    if (quietMs > this.#ttlSeconds * 1000 + GRACE_MS)
      this.#truth.note(`${this.#name} lost its lease: ${error.message}`);
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { clock } = this;
    const store = this.line.connect(signal);
    const cluster = new Cluster({ store, prefix: PREFIX, clock, log: silentLog, known: this.#memory.known });
    this.#cluster = cluster;
    const failed = new Promise<never>((_, reject) => {
      cluster.follow(signal).catch(reject);
    });
    failed.catch(() => undefined);
    const owner = { node: this.#identity.node, name: this.#name, claim: this.#memory.claim };
    const held = await Promise.race([failed, this.#join(cluster, store, owner, signal)]);
    await Promise.race([failed, this.#hold(cluster, store, owner, held, signal)]);
  }

  async #join(cluster: Cluster, store: Store, owner: LeaseOwner, signal: AbortSignal): Promise<HeldLease> {
    const { clock } = this;
    for (;;) {
      const { config } = cluster;
      const parsed = parseNetworkConfig(config?.value ?? '');
      if (!config || !parsed.ok) {
        await cluster.change(60_000, signal);
        continue;
      }
      const context = { store, prefix: PREFIX, clock, log: silentLog, signal };
      const publicIp = ip(this.#identity.publicIp);
      const attributes = {
        ...{ publicIp, publicIp6: undefined, backendType: 'host-gw' },
        ...{ backendData: undefined, backendV6Data: undefined },
      };
      const result = await acquire(context, {
        ...{ self: { ...owner, publicIp, publicIp6: undefined }, config: parsed.config },
        ...{ configRevision: config.modRevision, previous: this.#memory.held, ttlSeconds: this.#ttlSeconds },
        ...{ view: cluster.takeFreshView(), trust: cluster.trust, avoid: [] },
        attributes: async () => attributes,
      }).catch((error: unknown) => {
        signal.throwIfAborted();
        if (error instanceof TartanError && error.code.startsWith('ETCD_')) return undefined;
        throw error;
      });
      signal.throwIfAborted();
      this.outcome = result?.outcome;
      if (result?.outcome === 'held') return result.held;
      await this.#wait(result?.outcome, cluster, signal);
    }
  }

  async #wait(outcome: Acquisition['outcome'] | undefined, cluster: Cluster, signal: AbortSignal): Promise<void> {
    const { clock } = this;
    if (outcome === 'config-changed') return await cluster.change(1_000, signal);
    if (outcome === undefined) return await clock.sleep(500 + 2_000 * clock.random(), signal);
    if (outcome !== 'unsettled') return await clock.sleep(24_000 + 12_000 * clock.random(), signal);
    const settlesInMs = Math.max((cluster.trust?.settledAt ?? 0) - clock.monotonic(), 0);
    await clock.sleep(settlesInMs + 5_000 * clock.random(), signal);
  }

  async #hold(cluster: Cluster, store: Store, owner: LeaseOwner, held: HeldLease, signal: AbortSignal): Promise<void> {
    const { clock } = this;
    this.#remember(held, cluster);
    const holder = new Holder({ store, prefix: PREFIX, clock, log: silentLog, signal }, held, {
      ...{ marginSeconds: 0, isOurDevice: () => true, flanneldsLive: () => false },
      onHeld: (now) => {
        if (signal.aborted) return;
        if (now.key !== held.key) this.#truth.note(`${this.#name} changed its subnet from ${held.key} to ${now.key}`);
        this.#remember(now, cluster);
      },
    });
    this.#holder = holder;
    const answering = {
      clock,
      log: silentLog,
      signal,
      sure: () => holder.sure(),
      cede: (offer: Offer) => holder.cede(offer),
    };
    void answerChallenges(store, PREFIX, held, owner, answering).catch(() => undefined);
    const holding = holder.run();
    holding.catch(() => undefined);
    await Promise.race([holder.sure(), holding]);
    // The address may be another one since the claim began.
    this.#followAddress();
    cluster.serve(this.#policyOf(held), {
      // Nothing comes of what a process that was killed had under way.
      onPeers: (changes, complete) => signal.aborted || this.#program(changes, complete),
      onOwnKey: (kv) => holder.observe(kv),
      onConfig: () => undefined,
    });
    this.#servesSince = this.#time.monotonic();
    void cluster.sweep(signal).catch(() => undefined);
    void this.#rememberStore(cluster, signal).catch(() => undefined);
    await holding;
  }

  #followAddress(): void {
    const { held } = this;
    if (!held) return;
    this.#holder?.advertise({ ...held.attributes, publicIp: ip(this.#identity.publicIp) });
    if (this.#servesSince <= this.#time.monotonic()) this.#cluster?.judge(this.#policyOf(held));
  }

  #policyOf(held: HeldLease): DirectoryPolicy {
    const checks = new NetworkChecks({
      ...{ networks: NETWORKS, ownSubnets: coverage(held), underlay: [], guarded: [] },
      ownPublicIps: [ip(this.#identity.publicIp)],
    });
    return policyOf({ ownKey: held.key, refuse: (lease) => checks.refuse(lease) });
  }

  #remember(held: HeldLease, cluster: Cluster): void {
    this.#memory = { ...this.#memory, held, known: cluster.settledVersion ?? this.#memory.known };
  }

  async #rememberStore(cluster: Cluster, signal: AbortSignal): Promise<never> {
    for (;;) {
      await this.clock.sleep(REMEMBER_MS, signal);
      this.#memory = { ...this.#memory, known: cluster.settledVersion ?? this.#memory.known };
    }
  }

  #program(changes: readonly PeerChange[], complete: boolean): void {
    for (const { key, after } of changes) this.#put(key, after?.value);
    if (!complete) return;
    for (const key of [...this.kernel.keys()]) if (!this.#cluster?.directory.peers.has(key)) this.#put(key, undefined);
  }

  #put(key: string, value: string | undefined): void {
    const before = this.kernel.get(key);
    if (value === undefined) this.kernel.delete(key);
    else this.kernel.set(key, value);
    if (before === undefined || before === value) return;
    // Of a process that began after the restore nobody can ask that it knows what stood there before.
    const isNewcomer = value !== undefined && this.#servesSince > this.#truth.restoredAt;
    const hasOurAddress = before.includes(`"PublicIP":"${this.#identity.publicIp}"`);
    if (key === this.held?.key || hasOurAddress || isNewcomer || this.#truth.mayGo(key, before, GRACE_MS)) return;
    this.#truth.note(`${this.#name} dropped the live peer ${key}${value === undefined ? '' : ' for another'}`);
  }
}
