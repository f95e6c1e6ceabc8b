/**
 * This host's packet filters while the agent runs.
 *
 *   config, lease, backend ──► wish ──► Firewall      flannel's rules, and the ways through Docker's
 *   Docker, looked at now and then ──┘      └──► flags for the options file
 *   peers ────────────────────────────► PeerFilter    one for each VXLAN device
 */
import type { DeviceMacs } from '../backends/backend.ts';
import { clearPeerFilters } from '../backends/firewall/clear-peer-filters.ts';
import { Firewall } from '../backends/firewall/firewall.ts';
import { filterPeerOf } from '../backends/firewall/named-peers.ts';
import { PeerFilter } from '../backends/firewall/peer-filter.ts';
import { probe } from '../backends/firewall/probe.ts';
import { HostPrograms } from '../backends/firewall/programs.ts';
import { rulesetWatch } from '../backends/kernel/ruleset-monitor.ts';
import { SetElements } from '../backends/kernel/set-elements.ts';
import type { Family, Ip } from '../config/address.ts';
import { jittered } from '../config/clock.ts';
import type { PeerChange } from '../leases/directory.ts';
import type { StoredLease } from '../leases/lease.ts';
import type { AgentContext } from './agent-context.ts';
import type { AgentStatus } from './agent-status.ts';
import { dockerWays, NO_ENGINE } from './docker/engine.ts';
import { DockerSurvey } from './docker/survey.ts';
import { firewallWish, guardedDevices, reportUntil, type WishBasis } from './firewall-wish.ts';

const LOOK_AT_DOCKER_MS = 15_000;
/** The kernel's routes come first. */
const FILTER_AFTER_MS = 1_000;

export interface FirewallingBasis extends WishBasis {
  readonly macs: DeviceMacs;
}

interface FirewallingParts {
  readonly context: AgentContext;
  readonly status: AgentStatus;
  /** Wall clock, ms: when our device was taken over from a flanneld. */
  readonly adoptedAt: number | undefined;
  /** Whether an earlier run knew a store: in another one not all peers may be yet. */
  readonly isStoreKnown: boolean;
  current(): FirewallingBasis;
}

interface Guard {
  readonly device: string;
  readonly family: Family;
  readonly filter: PeerFilter;
}

export class Firewalling {
  readonly #parts: FirewallingParts;
  readonly #firewall: Firewall;
  readonly #survey: DockerSurvey;
  readonly #elements: SetElements;
  readonly #guards: readonly Guard[];
  /** Called when Docker needs something else than before: its options may be others. */
  onDockerNeeds: () => void = () => undefined;
  #needs = dockerWays(NO_ENGINE, 'off');
  /** The first look at Docker: behind the subnet file, which does not need it. */
  #looked: Promise<boolean> | undefined;
  #arePeersKnown = false;

