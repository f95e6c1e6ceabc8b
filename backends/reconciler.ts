/**
 * Keeps the kernel as the leases say it should be, whatever happened meanwhile.
 *
 *   peers, device     ──▶ what is wanted ─┐
 *   events, failures, ──▶ doubts: read ───┼──▶ plan, apply ──▶ refused: tried again later
 *   resync                again           │    (programming.ts)      │
 *                                         └──────────────────────────┘
 *
 * One such pass after the other. Each costs what it is about: one peer's change touches that peer's keys and reads
 * nothing.
 */
import { familyOf, type Prefix } from '../config/address.ts';
import { type Clock, jittered } from '../config/clock.ts';
import { Durations } from '../config/durations.ts';
import { toError } from '../config/errors.ts';
import type { Log } from '../config/log.ts';
import { Wakeup } from '../config/wakeup.ts';
import type { PeerChange } from '../leases/directory.ts';
import type { Backend, DeviceObject } from './backend.ts';
import { DesiredState, publicIpsOf } from './desired-state.ts';
import { Doubts } from './doubts.ts';
import type { Kernel } from './kernel/kernel.ts';
import { KernelView, KINDS } from './kernel-view.ts';
import { NexthopIds } from './nexthop-ids.ts';
import { OnLink } from './on-link.ts';
import { isOurs, type Ownership } from './ownership.ts';
import { Programming, type ReconcilerCounters } from './programming.ts';
import { Reading } from './reading.ts';
import { type Shadow, shadowProblem, shadows } from './shadows.ts';
import type { Link, ObjectKind } from './state.ts';
import type { Trouble } from './trouble.ts';

const FAILURE_MS = { first: 1_000, most: 30_000 } as const;

export interface ReconcilerOptions {
  readonly kernel: Kernel;
  readonly backend: Backend;
  /** Name of the external interface: its events concern us too. */
  readonly underlay: string;
  readonly networks: readonly Prefix[];
  /** What is leased by this host: no route of ours may lead there, whoever it was a peer's before. */
  readonly ownSubnets?: readonly Prefix[];
  readonly resyncSeconds: number;
  readonly nexthopObjects: boolean;
  readonly clock: Clock;
  readonly log: Log;
}

export interface Step {
  /** Whether, as far as is known, everything is in the kernel that the leases ask for, and nothing else of ours. */
  readonly inStep: boolean;
  /** Wall clock, ms. */
  readonly since: number | undefined;
  readonly missing: readonly (Trouble & { readonly object: string })[];
}

/** How the hosts reach each other now. */
export interface Move {
  readonly backend: Backend;
  /** Name of the external interface. */
  readonly underlay: string;
  /** Our devices, and what stands on them whoever the peers are. */
  readonly device: readonly DeviceObject[];
}

export class Reconciler {
  readonly #options: ReconcilerOptions;
  readonly #view: KernelView;
  readonly #onLink: OnLink;
  readonly #desired: DesiredState;
  readonly #doubts: Doubts;
  readonly #programming: Programming;
  readonly #reading: Reading;
  readonly #doorbell = new Wakeup();
  /** `change`: from the event to the kernel's answer. */
  readonly timings = { plan: new Durations(), apply: new Durations(), change: new Durations() } as const;
  #changes: PeerChange[] = [];
  /** Monotonic clock, ms: since when the eldest of them waits. */
  #changedAt: number | undefined;
  #backend: Backend;
  #move: Move | undefined;
  #peersKnown = false;
  #lastPass: Promise<void> = Promise.resolve();
  #inStepSince: number | undefined;
  /** Whether an event has put in doubt what is not looked at yet. */
  #isSuspicious = false;
  #shadowsTold: ReadonlySet<string> = new Set();
  #failure: Trouble | undefined;
  /** Of `run`: no pass goes on once it is aborted. */
  #signal: AbortSignal | undefined;

