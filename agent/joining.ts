/**
 * The way to the lease; each step says what it waits for, and begins anew when what it stood on changes.
 *
 *   etcd ─▶ network config ─▶ interface ─▶ backend ─▶ claim (makes the devices) ─▶ held
 *     ▲                                                 │ refused, exhausted, etcd away
 *     └──────────────────── wait ◀──────────────────────┘
 */
import type { Backend, DeviceMacs } from '../backends/backend.ts';
import { createBackend } from '../backends/backends.ts';
import type { Kernel } from '../backends/kernel/kernel.ts';
import type { Clock } from '../config/clock.ts';
import { jittered } from '../config/clock.ts';
import type { ErrorCode } from '../config/errors.ts';
import { TartanError } from '../config/errors.ts';
import type { Log } from '../config/log.ts';
import type { NetworkConfig } from '../config/network-config.ts';
import { parseNetworkConfig } from '../config/network-config.ts';
import type { Options } from '../config/options.ts';
import type { Acquisition } from '../leases/acquisition.ts';
import { acquire } from '../leases/acquisition.ts';
import { coverage } from '../leases/coverage.ts';
import type { AcquireRequest } from '../leases/ground.ts';
import type { HeldLease } from '../leases/held-lease.ts';
import type { LeaseOwner } from '../leases/lease.ts';
import { keysUnder } from '../leases/registry.ts';
import type { Store } from '../leases/store.ts';
import type { Cluster } from './cluster.ts';
import { familiesOf } from './config-families.ts';
import { prepareDevices } from './own-devices.ts';
import type { UnderlaySurvey } from './underlay-survey.ts';
import { surveyUnderlay } from './underlay-survey.ts';

const RETRY_MS = { etcd: 2_000, refused: 30_000, exhausted: 30_000 } as const;
/** After a store was restored, those that wait for a new subnet do not start in step. */
const UNSETTLED_SPREAD_MS = 5_000;
/** Changes that are waited for are told by a watch; looked at all the same. */
const LOOK_MS = 60_000;

export interface JoinContext {
  readonly options: Options;
  readonly store: Store;
  readonly kernel: Kernel;
  readonly cluster: Cluster;
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
  readonly owner: LeaseOwner;
  /** What an earlier run held or wrote into the subnet file. */
  readonly previous: AcquireRequest['previous'];
  /** MACs that an earlier run published. */
  readonly macs: DeviceMacs;
  /** Writes down the devices that will be made. */
  rememberDevices(macs: DeviceMacs): Promise<void>;
  /** What is waited for, for status; `problem`: something for the operator to mend, and by which code it is known. */
  onPhase(phase: string, problem?: string, code?: ErrorCode): void;
}

export interface Joined extends UnderlaySurvey {
  readonly config: NetworkConfig;
  readonly backend: Backend;
  readonly macs: DeviceMacs;
  readonly held: HeldLease;
  readonly transactions: number;
}

/** A network config that makes sense, on this host. */
interface Plan {
  readonly config: NetworkConfig;
  /** mod_revision of its key. */
  readonly revision: number;
  readonly backend: Backend;
  readonly survey: UnderlaySurvey;
}

/** What a claim that failed stood on. */
interface Ground {
  /** How many there were. */
  readonly leases: number;
  /** mod_revision of the network config. */
  readonly revision: number;
}

/** Runs until this host holds a lease. Rejects where waiting can't help: no such interface, the kernel refuses. */
export async function join(context: JoinContext): Promise<Joined> {
  return await new Joining(context).run();
}

class Joining {
  readonly #context: JoinContext;
  /** What the log said last: a claim that fails the same way again is not told again. */
  #said: string | undefined;
  /** Whether the last claim failed: what it ran into stays in sight while it is tried again. */
  #failed = false;
  #transactions = 0;

  constructor(context: JoinContext) {
    this.#context = context;
  }

  async run(): Promise<Joined> {
    for (;;) {
      const plan = await this.#plan();
      const leasesBefore = this.#context.cluster.leaseCount;
      const { result, macs } = await this.#claim(plan);
      if (result === undefined) continue;
      if ('transactions' in result) this.#transactions += result.transactions;
      if (result.outcome === 'held') {
        const { config, backend, survey } = plan;
        return { config, backend, macs, held: result.held, transactions: this.#transactions, ...survey };
      }
      await this.#waitAfter(result, { leases: leasesBefore, revision: plan.revision });
    }
  }

  async #plan(): Promise<Plan> {
    const { kernel, options, log } = this.#context;
    for (;;) {
      const { value, revision } = await this.#storedConfig();
      const parsed = parseNetworkConfig(value);
      if (!parsed.ok) {
        await this.#waitForAnother(revision, parsed.problems);
        continue;
      }
      const { config } = parsed;
      const families = familiesOf(config);
      const survey = await surveyUnderlay(kernel, options, families, log);
      const created = createBackend(config.backendType, config.backend, families, survey.underlay);
      if (created.ok) return { config, revision, backend: created.backend, survey };
      // What is wrong may be the host's part of it, an MTU or a NAT, which nobody tells about.
      await this.#waitForAnother(revision, created.problems, LOOK_MS);
    }
  }

