/** Gathers what the agent's parts know into one Status, read at the moment it is asked for. */
import type { Reconciler } from '../backends/reconciler.ts';
import type { Clock } from '../config/clock.ts';
import { Durations } from '../config/durations.ts';
import type { ErrorCode } from '../config/errors.ts';
import type { NetworkConfig } from '../config/network-config.ts';
import type { Options } from '../config/options.ts';
import { coverage } from '../leases/coverage.ts';
import type { Holder } from '../leases/holder.ts';
import type { LeaseOwner } from '../leases/lease.ts';
import type { Cluster } from './cluster.ts';
import type { DataPaths } from './data-paths.ts';
import type { Firewalling } from './firewalling.ts';
import type { Joined } from './joining.ts';
import type { Counters, Timings } from './metrics.ts';
import type { PathProbes } from './path-probes.ts';
import type { Status } from './status.ts';
import {
  dataPathOf,
  filterOf,
  firewallOf,
  iso,
  leaseOf,
  pathFilterOf,
  peerOf,
  probeOf,
  rangesOf,
  underlayOf,
} from './status-values.ts';
import type { Systemd } from './systemd.ts';

/** Refused leases and missing objects that one status lists at most; the counts are whole. */
const LISTED = 1_000;

interface StatusSources {
  readonly options: Options;
  readonly version: string;
  readonly clock: Clock;
  readonly owner: LeaseOwner;
  readonly cluster: Cluster;
  /** Told one line whenever what is said here changes. */
  readonly systemd: Systemd;
}

const NONE = new Durations();
const EXPIRED = 'the lease has run out and could not be renewed';

function withCode(text: string, code: ErrorCode | undefined): string {
  return code === undefined ? text : `${text} [${code}]`;
}

export class AgentStatus {
  readonly #sources: StatusSources;
  readonly #startedAt: number;
  readonly #problems = new Map<string, string>();
  readonly #looks: { readonly look: () => string | undefined; readonly code: ErrorCode | undefined }[] = [];
  #phase = 'starting';
  #ready = false;
  #joined: Joined | undefined;
  #config: NetworkConfig | undefined;
  #holder: Holder | undefined;
  #reconciler: Reconciler | undefined;
  #firewalling: Pick<Firewalling, 'state'> | undefined;
  #dataPaths: Pick<DataPaths, 'state'> | undefined;
  #pathProbes: Pick<PathProbes, 'state'> | undefined;

  constructor(sources: StatusSources) {
    this.#sources = sources;
    this.#startedAt = sources.clock.now();
  }

  setPhase(phase: string, problem?: string, code?: ErrorCode): void {
    this.#phase = phase;
    this.setProblem('phase', problem, code);
  }

  /**
   * @param text for the operator, with what to do about it; undefined: mended.
   * @param code where the runbook knows it by one.
   */
  setProblem(about: string, text: string | undefined, code?: ErrorCode): void {
    if (text === undefined) this.#problems.delete(about);
    else this.#problems.set(about, withCode(text, code));
    this.announce();
  }

  /** Tells systemd what has changed, if anything has. */
  announce(): void {
    this.#sources.systemd.status(this.#summary());
  }

  /** Something that may mend without our doing: looked at whenever problems are read. `code` as in `setProblem`. */
  watch(look: () => string | undefined, code?: ErrorCode): void {
    this.#looks.push({ look, code });
  }

  join(joined: Joined): void {
    this.#joined = joined;
    this.#config = joined.config;
    this.setPhase('programming the device');
  }

  /** The host changed under what was joined. */
  follow(joined: Joined): void {
    this.#joined = joined;
    this.announce();
  }

  setConfig(config: NetworkConfig): void {
    this.#config = config;
  }

  hold(holder: Holder): void {
    this.#holder = holder;
  }

  filter(firewalling: Pick<Firewalling, 'state'>): void {
    this.#firewalling = firewalling;
  }

  carry(dataPaths: Pick<DataPaths, 'state'>): void {
    this.#dataPaths = dataPaths;
  }