  private constructor(options: ReconcilerOptions, view: KernelView, ids: NexthopIds | undefined, policy: Ownership) {
    const { kernel, backend, underlay, clock, log } = options;
    this.#options = options;
    this.#backend = backend;
    this.#view = view;
    this.#onLink = new OnLink(kernel, underlay);
    this.#desired = new DesiredState(backend, ids, this.#onLink.has, (id) => this.#isForeign(id));
    const onDoubt = (): void => {
      this.#isSuspicious = true;
      this.#doorbell.ring();
    };
    const desired = this.#desired;
    const { directRouting } = backend;
    this.#doubts = new Doubts({ view, desired, directRouting, onDoubt }, policy, underlay);
    const parts = { kernel, view, desired, ids, clock, log, doubts: this.#doubts };
    this.#programming = new Programming(parts, policy);
    this.#reading = new Reading({ ...parts, directRouting, onLink: this.#onLink, programming: this.#programming });
  }

  /** Opens the monitor and reads everything once. Rejects with TartanError KERNEL where that fails. */
  static async start(options: ReconcilerOptions): Promise<Reconciler> {
    const { kernel, backend, networks, ownSubnets = [], nexthopObjects } = options;
    const policy: Ownership = { networks, devices: new Set(backend.devices), ownSubnets };
    const view = new KernelView(kernel, backend.devices, [...new Set(networks.map(familyOf))], networks);
    let reconciler: Reconciler | undefined;
    let wasDisturbed = false;
    await kernel.monitor((event) => {
      if (reconciler) reconciler.#doubts.hear(event);
      else wasDisturbed = true;
    });
    await view.read(KINDS);
    const withIds = nexthopObjects && view.hasNexthops;
    const ids = withIds ? new NexthopIds(view.nexthops(), await kernel.nexthopIds(), policy) : undefined;
    reconciler = new Reconciler(options, view, ids, policy);
    if (wasDisturbed) reconciler.#doubts.addAll();
    return reconciler;
  }

  get counters(): Readonly<ReconcilerCounters> {
    return this.#programming.counters;
  }

  /** Puts our devices in place, and what stands on them whoever the peers are; resolves when the kernel has them or has refused them. */
  async setDevice(objects: readonly DeviceObject[]): Promise<void> {
    this.#desired.setDevice(objects);
    // What an earlier run left may stand in our own way.
    this.#programming.overhaul();
    await this.#pass();
  }

  /**
   * The external interface is another one, or is no longer what it was. The backend is the same but for that: its devices
   * have their names and their MACs. Nothing is written but what differs. Resolves when it is, or was refused; where the
   * kernel can't be spoken to, `run` tries again.
   */
  async moveTo(move: Move): Promise<void> {
    this.#move = move;
    await this.#pass().catch(() => undefined);
    this.#doorbell.ring();
  }

  /** The networks whose routes are ours, when the network config was widened. */
  setNetworks(networks: readonly Prefix[]): void {
    const policy = { ...this.#programming.policy, networks };
    this.#doubts.policy = policy;
    this.#programming.policy = policy;
    this.#programming.overhaul();
    this.#view.networks = networks;
    // Of what lies in a new network, no event was of interest until now, and no route was kept.
    this.#doubts.addAll();
    this.#reading.hurry();
  }

  /** `complete`: with these changes all peers are known, so that what is nobody's may be removed. */
  update(changes: readonly PeerChange[], complete: boolean): void {
    this.#peersKnown = true;
    for (const change of changes) this.#changes.push(change);
    if (changes.length > 0) this.#changedAt ??= this.#options.clock.monotonic();
    if (complete && !this.#programming.isComplete) {
      this.#programming.isComplete = true;
      this.#programming.overhaul();
    }
    this.#doorbell.ring();
  }

  step(): Step {
    const failure = this.#failure ? [{ object: 'the kernel', ...this.#failure }] : [];
    const since = this.#changes.length === 0 && !this.#isSuspicious ? this.#inStepSince : undefined;
    return { inStep: since !== undefined, since, missing: [...failure, ...this.#programming.troubles.list()] };
  }

  /** Others' routes that take packets away from peers. They do not count against being in step: ours are in place. */
  shadows(): readonly Shadow[] {
    return shadows(this.#view.othersRoutes, this.#desired.objects, this.#programming.policy);
  }

  /** The devices as they are in the kernel. */
  devices(): { readonly name: string; readonly found: Link | undefined }[] {
    return this.#backend.devices.map((name) => {
      const object = this.#view.objects.get(`link ${name}`)?.object;
      return { name, found: object?.kind === 'link' ? object : undefined };
    });
  }

  /**
   * Runs until the signal is aborted, then rejects with its reason: when the pass under way has ended, and with it all
   * reading and writing. A batch that the kernel has been given is waited for; no other begins.
   */
  async run(signal: AbortSignal): Promise<never> {
    this.#signal = signal;
    try {
      return await this.#passes(signal);
    } finally {
      await this.#lastPass;
    }
  }

  async #passes(signal: AbortSignal): Promise<never> {
    const { clock, resyncSeconds } = this.#options;
    const nextResync = (): number => clock.monotonic() + jittered(clock, resyncSeconds * 1000);
    for (let resyncAt = nextResync(); ; ) {
      await this.#rest(resyncAt, signal);
      if (clock.monotonic() >= resyncAt) {
        // Looked at once a while without any reason: nobody is to take that for a fault.
        const isSuspicious = this.#isSuspicious;
        this.#doubts.addAll();
        this.#isSuspicious = isSuspicious;
        resyncAt = nextResync();
      }
      await this.#pass().catch((error: unknown) => this.#recover(toError(error), signal));
    }
  }

  /** Until there is something to do. */
  async #rest(resyncAt: number, signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    const at = Math.min(resyncAt, this.#doubts.exist ? this.#reading.nextAt : resyncAt) - clock.monotonic();
    await this.#doorbell.wait(Math.max(0, Math.min(this.#programming.troubles.nextMs(), at)), clock, signal);
  }

  /** After a pass that failed as a whole. Where only reading failed, peers' changes do not wait for the next try. */
  async #recover(error: Error, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const { clock, log } = this.#options;
    const attempts = (this.#failure?.attempts ?? 0) + 1;
    this.#failure = { since: this.#failure?.since ?? clock.now(), attempts, error: error.message };
    log.error('the kernel could not be read or changed: trying again', { error, attempts });
    const wait = jittered(clock, Math.min(FAILURE_MS.first * 2 ** (attempts - 1), FAILURE_MS.most));
    if (error === this.#reading.failure) {
      this.#reading.putOff(wait);
      return;
    }
    await clock.sleep(wait, signal);
    this.#doorbell.ring();
  }

  /** One at a time. */
  #pass(): Promise<void> {
    const pass = this.#lastPass.then(() => this.#onePass());
    this.#lastPass = pass.catch(() => undefined);
    return pass;
  }

