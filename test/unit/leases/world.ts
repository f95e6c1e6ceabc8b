/** Hosts that want leases, on one etcd in memory and one virtual clock. */
import type { ExecutionContext } from 'ava';
import type { Ip } from '../../../config/address.ts';
import { TartanError } from '../../../config/errors.ts';
import { type Log, silentLog } from '../../../config/log.ts';
import { parseNetworkConfig } from '../../../config/network-config.ts';
import { type Acquisition, acquire } from '../../../leases/acquisition.ts';
import { answerChallenges } from '../../../leases/challenge.ts';
import { decodeLease } from '../../../leases/codec.ts';
import type { AcquireRequest } from '../../../leases/ground.ts';
import type { HeldLease } from '../../../leases/held-lease.ts';
import { Holder, type HolderOptions } from '../../../leases/holder.ts';
import type { LeaseAttributes, LeaseOwner, StoredLease } from '../../../leases/lease.ts';
import { keysUnder } from '../../../leases/registry.ts';
import type { Store } from '../../../leases/store.ts';
import { followRange } from '../../../leases/watch.ts';
import { VirtualClock } from '../../fakes/clock.ts';
import { FakeEtcd } from '../../fakes/etcd.ts';
import { ProcessClock } from '../../fakes/process-clock.ts';
import type { FakeStore } from '../../fakes/store.ts';
import { ip, PREFIX } from './leases.ts';

export const KEYS = keysUnder(PREFIX);
export const CONFIG = '{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"}}';
export const DUAL =
  '{"Network":"10.5.0.0/16","EnableIPv6":true,"IPv6Network":"fd00:5::/48","Backend":{"Type":"vxlan"}}';
const DAY_SECONDS = 86_400;

export interface HostOptions {
  readonly publicIp?: string;
  readonly publicIp6?: string;
  readonly node?: string;
  readonly claim?: string;
  readonly mac?: string;
  readonly ttlSeconds?: number;
}

export class World {
  readonly clock = new VirtualClock();
  readonly etcd = new FakeEtcd(this.clock);
  #hosts = 0;

  constructor(t: Pick<ExecutionContext, 'teardown'>, config: string = CONFIG) {
    t.teardown(() => this.etcd.stop());
    this.etcd.put(KEYS.config, config);
  }

  host(options: HostOptions = {}): Host {
    this.#hosts += 1;
    return new Host(this, this.#hosts, options);
  }

  /** Lets time pass until the work is done. */
  async done<T>(work: Promise<T>, limitMs = 120_000): Promise<T> {
    let isOver = false;
    const over = (): void => {
      isOver = true;
    };
    work.then(over, over);
    if (!(await this.clock.advanceUntil(() => isOver, limitMs, 10))) throw new Error('it does not end');
    return work;
  }

  get leases(): readonly StoredLease[] {
    return this.etcd.range(KEYS.subnets).flatMap((kv) => {
      const decoded = decodeLease(PREFIX, kv);
      return decoded.ok ? [decoded.lease] : [];
    });
  }

  lease(key: string): StoredLease | undefined {
    return this.leases.find((lease) => lease.key === key);
  }

  value(key: string): string | undefined {
    return this.etcd.kvs.find((kv) => kv.key === key)?.value;
  }

  /** Keys under `<prefix>/tartan/`. */
  get own(): readonly string[] {
    const folder = `${PREFIX}/tartan/`;
    return this.etcd.kvs.filter(({ key }) => key.startsWith(folder)).map(({ key }) => key.slice(folder.length));
  }
}

export interface Holding {
  readonly holder: Holder;
  /** Every state that was told. */
  readonly told: HeldLease[];
  /** How it ended: the error's code. */
  readonly ended: () => string | undefined;
  stop(): void;
  whenEnded(work: () => void): void;
}

export class Host {
  readonly world: World;
  readonly store: FakeStore;
  readonly clock: ProcessClock;
  readonly owner: LeaseOwner;
  readonly publicIp: Ip | undefined;
  readonly publicIp6: Ip | undefined;
  readonly mac: string;
  readonly ttlSeconds: number;
  readonly logged: string[] = [];
  readonly log: Log;

  constructor(world: World, number: number, options: HostOptions) {
    this.world = world;
    this.store = world.etcd.connect();
    this.clock = new ProcessClock(world.clock);
    const { node = `node${number}`, claim = `claim${number}`, mac = `02:00:00:00:00:0${number % 10}` } = options;
    this.owner = { node, name: `host${number}`, claim };
    this.publicIp = ip(options.publicIp ?? `192.0.2.${number}`);
    this.publicIp6 = options.publicIp6 === undefined ? undefined : ip(options.publicIp6);
    this.mac = mac;
    this.ttlSeconds = options.ttlSeconds ?? DAY_SECONDS;
    const note = (message: string): void => void this.logged.push(message);
    this.log = { ...silentLog, warn: note, error: note };
  }

