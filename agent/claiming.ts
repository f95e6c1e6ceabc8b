/** One claim of a lease after the other, and what is waited for after one that failed. */
import type { DeviceMacs } from '../backends/backend.ts';
import { jittered } from '../config/clock.ts';
import { TartanError } from '../config/errors.ts';
import type { Acquisition } from '../leases/acquisition.ts';
import { acquire } from '../leases/acquisition.ts';
import { coverage } from '../leases/coverage.ts';
import type { AcquireRequest } from '../leases/ground.ts';
import type { HeldLease } from '../leases/held-lease.ts';
import type { Store } from '../leases/store.ts';
import type { JoinReport } from './join-report.ts';
import { isHeldByAnother, prepareDevices } from './own-devices.ts';
import type { Plan } from './planning.ts';
import type { RecollectionContext } from './recollection.ts';

const RETRY_MS = { etcd: 2_000, refused: 30_000, exhausted: 30_000, held: 2_000 } as const;
/** After a store was restored, those that wait for a new subnet do not start in step. */
const UNSETTLED_SPREAD_MS = 5_000;

export interface ClaimingContext extends RecollectionContext {
  readonly store: Store;
  readonly signal: AbortSignal;
  /** What an earlier run held or wrote into the subnet file. */
  readonly previous: AcquireRequest['previous'];
}

export interface Claimed {
  readonly held: HeldLease;
  readonly macs: DeviceMacs;
}

/** What a claim that failed stood on. */
interface Ground {
  /** How many there were. */
  readonly leases: number;
  /** mod_revision of the network config. */
  readonly revision: number;
}

export class Claiming {
  readonly #context: ClaimingContext;
  readonly #report: JoinReport;
  #transactions = 0;

  constructor(context: ClaimingContext, report: JoinReport) {
    this.#context = context;
    this.#report = report;
  }

  /** How many transactions the claims took. */
  get transactions(): number {
    return this.#transactions;
  }

  /**
   * One claim. `outdated`: what it stood on is to be looked at again, which was waited for. `etcd-failed`: it was not
   * answered; `rest` before the next one.
   */
  async claim(plan: Plan): Promise<Claimed | 'outdated' | 'etcd-failed'> {
    const before = { leases: this.#context.cluster.leaseCount, revision: plan.revision };
    const tried = await this.#acquire(plan).catch((error: unknown) => this.#noteFailure(error));
    if (tried === 'etcd-failed') return tried;
    if (tried === 'device-held') {
      await this.#context.clock.sleep(RETRY_MS.held, this.#context.signal);
      return 'outdated';
    }
    const { result, macs } = tried;
    if ('transactions' in result) this.#transactions += result.transactions;
    if (result.outcome === 'held') return { held: result.held, macs };
    await this.#waitAfter(result, before);
    return 'outdated';
  }

  /** After a claim that etcd did not answer. */
  async rest(): Promise<void> {
    const { clock, signal, cluster } = this.#context;
    await cluster.change(jittered(clock, RETRY_MS.etcd, 0.5), signal);
    await clock.sleep(jittered(clock, 500, 0.5), signal);
  }

  async #acquire(plan: Plan): Promise<{ readonly result: Acquisition; readonly macs: DeviceMacs }> {
    const { store, clock, log, signal, options, owner, cluster, previous, kernel, rememberDevices } = this.#context;
    const { publicIp, publicIp6 } = plan.survey.underlay;
    let macs: DeviceMacs = new Map();
    this.#report.claiming();
    const result = await acquire(
      { store, clock, log, signal, prefix: options.etcdPrefix },
      {
        ...{ self: { ...owner, publicIp, publicIp6 }, config: plan.config, configRevision: plan.revision },
        avoid: plan.survey.underlayNetworks,
        ...{ previous, ttlSeconds: options.leaseTtl, view: cluster.takeFreshView(), trust: cluster.trust },
        attributes: async (target) => {
          macs = await prepareDevices(kernel, plan.backend, target, this.#context.macs(), rememberDevices);
          // It had this host until now, though the device may be one that we made before.
          if (target !== undefined && target.owner === undefined) await rememberDevices(macs, true);
          return plan.backend.advertise(macs);
        },
      },
    );
    if (result.outcome === 'held') {
      const { subnet, subnet6 } = result.held;
      log.info('holding a lease', { subnet, subnet6, publicIp, by: result.by, transactions: result.transactions });
    }
    return { result, macs };
  }

  /** Throws again what waiting can't help. */
  #noteFailure(error: unknown): 'etcd-failed' | 'device-held' {
    if (isHeldByAnother(error)) {
      const { code, message } = error;
      this.#report.tell(
        'another process has the device of this network: waiting for its end',
        { code, error },
        message,
      );
      this.#report.failed('waiting for the device', message, code);
      return 'device-held';
    }
    if (!(error instanceof TartanError) || !error.code.startsWith('ETCD_')) throw error;
    const { code, message } = error;
    this.#report.tell('the lease could not be claimed: trying again', { code, error }, message);
    const phase = code === 'ETCD_UNAVAILABLE' ? 'waiting for etcd' : 'waiting for etcd to let us in';
    this.#report.failed(phase, message, code);
    return 'etcd-failed';
  }

  async #waitAfter(result: Exclude<Acquisition, { readonly outcome: 'held' }>, before: Ground): Promise<void> {
    const { clock, signal, cluster } = this.#context;
    if (result.outcome === 'config-changed') return await cluster.change(1_000, signal);
    if (result.outcome === 'unsettled') {
      this.#report.waiting('waiting for hosts to claim their leases again: etcd was restored or wiped');
      const settlesInMs = Math.max((cluster.trust?.settledAt ?? 0) - clock.monotonic(), 0);
      return await clock.sleep(settlesInMs + UNSETTLED_SPREAD_MS * clock.random(), signal);
    }
    if (result.outcome === 'refused') {
      this.#refuse(result);
      return await this.#moved(before, jittered(clock, RETRY_MS.refused, 0.2));
    }
    const problem = 'every subnet of the range is leased; widen Network or raise SubnetLen (tartan config set)';
    const code = 'RANGE_EXHAUSTED';
    this.#report.tell('every subnet of the range is leased: trying again when one is given back', { code }, problem);
    this.#report.failed('waiting for a free subnet', problem, code);
    return await this.#moved(before, jittered(clock, RETRY_MS.exhausted, 0.2));
  }

  #refuse({ holder, subnets }: Extract<Acquisition, { readonly outcome: 'refused' }>): void {
    const code = 'ADDRESS_IN_USE';
    const held = coverage(subnets).join(' ');
    const problem = `the live host ${holder.name} (node ${holder.node}) holds the lease ${held} with our public IP or node id; give this host an address, a machine-id or a --node-name of its own`;
    const fields = { code, holder, subnet: subnets.subnet };
    this.#report.tell('another live host is who we claim to be: trying again later', fields, problem);
    this.#report.failed('refused: another live host has our public IP or node id', problem, code);
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
}