  probe(pathProbes: Pick<PathProbes, 'state'>): void {
    this.#pathProbes = pathProbes;
  }

  reconcile(reconciler: Reconciler): void {
    this.#reconciler = reconciler;
  }

  setReady(): void {
    this.#ready = true;
    this.setPhase('holding the lease');
    this.#sources.systemd.ready();
  }

  /** Why the agent is not ready, undefined where it is: what /readyz says. */
  notReady(): string | undefined {
    if (!this.#ready) return [this.#phase, this.#problems.get('phase')].filter(Boolean).join(': ');
    const left = (this.#holder?.held.expiresAt ?? 0) - this.#sources.clock.now();
    return left > 0 ? undefined : EXPIRED;
  }

  read(): Status {
    const { options, version, owner, cluster } = this.#sources;
    const { state, directory } = cluster;
    const step = this.#reconciler?.step();
    const joined = this.#joined;
    const problem = this.notReady();
    return {
      ...{ version, pid: process.pid, node: owner.node, name: owner.name, startedAt: iso(this.#startedAt) },
      ...{ ready: problem === undefined, phase: this.#ready && problem ? problem : this.#phase },
      ...this.#memory(),
      problems: this.#allProblems(),
      etcd: {
        ...{ endpoints: options.etcdEndpoints, prefix: options.etcdPrefix, connected: state.connected },
        since: iso(state.since),
        ...(state.connected || !state.reason ? {} : { reason: state.reason }),
      },
      ...(this.#config && { network: { ranges: rangesOf(this.#config), backend: this.#config.backendType } }),
      ...(this.#holder && { lease: leaseOf(this.#holder, this.#sources.clock.now()) }),
      ...(joined && { underlay: underlayOf(joined.underlay), mtu: joined.backend.mtuBytes }),
      devices: (this.#reconciler?.devices() ?? []).map(({ name, found }) => ({
        name,
        ...(found?.mac !== undefined && { mac: found.mac }),
        ...(found && { mtu: found.mtuBytes }),
      })),
      ...this.#filters(),
      ...(joined?.backend.note && { note: joined.backend.note }),
      inStep: step?.inStep ?? false,
      ...(step?.since === undefined ? {} : { inStepSince: iso(step.since) }),
      missing: (step?.missing ?? []).slice(0, LISTED).map((one) => ({ ...one, since: iso(one.since) })),
      missingCount: step?.missing.length ?? 0,
      ...(joined ? this.#peers() : { peers: [] }),
      refused: this.#refused(),
      refusedCount: joined ? directory.refusedCount : 0,
    };
  }

  /** One line. */
  #summary(): string {
    const joined = this.#ready ? this.#joined : undefined;
    const head =
      joined && `lease ${coverage(joined.held).join(', ')}, backend ${joined.backend.type} on ${joined.underlay.dev}`;
    return [head ?? this.#phase, ...this.#allProblems()].join('; ');
  }

  #allProblems(): string[] {
    const looks = this.#looks.flatMap(({ look, code }) => {
      const text = look();
      return text === undefined ? [] : [withCode(text, code)];
    });
    return [...this.#told(), ...looks, ...this.#leaseProblems()];
  }

  #leaseProblems(): string[] {
    if (!this.#holder) return [];
    const { held, failing, refusedBy } = this.#holder;
    const expired = held.expiresAt <= this.#sources.clock.now() ? [`${EXPIRED}: another host may take the subnet`] : [];
    const trouble = failing ? [`renewals of the lease have failed since ${iso(failing.since)}: ${failing.error}`] : [];
    const other = refusedBy && `another live host (${refusedBy.name}, node ${refusedBy.node}) has our public IP`;
    const refused = other ? [withCode(`${other}: the lease keeps the old one`, 'ADDRESS_IN_USE')] : [];
    return [...expired, ...trouble, ...refused];
  }

  /** An etcd that is away is one, unless that is what is waited for anyway. */
  #told(): string[] {
    const { connected, reason, error } = this.#sources.cluster.state;
    const told = [...this.#problems.values(), ...this.#fromMemory()];
    if (connected || reason === '' || told.some((one) => one.includes(reason))) return told;
    const text = `etcd is away, the network stays as it is: ${reason}`;
    return [...told, withCode(text, error?.code ?? 'ETCD_UNAVAILABLE')];
  }

  /** Since when we run from memory, until etcd has given the leases and confirmed ours. */
  #memory(): Pick<Status, 'fromMemory'> {
    const since = this.#joined?.fromMemorySince;
    const { recalledOf } = this.#sources.cluster;
    if (since === undefined || (this.#holder?.isConfirmed && recalledOf === undefined)) return {};
    return { fromMemory: { since: iso(since), ...(recalledOf !== undefined && { leasesOf: iso(recalledOf) }) } };
  }

  #fromMemory(): string[] {
    const { fromMemory } = this.#memory();
    if (!fromMemory) return [];
    const { reason, error } = this.#sources.cluster.state;
    const { since, leasesOf } = fromMemory;
    const what = `running from memory since ${since}${leasesOf ? `, by the leases of ${leasesOf}` : ''}`;
    const why = reason === '' ? 'etcd has not confirmed our lease' : `etcd is away: ${reason}`;
    return [withCode(`${what}; ${why}`, error?.code ?? 'ETCD_UNAVAILABLE')];
  }

  counters(): Counters {
    const done = this.#reconciler?.counters;
    const { firewall, guards = [] } = this.#firewalling?.state() ?? {};
    const filters = [
      ...guards.map(({ state }) => state.packets),
      ...(this.#dataPaths?.state() ?? []).map(({ filter }) => filter),
    ];
    const packets = (kind: 'dropped' | 'reported'): number => filters.reduce((sum, one) => sum + one[kind], 0);
    return {
      leaseEvents: this.#sources.cluster.events,
      kernelOperations: done?.operations ?? 0,
      kernelRefusals: done?.refusals ?? 0,
      repairs: done?.repairs ?? 0,
      claimTransactions: this.#joined?.transactions ?? 0,
      firewallRepairs: (firewall?.repairs ?? 0) + guards.reduce((sum, { state }) => sum + state.repairs, 0),
      packetsDropped: packets('dropped'),
      packetsReported: packets('reported'),
    };
  }

  timings(): Timings {
    const { listing } = this.#sources.cluster;
    const { plan, apply, change } = this.#reconciler?.timings ?? { plan: NONE, apply: NONE, change: NONE };
    const probed = this.#pathProbes?.state() ?? [];
    const roundTrip = Durations.sum(probed.map(({ state }) => state.roundTrips));
    return { list: listing, plan, apply, change, roundTrip };
  }

  #filters(): Pick<Status, 'firewall' | 'peerFilters' | 'dataPaths'> {
    const state = this.#firewalling?.state();
    const paths = this.#dataPaths?.state() ?? [];
    const guarded = (state?.guards ?? []).map(({ device, state: one }) =>
      filterOf(device, this.#sources.options.peerFilter, one),
    );
    const peerFilters = [...guarded, ...paths.map(pathFilterOf)];
    return {
      ...(state && { firewall: firewallOf(state.firewall) }),
      ...(peerFilters.length > 0 && { peerFilters }),
      ...(paths.length > 0 && { dataPaths: paths.map(({ path }) => dataPathOf(path)) }),
    };
  }

  #peers(): Pick<Status, 'peers' | 'probes'> {
    const probed = this.#pathProbes?.state() ?? [];
    const peers = Array.from(this.#sources.cluster.directory.peers.values(), (lease) => peerOf(lease, probed));
    return { peers, ...(probed.length > 0 && { probes: probed.map(probeOf) }) };
  }

  #refused(): Status['refused'] {
    if (!this.#joined) return [];
    const listed = [...this.#sources.cluster.directory.refused].slice(0, LISTED);
    return listed.map(([key, { reason }]) => ({ key, reason }));
  }
}
