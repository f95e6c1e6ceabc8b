/** A host in memory: a fake kernel with an underlay, a backend, and a reconciler that runs on a virtual clock. */
import type { ExecutionContext } from 'ava';
import type { Backend } from '../../../backends/backend.ts';
import { KernelView, KINDS } from '../../../backends/kernel-view.ts';
import { formatOperation } from '../../../backends/operation-text.ts';
import type { Ownership } from '../../../backends/ownership.ts';
import { plan } from '../../../backends/plan.ts';
import { Reconciler, type ReconcilerOptions } from '../../../backends/reconciler.ts';
import { type KernelObject, type Nexthop, TARTAN_PROTOCOL } from '../../../backends/state.ts';
import { createVxlan } from '../../../backends/vxlan/vxlan.ts';
import type { Ip } from '../../../config/address.ts';
import type { JsonObject } from '../../../config/go-json.ts';
import type { Log } from '../../../config/log.ts';
import { coverage } from '../../../leases/coverage.ts';
import type { PeerChange } from '../../../leases/directory.ts';
import type { Lease, StoredLease } from '../../../leases/lease.ts';
import { VirtualClock } from '../../fakes/clock.ts';
import { FakeKernel } from '../../fakes/kernel.ts';
import { backendOf, byKey, ip, lease, MACS, OWN, prefix, UNDERLAY, V4 } from './values.ts';

export const NETWORK = prefix('10.5.0.0/16');
export const DEV = 'flannel.1';

export function stored(n: number, change: Partial<Lease> = {}): StoredLease {
  const key = `/n/subnets/10.5.${n}.0-24`;
  return { ...lease(n, change), key, createRevision: n, modRevision: n, etcdLease: '1', value: `${n}` };
}

/** A lease that came (`stored(7)`) or went (`7`). */
export function changes(...leases: readonly (StoredLease | number)[]): PeerChange[] {
  return leases.map((one) => {
    const after = typeof one === 'number' ? undefined : one;
    return { key: after?.key ?? stored(Number(one)).key, before: undefined, after };
  });
}

export interface RigOptions extends Partial<Pick<ReconcilerOptions, 'nexthopObjects' | 'resyncSeconds'>> {
  readonly config?: JsonObject;
  readonly backend?: Backend;
  readonly kernel?: FakeKernel;
  readonly seed?: number;
}

export class Rig {
  readonly clock: VirtualClock;
  readonly kernel: FakeKernel;
  readonly backend: Backend;
  readonly policy: Ownership;
  readonly warnings: { readonly message: string; readonly operations: unknown }[] = [];
  readonly #ending = new AbortController();
  readonly #options: RigOptions;
  #reconciler: Reconciler | undefined;
  ended: unknown;

  constructor(options: RigOptions = {}) {
    this.#options = options;
    this.clock = new VirtualClock(undefined, options.seed);
    this.kernel = options.kernel ?? hostKernel();
    this.backend = options.backend ?? backendOf(createVxlan(options.config ?? {}, V4, UNDERLAY));
    this.policy = { networks: [NETWORK], devices: new Set(this.backend.devices) };
  }

  get reconciler(): Reconciler {
    if (!this.#reconciler) throw new Error('the rig was not started');
    return this.#reconciler;
  }

  /** Up to a device that stands and a loop that runs; no peers yet. */
  async start(): Promise<this> {
    const { nexthopObjects = true, resyncSeconds = 60 } = this.#options;
    this.#reconciler = await Reconciler.start({
      ...{ kernel: this.kernel, backend: this.backend, underlay: 'eth0', networks: [NETWORK] },
      ownSubnets: coverage(OWN),
      ...{ resyncSeconds, nexthopObjects, clock: this.clock, log: this.#log() },
    });
    await this.reconciler.setDevice(this.backend.device(OWN, MACS));
    this.reconciler.run(this.#ending.signal).catch((reason: unknown) => {
      this.ended = reason;
    });
    return this;
  }

  /** Started, with all peers known and in step. */
  async with(...leases: readonly StoredLease[]): Promise<this> {
    await this.start();
    this.reconciler.update(changes(...leases), true);
    await this.clock.advance(1_000);
    this.kernel.forget();
    return this;
  }

  abort(): void {
    this.#ending.abort(new Error('stopped'));
  }

  async stop(): Promise<void> {
    this.abort();
    await this.clock.advance(0);
  }

  async update(...leases: readonly (StoredLease | number)[]): Promise<void> {
    this.reconciler.update(changes(...leases), false);
    await this.clock.advance(0);
  }

  /** What still has to change so that the kernel holds what these leases ask for and nothing else of ours. */
  async left(leases: readonly StoredLease[], isOnLink: (ip: Ip) => boolean = () => false): Promise<string[]> {
    const view = new KernelView(this.kernel, this.backend.devices, [4]);
    await view.read(KINDS);
    const withIds = this.#options.nexthopObjects !== false && this.kernel.hasNexthops;
    const nexthopId = withIds ? (gateway: Ip): number => this.#idOf(gateway) : undefined;
    const peers = leases.flatMap((one): readonly KernelObject[] => {
      const state = this.backend.peer(one, { isOnLink, nexthopId });
      return 'objects' in state ? state.objects : [];
    });
    const desired = byKey([...this.backend.device(OWN, MACS), ...peers]);
    return plan(desired, view.objects, this.policy).map(formatOperation);
  }

  #idOf(gateway: Ip): number {
    const isOurs = (object: Nexthop): boolean => object.gateway === gateway && object.dev === DEV;
    for (const found of this.kernel.tables.nexthops.values()) {
      if (found?.protocol === TARTAN_PROTOCOL && isOurs(found.object)) return found.object.id;
    }
    return 0x54000000;
  }

  #log(): Log {
    const warn: Log['warn'] = (message, fields) => this.warnings.push({ message, operations: fields?.['operations'] });
    return { debug() {}, info() {}, warn, error: warn };
  }
}

/** The underlay with its address and a default route. */
export function hostKernel(): FakeKernel {
  const kernel = new FakeKernel();
  kernel.tables.addDevice('eth0');
  const marks = { permanent: true, temporary: false, deprecated: false };
  kernel.tables.addresses.push({ dev: 'eth0', ip: ip('192.168.77.10'), length: 24, ...marks });
  const gateway = ip('192.168.77.1');
  const plain = { metric: 0, protocol: 3, onlink: false, nexthopId: undefined, type: 1 };
  kernel.tables.addRoute({ dst: prefix('0.0.0.0/0'), dev: 'eth0', gateway, ...plain });
  return kernel;
}

export async function inStep(t: ExecutionContext<unknown>, rig: Rig, ...leases: readonly StoredLease[]): Promise<void> {
  t.deepEqual(await rig.left(leases), []);
  t.deepEqual(rig.reconciler.step().missing, []);
  t.true(rig.reconciler.step().inStep);
}
