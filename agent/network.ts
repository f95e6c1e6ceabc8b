/**
 * What a lease makes of a host, in the order that a reader of the files can trust, and what keeps it so:
 *
 *   lease ─▶ device and address in the kernel ─▶ subnet.env, docker options ─▶ ready ─▶ peers
 *     ▲                   ▲                              ▲                                ▲
 *   Holder            Reconciler              the config, followed live               Cluster
 */

import type { DeviceObject } from '../backends/backend.ts';
import { createBackendHere } from '../backends/backends.ts';
import { placeDevice } from '../backends/device-placing.ts';
import type { Kernel } from '../backends/kernel/kernel.ts';
import { Reconciler } from '../backends/reconciler.ts';
import { shadowProblem } from '../backends/shadows.ts';
import type { Prefix } from '../config/address.ts';
import { within } from '../config/clock.ts';
import type { NetworkConfig } from '../config/network-config.ts';
import { answerChallenges } from '../leases/challenge.ts';
import { coverage } from '../leases/coverage.ts';
import type { DirectoryPolicy } from '../leases/directory-entry.ts';
import type { Offer } from '../leases/exchange.ts';
import { Holder } from '../leases/holder.ts';
import type { Self } from '../leases/identity.ts';
import type { LeaseOwner } from '../leases/lease.ts';
import type { Store } from '../leases/store.ts';
import type { AgentContext } from './agent-context.ts';
import type { AgentStatus } from './agent-status.ts';
import type { Cluster } from './cluster.ts';
import { configProblem, configProblemCode, judgeConfig } from './config-change.ts';
import { familiesOf, networksOf, ownPart } from './config-families.ts';
import { DataPaths, type PathBasis } from './data-paths.ts';
import { watchDockerBridge } from './docker/bridge-watch.ts';
import type { EtcdAddresses } from './etcd-addresses.ts';
import { Firewalling } from './firewalling.ts';
import { keepForwarding } from './forwarding.ts';
import { giveBackAfterStart } from './give-back.ts';
import type { Joined } from './joining.ts';
import { watchExpiry } from './lease-expiry.ts';
import { Leftovers } from './leftovers.ts';
import type { Memory } from './memory.ts';
import { areOurDevices } from './own-devices.ts';
import { PathProbes } from './path-probes.ts';
import { PeerLog } from './peer-log.ts';
import { peerPolicy } from './peer-policy.ts';
import { type Publication, publishedFiles } from './publisher.ts';
import { Publishing } from './publishing.ts';
import { keepRemembering } from './remembering.ts';
import { watchRivals } from './rivals.ts';
import type { StartRush } from './start-rush.ts';
import type { Tasks } from './tasks.ts';
import { type SurveyChange, surveyAgain, type UnderlaySurvey } from './underlay-survey.ts';
import { UnderlayWatch } from './underlay-watch.ts';

const LOOK_AT_DEVICE_MS = 500;
/** A thread is there within some 50 ms. */
const LOOK_AT_PATH_MS = 10;
const MEND_PATH_MS = 1_000;
const LOOK_FOR_LEFTOVERS_MS = 2_000;
const ANNOUNCE_MS = 60_000;
/** Peers come in flocks, and the kernel first. */
const ANNOUNCE_PAUSE_MS = 100;
/** A pass over the kernel under way is waited for: whoever clears the kernel afterwards must be the last to write. */
const PASS_WITHIN_MS = 10_000;
/** And a file that is being written: whoever removes the files afterwards must be the last to touch them. */
const PUBLISHED_WITHIN_MS = 10_000;
/** Docker waits for us: rules that take longer (somebody holds iptables' lock) come behind. */
const FILTERED_WITHIN_MS = 5_000;

