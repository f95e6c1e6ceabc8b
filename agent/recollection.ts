/**
 * Going on without etcd: by the lease that an earlier run held and the cluster as it saw it, as long as the lease is
 * good. Nothing is written to etcd; the first contact tells whether the lease is still ours (leases/holder.ts).
 */
import type { Backend, DeviceMacs } from '../backends/backend.ts';
import type { Kernel } from '../backends/kernel/kernel.ts';
import type { Clock } from '../config/clock.ts';
import type { Log } from '../config/log.ts';
import type { NetworkConfig } from '../config/network-config.ts';
import type { Options } from '../config/options.ts';
import type { HeldLease } from '../leases/held-lease.ts';
import type { LeaseOwner } from '../leases/lease.ts';
import type { Cluster } from './cluster.ts';
import type { ClusterRead } from './cluster-file.ts';
import { isHeldByAnother, prepareDevices, type RememberDevices } from './own-devices.ts';
import { isAsPublished, type Remembered, rememberedLease, unfit } from './remembered-lease.ts';
import type { HeldState } from './state-file.ts';

/** For etcd's first answer. */
const PATIENCE_MS = 3_000;
/** The interface may get its address, the clock be set: then the memory is looked at again. */
const RETRY_MS = 2_000;

export interface RecollectionContext {
  readonly options: Options;
  readonly kernel: Kernel;
  readonly cluster: Cluster;
  readonly clock: Clock;
  readonly log: Log;
  readonly owner: LeaseOwner;
  /** Devices that this run or an earlier one made, as of now. */
  macs(): DeviceMacs;
  /** What an earlier run left. */
  readonly remembered: {
    readonly held: HeldState | undefined;
    cluster(): Promise<ClusterRead>;
  };
  /** Writes down the devices that will be made. */
  readonly rememberDevices: RememberDevices;
}

export class Recollection {
  readonly #context: RecollectionContext;
  /** Monotonic clock, ms. */
  readonly #patientUntil: number;
  /** Why the memory is of no use now, for the operator; undefined: nothing was tried, or there is none. */
  why: string | undefined;

  constructor(context: RecollectionContext) {
    this.#context = context;
    this.#patientUntil = context.clock.monotonic() + PATIENCE_MS;
  }

  /** How long to wait for etcd before the memory is looked at, ms. */
  get waitMs(): number {
    const left = this.#patientUntil - this.#context.clock.monotonic();
    return left > 0 ? left : RETRY_MS;
  }

  /** Lets the cluster go by what is remembered of it, where etcd has not answered for too long. */
  async recall(): Promise<void> {
    if (this.#isPatient()) return;
    const lease = this.#lease();
    if (!lease.ok) return this.forgo(lease.reason);
    const { cluster, remembered } = this.#context;
    const read = await remembered.cluster();
    if (read.ok) cluster.recall(read.cluster);
    else this.forgo(`the leases of the others: ${read.reason}`);
  }

  /** The lease remembered, with its devices made; undefined where it can't be gone on with. Rejects as prepareDevices. */
  async goOn(
    config: NetworkConfig,
    backend: Backend,
  ): Promise<{ readonly held: HeldLease; readonly macs: DeviceMacs } | undefined> {
    if (this.#isPatient()) return undefined;
    const { kernel, cluster, rememberDevices } = this.#context;
    const known = this.#context.macs();
    const hadAnswered = cluster.version !== undefined;
    const lease = this.#lease();
    if (!lease.ok) return this.forgo(lease.reason);
    const { held } = lease;
    if (!cluster.mayStillHold(held))
      return this.forgo('etcd, when it was last seen, did not have the lease remembered');
    const problem = unfit(held, config, backend);
    if (problem !== undefined) return this.forgo(problem);
    const macs = await prepareDevices(kernel, backend, held.attributes, known, rememberDevices).catch(whereHeld);
    if (macs instanceof Error) return this.forgo(macs.message);
    if (!isAsPublished(held, backend.advertise(macs)))
      return this.forgo('the kernel does not give our device the MAC that the lease remembered names');
    if (!hadAnswered && cluster.version !== undefined) return undefined;
    this.#tell(held);
    return { held, macs };
  }

  #isPatient(): boolean {
    return this.#context.clock.monotonic() < this.#patientUntil;
  }

  #lease(): Remembered {
    const { remembered, options, owner, clock } = this.#context;
    return rememberedLease(remembered.held, { prefix: options.etcdPrefix, owner, now: clock.now() });
  }

  /** Notes why the memory is of no use. Said once; a host that has nothing to remember only waits. */
  forgo(reason: string): undefined {
    const { log, remembered } = this.#context;
    if (!remembered.held || this.why === reason) return;
    log.warn('etcd does not answer, and what is remembered can not be gone by', { reason });
    this.why = reason;
  }

  #tell({ subnet, subnet6, expiresAt }: HeldLease): void {
    const { cluster, log } = this.#context;
    const { recalledOf } = cluster;
    log.warn('etcd does not answer: running from memory', {
      ...{ subnet, subnet6, leases: cluster.leaseCount },
      ...(recalledOf !== undefined && { leasesOf: new Date(recalledOf).toISOString() }),
      ...(Number.isFinite(expiresAt) && { expiresAt: new Date(expiresAt).toISOString() }),
    });
  }
}

/** Throws again what waiting can't help. */
function whereHeld(error: unknown): Error {
  if (isHeldByAnother(error)) return error;
  throw error;
}