  get attributes(): Omit<LeaseAttributes, 'owner'> {
    return {
      publicIp: this.publicIp ?? ip('0.0.0.0'),
      publicIp6: this.publicIp6,
      backendType: 'vxlan',
      backendData: JSON.stringify({ VNI: 1, VtepMAC: this.mac }),
      backendV6Data: undefined,
    };
  }

  context(signal: AbortSignal = new AbortController().signal, store: Store = this.store) {
    return { store, prefix: PREFIX, clock: this.clock, log: this.log, signal };
  }

  request(change: Partial<AcquireRequest> = {}): AcquireRequest {
    const kv = this.world.etcd.kvs.find(({ key }) => key === KEYS.config);
    const parsed = parseNetworkConfig(kv?.value ?? '');
    if (!kv || !parsed.ok) throw new Error('bad test config');
    const { publicIp, publicIp6 } = this;
    return {
      ...{ self: { ...this.owner, publicIp, publicIp6 }, config: parsed.config, configRevision: kv.modRevision },
      ...{ previous: undefined, ttlSeconds: this.ttlSeconds, view: undefined, trust: undefined, avoid: [] },
      attributes: async () => this.attributes,
      ...change,
    };
  }

  /** Time passes meanwhile. */
  acquire(change: Partial<AcquireRequest> = {}): Promise<Acquisition> {
    return this.world.done(acquire(this.context(), this.request(change)));
  }

  async mustAcquire(change: Partial<AcquireRequest> = {}): Promise<HeldLease> {
    const result = await this.acquire(change);
    if (result.outcome !== 'held') throw new Error(`host ${this.owner.name}: ${result.outcome}`);
    return result.held;
  }

  answer(t: Pick<ExecutionContext, 'teardown'>, held: HeldLease, holder?: Pick<Holder, 'sure' | 'cede'>): () => void {
    const stop = new AbortController();
    t.teardown(() => stop.abort());
    void answerChallenges(this.store, PREFIX, held, this.owner, {
      ...this.context(stop.signal),
      sure: async () => holder?.sure(),
      cede: (offer) => holder?.cede(offer),
    });
    return () => stop.abort();
  }

  /** Holds the lease, told by a watch of what stands at its key, and answers challenges. */
  hold(t: Pick<ExecutionContext, 'teardown'>, held: HeldLease, options: Partial<HolderOptions> = {}): Holding {
    const holding = this.holdUnwatched(t, held, options);
    const stop = new AbortController();
    t.teardown(() => stop.abort());
    void followRange({
      ...{ ...this.context(stop.signal), range: { key: held.key, end: `${held.key}\0` } },
      onSnapshot: ({ kvs: [kv] }) => holding.holder.observe(kv),
      onEvents: (events) => {
        const last = events.at(-1);
        // A process that is stopped reads nothing.
        const observe = () => last && holding.holder.observe(last.type === 'put' ? last.kv : undefined);
        if (this.clock.isStopped) void this.clock.running().then(observe);
        else observe();
      },
    });
    const stopAnswering = this.answer(t, held, holding.holder);
    const stopAll = (): void => {
      stopAnswering();
      stop.abort();
      holding.stop();
    };
    holding.whenEnded(stopAll);
    return { ...holding, stop: stopAll };
  }

  /** Only holds it: for long outages, in which watches try again every two seconds. */
  holdUnwatched(t: Pick<ExecutionContext, 'teardown'>, held: HeldLease, options: Partial<HolderOptions> = {}): Holding {
    const stop = new AbortController();
    const whenEnded: (() => void)[] = [];
    const told: HeldLease[] = [];
    let code: string | undefined;
    const holder = new Holder(this.context(stop.signal), held, {
      marginSeconds: 3600,
      isOurDevice: ({ backendData }) => backendData?.includes(this.mac) ?? true,
      flanneldsLive: () => false,
      onHeld: (now) => told.push(now),
      ...options,
    });
    const end = (error: unknown): void => {
      code = error instanceof TartanError ? error.code : 'stopped';
      for (const work of whenEnded) work();
    };
    t.teardown(() => stop.abort());
    holder.run().catch(end);
    return {
      ...{ holder, told, ended: () => code, stop: () => stop.abort() },
      whenEnded: (work) => void whenEnded.push(work),
    };
  }
}