  constructor(parts: FirewallingParts) {
    const { context, status } = parts;
    const { options, clock, log, env } = context;
    const programs = new HostPrograms();
    const admit = (table: string, set: string, ips: readonly Ip[]) => this.#elements.add(table, set, ips);
    const common = { programs, clock, log, resyncSeconds: options.iptablesResync, onChange: rulesetWatch(log) };
    this.#parts = parts;
    this.#elements = new SetElements(log);
    this.#firewall = new Firewall(common);
    const { dockerd, dockerOptsFile: optionsFile } = options;
    this.#survey = new DockerSurvey({ programs, dockerd, optionsFile, path: env['PATH'] ?? '' });
    const { backend, macs } = parts.current();
    this.#guards = guardedDevices(backend, macs).map((guarded) => {
      return { ...guarded, filter: new PeerFilter({ ...common, ...guarded, probe, admit }) };
    });
    // The kernel's devices are guarded by the outer source alone.
    const mode = options.peerFilter === 'strict' ? 'enforce' : options.peerFilter;
    const filterWish = { mode, reportUntil: reportUntil(parts.adoptedAt, clock.now()) };
    for (const { filter } of this.#guards) filter.set(filterWish);
    status.watch(() => this.#firewall.problem(), 'FIREWALL');
    for (const { filter } of this.#guards) status.watch(() => filter.problem(), 'FIREWALL');
    status.filter(this);
  }

  /** What Docker's options file is to have beside the subnet. */
  async dockerFlags(): Promise<readonly string[]> {
    this.#looked ??= this.#lookAtDocker();
    await this.#looked;
    return this.#needs.extraFlags;
  }

  /** The rules as they are to be now; resolves when they stand, or are told as a problem. */
  async first(): Promise<void> {
    await this.dockerFlags();
    this.follow();
    const { backend } = this.#parts.current();
    // One that an earlier run left for the kernel's vxlan knows no new peers, and would keep them from our own socket.
    if (backend.userSpace) await clearPeerFilters(new HostPrograms(), backend.devices);
    await this.#firewall.look();
  }

  /** Config, lease or underlay are others than before. */
  follow(): void {
    const { context, current } = this.#parts;
    this.#firewall.set(firewallWish(current(), context.options, this.#needs));
  }

  /** @param peers all of them, now. @param complete whether what is no peer now may be kept out. */
  update(changes: readonly PeerChange[], complete: boolean, peers: Iterable<StoredLease>): void {
    const areKnownNow = !this.#arePeersKnown && (complete || !this.#parts.isStoreKnown);
    // Whoever is new is let in at once, by what an earlier run has left too; who is gone is kept out once all are known.
    if (areKnownNow) this.#begin([...peers]);
    else this.#change(changes);
  }

  /** What keeps it all so: each runs until its signal is aborted. */
  tasks(): readonly ((signal: AbortSignal) => Promise<never>)[] {
    const filters = this.#guards.map(
      ({ filter }) =>
        (signal: AbortSignal) =>
          this.#runFilter(filter, signal),
    );
    return [(signal) => this.#firewall.run(signal), (signal) => this.#watchDocker(signal), ...filters];
  }

  #begin(peers: readonly StoredLease[]): void {
    this.#arePeersKnown = true;
    for (const { family, filter } of this.#guards) {
      filter.setPeers(peers.flatMap((lease) => filterPeerOf(lease, family) ?? []));
    }
  }

  #change(changes: readonly PeerChange[]): void {
    for (const { family, filter } of this.#guards) {
      filter.update(changes.map(({ key, after }) => [key, after && filterPeerOf(after, family)] as const));
    }
  }

  async #runFilter(filter: PeerFilter, signal: AbortSignal): Promise<never> {
    signal.addEventListener('abort', () => this.#elements.close(), { once: true });
    await this.#parts.context.clock.sleep(FILTER_AFTER_MS, signal);
    return await filter.run(signal);
  }

  /** Looks at the Docker of this host. @returns whether it needs something else than before */
  async #lookAtDocker(): Promise<boolean> {
    const { log, options } = this.#parts.context;
    const before = JSON.stringify(this.#needs);
    const engine = await this.#survey.look(options.dockerRules === 'nftables');
    this.#needs = dockerWays(engine, options.dockerRules);
    if (JSON.stringify(this.#needs) === before) return false;
    for (const note of this.#needs.notes) log.warn('Docker may drop packets of the network', { note });
    this.#parts.status.setProblem('docker', this.#needs.notes.join('; ') || undefined);
    return true;
  }

  async #watchDocker(signal: AbortSignal): Promise<never> {
    const { clock } = this.#parts.context;
    for (;;) {
      await clock.sleep(jittered(clock, LOOK_AT_DOCKER_MS), signal);
      if (!(await this.#lookAtDocker())) continue;
      this.follow();
      this.onDockerNeeds();
    }
  }

  /** As of now, for status and metrics. */
  state() {
    const guards = this.#guards.map(({ device, filter }) => ({ device, state: filter.state() }));
    return { firewall: this.#firewall.state(), guards };
  }
}
