/**
 * The way to the lease; each step says what it waits for, and begins anew when what it stood on changes.
 *
 *   etcd ─▶ network config ─▶ interface ─▶ backend ─▶ claim (makes the devices) ─▶ held
 *     ▲                                                 │ refused, exhausted, etcd away
 *     └──────────────────── wait ◀──────────────────────┘
 *
 * Where etcd does not answer, recollection.ts may give config and lease from memory.
 */
import type { Backend, DeviceMacs } from '../backends/backend.ts';
import type { Families } from '../backends/backend-config.ts';
import { createBackend } from '../backends/backends.ts';
import { jittered } from '../config/clock.ts';
import type { ErrorCode } from '../config/errors.ts';
import { TartanError } from '../config/errors.ts';
import { silentLog } from '../config/log.ts';
import type { NetworkConfig } from '../config/network-config.ts';
import { parseNetworkConfig } from '../config/network-config.ts';
import type { Acquisition } from '../leases/acquisition.ts';
import { acquire } from '../leases/acquisition.ts';
import { coverage } from '../leases/coverage.ts';
import type { AcquireRequest } from '../leases/ground.ts';
import type { HeldLease } from '../leases/held-lease.ts';
import { keysUnder } from '../leases/registry.ts';
import type { Store } from '../leases/store.ts';
import { familiesOf } from './config-families.ts';
import { prepareDevices } from './own-devices.ts';
import { Recollection, type RecollectionContext } from './recollection.ts';
import type { UnderlaySurvey } from './underlay-survey.ts';
import { surveyUnderlay } from './underlay-survey.ts';

const RETRY_MS = { etcd: 2_000, refused: 30_000, exhausted: 30_000 } as const;
/** After a store was restored, those that wait for a new subnet do not start in step. */
const UNSETTLED_SPREAD_MS = 5_000;
/** Changes that are waited for are told by a watch; looked at all the same. */
const LOOK_MS = 60_000;

export interface JoinContext extends RecollectionContext {
  readonly store: Store;
  readonly signal: AbortSignal;
  /** What an earlier run held or wrote into the subnet file. */
  readonly previous: AcquireRequest['previous'];
  /** What is waited for, for status; `problem`: something for the operator to mend, and by which code it is known. */
  onPhase(phase: string, problem?: string, code?: ErrorCode): void;
}

export interface Joined extends UnderlaySurvey {
  readonly config: NetworkConfig;
  readonly backend: Backend;
  readonly macs: DeviceMacs;
  readonly held: HeldLease;
  readonly transactions: number;
  /** Wall clock, ms: since when we run by a lease that is only remembered; undefined: it was read or claimed. */
  readonly fromMemorySince: number | undefined;
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

/**
 * Runs until this host holds a lease, if only from memory. Rejects where waiting can't help: no such interface, the
 * kernel refuses.
 */
export async function join(context: JoinContext): Promise<Joined> {
  return await new Joining(context).run();
}

class Joining {
  readonly #context: JoinContext;
  readonly #recollection: Recollection;
  /** What the log said last: a claim that fails the same way again is not told again. */
  #said: string | undefined;
  /** Whether the last claim failed: what it ran into stays in sight while it is tried again. */
  #failed = false;
  #transactions = 0;
  #surveyed = false;

  constructor(context: JoinContext) {
    this.#context = context;
    this.#recollection = new Recollection(context);
  }

  async run(): Promise<Joined> {
    for (;;) {
      const plan = await this.#plan();
      if (this.#isUnanswered()) {
        const joined = await this.#goOn(plan);
        if (joined) return joined;
        await this.#waitForAnswer();
        continue;
      }
      const leasesBefore = this.#context.cluster.leaseCount;
      const { result, macs } = await this.#claim(plan);
      if (result === undefined) {
        const joined = await this.#goOn(plan);
        if (joined) return joined;
        await this.#restBeforeRetry();
        continue;
      }
      if ('transactions' in result) this.#transactions += result.transactions;
      if (result.outcome === 'held') return this.#joined(plan, { held: result.held, macs });
      await this.#waitAfter(result, { leases: leasesBefore, revision: plan.revision });
    }
  }