  async #onePass(): Promise<void> {
    this.#doubts.hold();
    const changedAt = this.#changedAt;
    this.#changedAt = undefined;
    try {
      this.#signal?.throwIfAborted();
      await this.#takeMove();
      await this.#takeChanges();
      this.#signal?.throwIfAborted();
      const { read, failure } = await this.#reading.lookAgain();
      this.#signal?.throwIfAborted();
      await this.#programAll(read);
      if (changedAt !== undefined) this.timings.change.add(this.#options.clock.monotonic() - changedAt);
      if (failure) throw failure;
      if (read.size > 0 || !this.#doubts.exist) this.#failure = undefined;
    } catch (error) {
      this.#inStepSince = undefined;
      this.#changedAt = changedAt ?? this.#changedAt;
      throw error;
    } finally {
      this.#doubts.release();
    }
    this.#judge();
  }

  /** Where the kernel does not answer, nobody knows what it has done. */
  async #programAll(read: ReadonlySet<ObjectKind>): Promise<void> {
    const { clock } = this.#options;
    const startedAt = clock.monotonic();
    this.#programming.noteChanges();
    const operations = this.#programming.plan(read);
    const plannedAt = clock.monotonic();
    this.timings.plan.add(plannedAt - startedAt);
    if (operations.length > 0 || this.#programming.isWithholding) this.#inStepSince = undefined;
    try {
      await this.#programming.program(operations, this.#signal);
    } catch (error) {
      this.#doubts.addAll();
      this.#programming.overhaul();
      throw error;
    }
    if (operations.length > 0) this.timings.apply.add(clock.monotonic() - plannedAt);
  }

  /** Once each: `status` has what goes on. */
  #tellShadows(): void {
    const now = new Map(this.shadows().map(({ route, peer }) => [`${route.dst} ${route.metric}`, { route, peer }]));
    const news = [...now].filter(([key]) => !this.#shadowsTold.has(key)).map(([, shadow]) => shadow);
    this.#shadowsTold = new Set(now.keys());
    const problem = shadowProblem(news);
    if (problem) this.#options.log.warn('routes of others shadow peers', { problem });
  }

  #judge(): void {
    if (!this.#doubts.exist) this.#isSuspicious = false;
    this.#tellShadows();
    if (!this.#peersKnown || this.#programming.troubles.size > 0) this.#inStepSince = undefined;
    else if (!this.#doubts.exist) this.#inStepSince ??= this.#options.clock.now();
  }

  /** Who is a neighbour is known by the new interface before any peer is computed again. */
  async #takeMove(): Promise<void> {
    const move = this.#move;
    if (!move) return;
    this.#onLink.underlay = move.underlay;
    this.#doubts.underlay = move.underlay;
    if (move.backend.directRouting) await this.#onLink.lookUpAll(this.#desired.publicIps());
    if (this.#move === move) this.#move = undefined;
    this.#backend = move.backend;
    this.#desired.setBackend(move.backend);
    this.#desired.setDevice(move.device);
    this.#programming.footingMoved();
    // Of what is on that interface, no event was of interest until now.
    this.#doubts.addAll();
    this.#reading.hurry();
  }

  /** Folds the peers' changes in, once it is known which of them are neighbours on the underlay. */
  async #takeChanges(): Promise<void> {
    const changes = [...this.#changes];
    if (this.#backend.directRouting) {
      await this.#onLink.lookUp(new Set(changes.flatMap(({ after }) => (after ? publicIpsOf(after) : []))));
    }
    this.#changes.splice(0, changes.length);
    if (changes.length > 0) this.#inStepSince = undefined;
    this.#desired.update(changes);
    // What is replaced has to be named; that is rare enough not to wait.
    if (this.#doubts.meetStrangers() && !this.#programming.isBlind) this.#reading.hurry();
  }

  #isForeign(id: number): boolean {
    const found = this.#view.objects.get(`nexthop ${id}`);
    return found !== undefined && !isOurs(found, this.#programming.policy);
  }
}