  /** Waits for etcd, and until it has a config. */
  async #storedConfig(): Promise<{ readonly value: string; readonly revision: number }> {
    const { cluster, options, signal, onPhase } = this.#context;
    const key = keysUnder(options.etcdPrefix).config;
    for (;;) {
      const { config } = cluster;
      if (config !== undefined) return { value: config.value, revision: config.modRevision };
      if (cluster.version === undefined) {
        const { reason, error } = cluster.state;
        onPhase('waiting for etcd', reason || undefined, error?.code ?? 'ETCD_UNAVAILABLE');
      } else {
        const problem = `etcd has no ${key}; store one: tartan config set FILE`;
        const code = 'CONFIG_MISSING';
        this.#tell('there is no network config: waiting for one', { code, key }, problem);
        onPhase('waiting for the network config', problem, code);
      }
      this.#failed = false;
      await cluster.change(LOOK_MS, signal);
    }
  }

  /** Resolves when etcd has another config, or after `ms`. */
  async #waitForAnother(revision: number, problems: readonly string[], ms = Number.POSITIVE_INFINITY): Promise<void> {
    const { clock, cluster, options, signal, onPhase } = this.#context;
    const code = 'CONFIG_INVALID';
    const key = keysUnder(options.etcdPrefix).config;
    this.#tell('the network config is unusable: waiting for another one', { code, key, problems }, problems.join());
    onPhase('waiting for a usable network config', `${key}: ${problems.join('; ')}`, code);
    this.#failed = false;
    const until = clock.monotonic() + ms;
    while (cluster.config?.modRevision === revision && clock.monotonic() < until) {
      await cluster.change(Math.min(until - clock.monotonic(), LOOK_MS), signal);
    }
  }

  /** One claim; where etcd fails it is waited on, and there is no result. */
  async #claim(plan: Plan): Promise<{ readonly result: Acquisition | undefined; readonly macs: DeviceMacs }> {
    const { store, clock, log, signal, options, owner, cluster, previous, kernel, rememberDevices } = this.#context;
    const { publicIp, publicIp6 } = plan.survey.underlay;
    let macs: DeviceMacs = new Map();
    if (!this.#failed) this.#context.onPhase('claiming a lease');
    try {
      const result = await acquire(
        { store, clock, log, signal, prefix: options.etcdPrefix },
        {
          ...{ self: { ...owner, publicIp, publicIp6 }, config: plan.config, configRevision: plan.revision },
          avoid: plan.survey.underlayNetworks,
          ...{ previous, ttlSeconds: options.leaseTtl, view: cluster.takeFreshView(), trust: cluster.trust },
          attributes: async (target) => {
            macs = await prepareDevices(kernel, plan.backend, target, this.#context.macs, rememberDevices);
            return plan.backend.advertise(macs);
          },
        },
      );
      if (result.outcome === 'held') {
        const { subnet, subnet6 } = result.held;
        log.info('holding a lease', { subnet, subnet6, publicIp, by: result.by, transactions: result.transactions });
      }
      return { result, macs };
    } catch (error) {
      if (!(error instanceof TartanError) || !error.code.startsWith('ETCD_')) throw error;
      await this.#waitForEtcd(error);
      return { result: undefined, macs };
    }
  }

  async #waitForEtcd(error: TartanError): Promise<void> {
    const { clock, signal, cluster, onPhase } = this.#context;
    this.#failed = true;
    const { code, message } = error;
    this.#tell('the lease could not be claimed: trying again', { code, error }, message);
    onPhase(code === 'ETCD_UNAVAILABLE' ? 'waiting for etcd' : 'waiting for etcd to let us in', message, code);
    await cluster.change(jittered(clock, RETRY_MS.etcd, 0.5), signal);
    await clock.sleep(jittered(clock, 500, 0.5), signal);
  }

  async #waitAfter(result: Exclude<Acquisition, { readonly outcome: 'held' }>, before: Ground): Promise<void> {
    const { clock, signal, cluster, onPhase } = this.#context;
    if (result.outcome === 'config-changed') return await cluster.change(1_000, signal);
    if (result.outcome === 'unsettled') {
      onPhase('waiting for hosts to claim their leases again: etcd was restored or wiped');
      const settlesInMs = Math.max((cluster.trust?.settledAt ?? 0) - clock.monotonic(), 0);
      return await clock.sleep(settlesInMs + UNSETTLED_SPREAD_MS * clock.random(), signal);
    }
    this.#failed = true;
    if (result.outcome === 'refused') {
      const { holder, subnets } = result;
      const problem = `the live host ${holder.name} (node ${holder.node}) holds the lease ${coverage(subnets).join(' ')} with our public IP or node id; give this host an address, a machine-id or a --node-name of its own`;
      this.#tell(
        'another live host is who we claim to be: trying again later',
        { code: 'ADDRESS_IN_USE', holder, subnet: subnets.subnet },
        problem,
      );
      onPhase('refused: another live host has our public IP or node id', problem, 'ADDRESS_IN_USE');
      return await this.#moved(before, jittered(clock, RETRY_MS.refused, 0.2));
    }
    const problem = 'every subnet of the range is leased; widen Network or raise SubnetLen (tartan config set)';
    const code = 'RANGE_EXHAUSTED';
    this.#tell('every subnet of the range is leased: trying again when one is given back', { code }, problem);
    onPhase('waiting for a free subnet', problem, code);
    return await this.#moved(before, jittered(clock, RETRY_MS.exhausted, 0.2));
  }

  /** Resolves when there are fewer leases than before the claim, or another config, or after `ms`. */
  async #moved({ leases, revision }: Ground, ms: number): Promise<void> {
    const { cluster, clock, signal } = this.#context;
    const until = clock.monotonic() + ms;
    const isSame = (): boolean => cluster.leaseCount >= leases && cluster.config?.modRevision === revision;
    while (isSame() && clock.monotonic() < until) {
      await cluster.change(until - clock.monotonic(), signal);
    }
  }

  #tell(message: string, fields: Readonly<Record<string, unknown>>, text: string): void {
    if (this.#said === text) return;
    this.#said = text;
    this.#context.log.error(message, fields);
  }
}