export interface NetworkParts {
  readonly context: AgentContext;
  readonly tasks: Tasks;
  readonly store: Store;
  readonly kernel: Kernel;
  readonly cluster: Cluster;
  readonly memory: Memory;
  readonly status: AgentStatus;
  readonly owner: LeaseOwner;
  readonly etcdAddresses: EtcdAddresses;
  readonly joined: Joined;
  readonly rush: StartRush;
}

export class Network {
  readonly #parts: NetworkParts;
  /** What was joined, by the host as it is now. */
  #joined: Joined;
  /** The config that this run works by: what needs a restart is not taken over. */
  #running: NetworkConfig;
  /** What earlier runs made for another config: theirs until it is swept. */
  readonly #leftovers: Leftovers;
  /** Whether all peers are known, so that the kernel holds nothing that may still be somebody's. */
  #complete = false;
  /** What was last said of the config. */
  #configProblem: string | undefined;
  readonly #publishing: Publishing;
  readonly #firewalling: Firewalling;
  readonly #dataPaths: DataPaths;
  readonly #pathProbes: PathProbes;

  constructor(parts: NetworkParts) {
    const { joined, memory } = parts;
    this.#parts = parts;
    this.#joined = joined;
    this.#running = joined.config;
    const { macs, networks } = memory.current;
    this.#leftovers = new Leftovers({ macs: new Map([...macs].filter(([name]) => !joined.macs.has(name))), networks });
    const { options, log } = parts.context;
    this.#publishing = new Publishing({ options, log, status: parts.status }, () => this.#publication());
    const common = { context: parts.context, status: parts.status, adoptedAt: memory.current.adoptedAt };
    const peers = () => parts.cluster.directory.peers.values();
    this.#dataPaths = new DataPaths({ ...common, peers, current: () => this.#basis() });
    const dataPaths = this.#dataPaths;
    this.#pathProbes = new PathProbes({ ...common, dataPaths, peers, current: () => this.#basis() });
    this.#firewalling = new Firewalling({
      ...common,
      isStoreKnown: memory.known !== undefined,
      current: () => ({
        ...{ ...this.#joined, config: this.#running, own: this.#joined.held },
        former: this.#leftovers.made.networks,
      }),
    });
  }

  /** Resolves when this host is ready; its tasks go on. */
  async bringUp(): Promise<void> {
    const { context, cluster, status, memory } = this.#parts;
    const { options, clock, log } = context;
    const { held, macs } = this.#joined;
    status.join(this.#joined);
    const { note } = this.#joined.backend;
    if (note) log.warn('the backend is not all that it could be', { note });
    const made = { macs: new Map([...this.#leftovers.made.macs, ...macs]), networks: this.#networks() };
    memory.update({ ...made, files: [...new Set([...memory.current.files, ...publishedFiles(options)])] });
    const holder = this.#hold();
    await this.#place();
    await this.#carry();
    await memory.settled();
    await keepForwarding({ ...this.#parts, joined: this.#joined });
    this.#parts.tasks.start((signal) => this.#publishing.ended(signal), PUBLISHED_WITHIN_MS);
    // One that is only remembered is published without asking: etcd is away.
    await holder.good();
    await this.#publishing.first();
    this.#parts.rush.end();
    // Before readiness, by which Docker starts: its own chains come behind ours.
    const filtered = this.#firewalling.first();
    const reconciler = await this.#program(holder);
    status.watch(() => shadowProblem(reconciler.shadows()));
    this.#serve(reconciler, holder);
    this.#parts.tasks.start((signal) => this.#sweepLeftovers(reconciler, signal));
    this.#filter(holder);
    for (const task of this.#pathProbes.tasks()) this.#parts.tasks.start(task);
    this.#parts.tasks.start((signal) => this.#announce(signal));
    this.#parts.tasks.start((signal) => giveBackAfterStart(() => reconciler.step().inStep, clock, signal));
    const remembering = { cluster, memory, clock };
    this.#parts.tasks.start((signal) => keepRemembering(remembering, () => this.#running.text, signal));
    const self = (): Self => {
      const { publicIp, publicIp6 } = this.#joined.underlay;
      return { ...this.#parts.owner, publicIp, publicIp6 };
    };
    this.#parts.tasks.start((signal) => watchRivals({ ...remembering, status }, self, held.key, signal));
    this.#parts.tasks.start((signal) => watchExpiry({ status, clock, log }, holder, signal));
    await within(clock, FILTERED_WITHIN_MS, filtered, this.#parts.tasks.signal);
    status.setReady();
    const { backend, underlay } = this.#joined;
    log.info('ready', { subnet: held.subnet, backend: backend.type, dev: underlay.dev, mtu: backend.mtuBytes });
  }

  /** Peers, our own key and the config, from now on as they change. */
  #serve(reconciler: Reconciler, holder: Holder): void {
    const { cluster, etcdAddresses, tasks } = this.#parts;
    const { clock, log } = this.#parts.context;
    const peerLog = new PeerLog(log);
    tasks.start((signal) => peerLog.run(clock, signal));
    cluster.serve(this.#policy(), {
      onPeers: (changes, complete) => {
        this.#dataPaths.update(changes);
        this.#pathProbes.update(changes);
        this.#firewalling.update(changes, complete, cluster.directory.peers.values());
        reconciler.update(changes, complete);
        this.#complete ||= complete;
        peerLog.add(changes);
      },
      onOwnKey: (kv) => holder.observe(kv),
      onConfig: (kv) => this.#followConfig(kv?.value, reconciler, holder),
    });
    etcdAddresses.onChange = () => cluster.judge(this.#policy());
    tasks.start((signal) => cluster.sweep(signal));
  }

  /** Keeps the packet filters, and Docker on the lease. */
  #filter(holder: Holder): void {
    const { tasks } = this.#parts;
    this.#firewalling.onDockerNeeds = () => this.#publishing.again(holder);
    for (const task of this.#firewalling.tasks()) tasks.start(task);
    tasks.start((signal) => this.#watchDockerBridge(signal));
  }

  /** The connection to etcd comes and goes, and with it what systemd shows. */
  async #announce(signal: AbortSignal): Promise<never> {
    for (;;) {
      await this.#parts.cluster.change(ANNOUNCE_MS, signal);
      await this.#parts.context.clock.sleep(ANNOUNCE_PAUSE_MS, signal);
      this.#parts.status.announce();
    }
  }

  #basis(): PathBasis {
    const { backend, held, macs } = this.#joined;
    return { backend, macs, own: ownPart(held, this.#running) };
  }

  /** What is to stand in the kernel whoever the peers are. */
  #device(): readonly DeviceObject[] {
    const { backend, own, macs } = this.#basis();
    return backend.device(own, macs);
  }

  /** Networks whose routes are ours. */
  #networks(): readonly Prefix[] {
    return [...new Set([...networksOf(this.#joined.config, this.#running), ...this.#leftovers.made.networks])];
  }

  #policy(): DirectoryPolicy {
    const networks = networksOf(this.#joined.config, this.#running);
    return peerPolicy(this.#joined, networks, this.#parts.etcdAddresses.current);
  }

  #publication(): Publication {
    const { held, backend } = this.#joined;
    return {
      config: this.#running,
      own: held,
      mtuBytes: backend.mtuBytes,
      dockerFlags: () => this.#firewalling.dockerFlags(),
    };
  }

  /** Before anything else: our answer to a challenge must not wait long for the kernel. */
  #hold(): Holder {
    const { context, tasks, store, cluster, status, memory, owner, rush } = this.#parts;
    const { options, clock, log } = context;
    const joined = this.#joined;
    const prefix = options.etcdPrefix;
    const holder = new Holder({ store, prefix, clock, log, signal: tasks.signal }, joined.held, {
      marginSeconds: options.subnetLeaseRenewMargin * 60,
      isOurDevice: (attributes) => areOurDevices(this.#joined, attributes),
      flanneldsLive: () => cluster.directory.all().some((lease) => lease.owner === undefined),
      onHeld: (held) => memory.hold(held, cluster.settledVersion),
      unconfirmed: joined.fromMemorySince === undefined ? undefined : 'etcd has not answered since the start',
    });
    memory.hold(joined.held, cluster.settledVersion);
    status.hold(holder);
    const words = { sure: () => holder.sure(), cede: (offer: Offer) => holder.cede(offer) };
    tasks.start(async (signal) => {
      await rush.over;
      await answerChallenges(store, prefix, joined.held, owner, { clock, log, signal, ...words });
    });
    tasks.start(() => holder.run());
    return holder;
  }

  /** Our device with its address; waits where the kernel refuses them. */
  async #place(): Promise<void> {
    const { context, tasks, kernel, status } = this.#parts;
    const { backend } = this.#joined;
    for (;;) {
      const refused = await placeDevice(kernel, backend, this.#device());
      if (refused === undefined) return;
      status.setPhase('waiting for the kernel', `the kernel refuses ${refused}`, 'KERNEL');
      await context.clock.sleep(LOOK_AT_DEVICE_MS, tasks.signal);
    }
  }

  /** Where the packets are ours to carry: nobody is told of the network before they can cross. */
  async #carry(): Promise<void> {
    const { context, tasks, status, kernel } = this.#parts;
    const { clock, log } = context;
    this.#dataPaths.follow();
    for (const task of this.#dataPaths.tasks()) tasks.start(task);
    let mendedAt = clock.monotonic();
    while (!this.#dataPaths.areUp()) {
      status.setPhase('waiting for the data path');
      await clock.sleep(LOOK_AT_PATH_MS, tasks.signal);
      if (clock.monotonic() - mendedAt < MEND_PATH_MS) continue;
      // A device of an earlier config may hold our port, and somebody may have deleted ours.
      await this.#leftovers.sweep(kernel, this.#networks(), log);
      await this.#place();
      mendedAt = clock.monotonic();
    }
  }

  /** Keeps the kernel in step from now on. */
  async #program(holder: Holder): Promise<Reconciler> {
    const { context, tasks, kernel, status } = this.#parts;
    const { options, clock, log } = context;
    const { backend, held, underlay } = this.#joined;
    const reconciler = await Reconciler.start({
      ...{ kernel, backend, clock, log, underlay: underlay.dev, networks: this.#networks() },
      ownSubnets: coverage(held),
      ...{ resyncSeconds: options.resync, nexthopObjects: options.nexthopObjects === 'auto' },
    });
    status.reconcile(reconciler);
    const programmed = reconciler.setDevice(this.#device());
    tasks.start(() => programmed, PASS_WITHIN_MS);
    await programmed;
    tasks.start((signal) => reconciler.run(signal), PASS_WITHIN_MS);
    tasks.start((signal) => this.#watchUnderlay(holder, reconciler).run(signal));
    return reconciler;
  }

  #watchDockerBridge(signal: AbortSignal): Promise<never> {
    const { kernel, context, status } = this.#parts;
    const { options, clock, log } = context;
    const onProblem = (text: string | undefined): void => status.setProblem('docker bridge', text);
    const current = () => ({ networks: networksOf(this.#running), own: this.#joined.held });
    return watchDockerBridge({ kernel, clock, log, resyncSeconds: options.resync, current, onProblem }, signal);
  }

  #watchUnderlay(holder: Holder, reconciler: Reconciler): UnderlayWatch {
    const { kernel, context } = this.#parts;
    const { options, clock, log } = context;
    return new UnderlayWatch({
      ...{ kernel, clock, log, resyncSeconds: options.resync, current: () => this.#joined },
      look: (current, areRoutesInDoubt) =>
        surveyAgain(kernel, options, familiesOf(this.#joined.config), current, areRoutesInDoubt),
      onChange: (change) => this.#followHost(change, holder, reconciler),
    });
  }

  /** The host is no longer what it was: device, files, lease and what is taken as a peer follow, or it is said why not. */
  async #followHost(change: SurveyChange, holder: Holder, reconciler: Reconciler): Promise<void> {
    const { context, store, cluster, status, owner } = this.#parts;
    const { log } = context;
    const next = change.ok ? await this.#joinedBy(change.survey) : change.reason;
    const problem = typeof next === 'string' ? next : change.ok ? change.note : undefined;
    const code = change.ok && typeof next === 'string' ? 'CONFIG_INVALID' : 'INTERFACE_NOT_FOUND';
    status.setProblem('interface', problem, problem === undefined ? undefined : code);
    if (problem) log.error('the external interface is not what it was', { code, problem });
    if (typeof next === 'string') return;
    const { underlay, backend, macs } = next;
    const { dev, mtuBytes: mtu, publicIp, publicIp6 } = underlay;
    log.info('following the external interface', { dev, mtu, publicIp, publicIp6 });
    const before = this.#joined.underlay;
    if (before.ip !== underlay.ip || before.ip6 !== underlay.ip6) store.reconnect();
    this.#joined = next;
    status.follow(next);
    await reconciler.moveTo({ backend, underlay: dev, device: this.#device() });
    this.#dataPaths.follow();
    this.#pathProbes.follow();
    this.#firewalling.follow();
    // Peers may send to the new address once the device is there.
    holder.advertise({ ...backend.advertise(macs), owner });
    cluster.judge(this.#policy());
    this.#publishing.again(holder);
  }

  /** @returns why the network can't be as configured on such a host, where it can't. */
  async #joinedBy(survey: UnderlaySurvey): Promise<Joined | string> {
    const { config } = this.#joined;
    const { backendType: type, backend } = config;
    const created = await createBackendHere(this.#parts.kernel, type, backend, familiesOf(config), survey.underlay);
    if (created.ok) return { ...this.#joined, ...survey, backend: created.backend };
    return `the external interface changed, and the network can't follow: ${created.problems.join('; ')}`;
  }

  /** The config key as it is now: what a running agent can follow is followed, the rest is said. */
  #followConfig(text: string | undefined, reconciler: Reconciler, holder: Holder): void {
    const { context, cluster, status, memory } = this.#parts;
    const { log } = context;
    const change = judgeConfig(this.#running, text);
    const problem = configProblem(change);
    const code = configProblemCode(change);
    if (problem && this.#configProblem !== problem) log.error('the network config is not followed', { code, problem });
    status.setProblem('config', problem, code);
    this.#configProblem = problem;
    if (change.kind !== 'follow') return;
    log.info('following the new network config', { changes: change.changes });
    this.#running = change.config;
    status.setConfig(change.config);
    memory.update({ networks: this.#networks() });
    reconciler.setNetworks(this.#networks());
    // Where the kernel can't be spoken to, its next pass has it.
    void reconciler.setDevice(this.#device()).catch(() => undefined);
    this.#dataPaths.follow();
    this.#firewalling.follow();
    cluster.judge(this.#policy());
    this.#publishing.again(holder);
  }

  /** Only when the kernel is in step: until then the old routes carry what the new ones do not yet. */
  async #sweepLeftovers(reconciler: Reconciler, signal: AbortSignal): Promise<void> {
    const { context, kernel, memory } = this.#parts;
    const { clock, log } = context;
    do await clock.sleep(LOOK_FOR_LEFTOVERS_MS, signal);
    while (!this.#complete || !reconciler.step().inStep);
    if (!(await this.#leftovers.sweep(kernel, this.#networks(), log))) return;
    reconciler.setNetworks(this.#networks());
    memory.update({ macs: this.#joined.macs, networks: this.#networks() });
  }
}