  #joined({ config, backend, survey }: Plan, lease: Pick<Joined, 'held' | 'macs'>, fromMemorySince?: number): Joined {
    return { config, backend, ...lease, transactions: this.#transactions, fromMemorySince, ...survey };
  }

  /** Without etcd, where what is remembered allows it. */
  async #goOn(plan: Plan): Promise<Joined | undefined> {
    const lease = await this.#recollection.goOn(plan.config, plan.backend);
    return lease && this.#joined(plan, lease, this.#context.clock.now());
  }

  #isUnanswered(): boolean {
    return this.#context.cluster.version === undefined;
  }

  async #plan(): Promise<Plan> {
    for (;;) {
      const { value, revision } = await this.#storedConfig();
      const parsed = parseNetworkConfig(value);
      if (!parsed.ok) {
        await this.#waitForAnother(revision, parsed.problems);
        continue;
      }
      const { config } = parsed;
      const families = familiesOf(config);
      const survey = await this.#survey(families);
      if (!survey) continue;
      const created = createBackend(config.backendType, config.backend, families, survey.underlay);
      if (created.ok) return { config, revision, backend: created.backend, survey };
      // What is wrong may be the host's part of it, an MTU or a NAT, which nobody tells about.
      await this.#waitForAnother(revision, created.problems, LOOK_MS);
    }
  }

  /** undefined: there is no interface yet, and etcd, which decides whether that matters, has not answered. */
  async #survey(families: Families): Promise<UnderlaySurvey | undefined> {
    const { kernel, options, log } = this.#context;
    // While etcd is waited for the same is surveyed again and again.
    const isFirst = !this.#surveyed || !this.#isUnanswered();
    this.#surveyed = true;
    try {
      return await surveyUnderlay(kernel, options, families, isFirst ? log : silentLog);
    } catch (error) {
      if (!this.#isUnanswered() || !(error instanceof TartanError) || error.code !== 'INTERFACE_NOT_FOUND') throw error;
      this.#recollection.forgo(error.message);
      await this.#waitForAnswer();
      return undefined;
    }
  }

  /** Says that etcd is away, and rests until it answers or the memory is to be looked at again. */
  async #waitForAnswer(): Promise<void> {
    const { cluster, signal, onPhase } = this.#context;
    const { reason, error } = cluster.state;
    const { why, waitMs } = this.#recollection;
    const problem = [reason, why && `not running from memory: ${why}`].filter(Boolean).join('; ');
    onPhase('waiting for etcd', problem || undefined, error?.code ?? 'ETCD_UNAVAILABLE');
    this.#failed = false;
    await cluster.change(waitMs, signal);
  }

  /** Waits for etcd, and until it has a config. */
  async #storedConfig(): Promise<{ readonly value: string; readonly revision: number }> {
    const { cluster, options, signal, onPhase } = this.#context;
    const key = keysUnder(options.etcdPrefix).config;
    for (;;) {
      if (this.#isUnanswered()) await this.#recollection.recall();
      const { config } = cluster;
      if (config !== undefined) return { value: config.value, revision: config.modRevision };
      if (this.#isUnanswered()) {
        await this.#waitForAnswer();
        continue;
      }
      const problem = `etcd has no ${key}; store one: tartan config set FILE`;
      const code = 'CONFIG_MISSING';
      this.#tell('there is no network config: waiting for one', { code, key }, problem);
      onPhase('waiting for the network config', problem, code);
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
      this.#noteFailure(error);
      return { result: undefined, macs };
    }
  }

  #noteFailure(error: TartanError): void {
    const { onPhase } = this.#context;
    this.#failed = true;
    const { code, message } = error;
    this.#tell('the lease could not be claimed: trying again', { code, error }, message);
    onPhase(code === 'ETCD_UNAVAILABLE' ? 'waiting for etcd' : 'waiting for etcd to let us in', message, code);
  }

  async #restBeforeRetry(): Promise<void> {
    const { clock, signal, cluster } = this.#context;
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
