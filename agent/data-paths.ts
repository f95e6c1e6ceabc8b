/**
 * The devices whose packets this process itself wraps and sends: a data path for each. None where the kernel does it.
 *
 *   lease, config, underlay ──► settings ──► DataPath ◄── peers
 */
import type { Backend, DeviceMacs, OwnPart } from '../backends/backend.ts';
import { COUNTERS } from '../backends/data-path/counters.ts';
import { DataPath, type PathState } from '../backends/data-path/data-path.ts';
import type { PathPeer } from '../backends/data-path/path-peer.ts';
import type { PathSettings } from '../backends/data-path/path-settings.ts';
import type { Ip } from '../config/address.ts';
import type { Options } from '../config/options.ts';
import type { PeerChange } from '../leases/directory.ts';
import type { StoredLease } from '../leases/lease.ts';
import type { AgentContext } from './agent-context.ts';
import type { AgentStatus } from './agent-status.ts';
import { reportUntil } from './firewall-wish.ts';

export interface PathBasis {
  readonly backend: Backend;
  readonly own: OwnPart;
  readonly macs: DeviceMacs;
}

interface DataPathsParts {
  readonly context: AgentContext;
  readonly status: Pick<AgentStatus, 'watch' | 'carry'>;
  /** Wall clock, ms: when our device or our lease was taken over from a flanneld. */
  readonly adoptedAt: number | undefined;
  current(): PathBasis;
  /** All of them, now. */
  peers(): Iterable<StoredLease>;
  readonly make?: (parts: ConstructorParameters<typeof DataPath>[0]) => Carrier;
}

type Carrier = Pick<DataPath, 'configure' | 'setPeers' | 'update' | 'run' | 'state' | 'problem' | 'send'>;

export interface DataPathState {
  readonly path: PathState;
  readonly filter: {
    readonly mode: Options['peerFilter'];
    readonly effective: PathSettings['filter'];
    /** Wall clock, ms: until then strangers are only reported; undefined: the mode is in force. */
    readonly reportUntil: number | undefined;
    /** Packets. */
    readonly dropped: number;
    readonly reported: number;
  };
}

export class DataPaths {
  readonly #parts: DataPathsParts;
  readonly #paths: ReadonlyMap<string, Carrier>;
  /** How long from the start on strangers are only reported, and until when that is by the wall clock. */
  readonly #reportMs: number;
  #reportUntil: number | undefined;
  #arePeersKnown = false;
  /** What of each path's strangers was only reported, once they are dropped. */
  readonly #reported = new Map<string, number>();

  constructor(parts: DataPathsParts) {
    const { options, clock, log } = parts.context;
    this.#parts = parts;
    const drops = options.peerFilter === 'enforce' || options.peerFilter === 'strict';
    const until = drops ? reportUntil(parts.adoptedAt, clock.now()) : undefined;
    this.#reportMs = Math.max(0, (until ?? 0) - clock.now());
    this.#reportUntil = this.#reportMs > 0 ? until : undefined;
    const { backend } = parts.current();
    const without = new Set(options.dataPathWithout);
    const devices = backend.userSpace ? backend.devices : [];
    const make = parts.make ?? ((given) => new DataPath(given));
    this.#paths = new Map(devices.map((device) => [device, make({ clock, log, without })]));
    for (const path of this.#paths.values()) parts.status.watch(() => path.problem(), 'KERNEL');
    parts.status.carry(this);
  }

  /** Whether packets can cross, whatever else there is to be told. */
  areUp(): boolean {
    return [...this.#paths.values()].every((path) => path.state().isUp);
  }

  /** Lease, config or underlay are others than before; peers with them. */
  follow(): void {
    const { backend, own, macs } = this.#parts.current();
    for (const settings of backend.userSpace?.paths(own, macs) ?? []) {
      this.#paths.get(settings.device)?.configure({ ...settings, filter: this.#filter() });
    }
    if (this.#arePeersKnown) this.#setPeers();
  }

  #setPeers(): void {
    const leases = [...this.#parts.peers()];
    for (const [device, path] of this.#paths) {
      path.setPeers(new Map(leases.flatMap((lease) => this.#peer(lease, device))));
    }
  }

  /** The first call tells that all peers are known that there are, by etcd or by memory: from then on packets move. */
  update(changes: readonly PeerChange[]): void {
    if (!this.#arePeersKnown) {
      this.#arePeersKnown = true;
      this.#setPeers();
      return;
    }
    const { userSpace } = this.#parts.current().backend;
    for (const [device, path] of this.#paths) {
      path.update(changes.map(({ key, after }) => [key, after && userSpace?.peer(after, device)] as const));
    }
  }

  /** By the socket of that device's path, see DataPath.send; undefined: the kernel has it. */
  sender(device: string): ((datagram: Buffer, endpoint: Ip) => string | undefined) | undefined {
    const path = this.#paths.get(device);
    return path && ((datagram, endpoint) => path.send(datagram, endpoint));
  }

  /** What keeps packets crossing: each runs until its signal is aborted. */
  tasks(): readonly ((signal: AbortSignal) => Promise<unknown>)[] {
    const runs = Array.from(this.#paths.values(), (path) => (signal: AbortSignal) => path.run(signal));
    return runs.length === 0 ? [] : [...runs, (signal) => this.#enforce(signal)];
  }

  /** Strangers are dropped once the time of mere reporting is over. */
  async #enforce(signal: AbortSignal): Promise<void> {
    const { clock } = this.#parts.context;
    if (this.#reportUntil === undefined) return;
    await clock.sleep(this.#reportMs, signal);
    this.#reportUntil = undefined;
    for (const [device, path] of this.#paths) this.#reported.set(device, filtered(path.state()));
    this.follow();
  }

  #peer(lease: StoredLease, device: string): (readonly [string, PathPeer])[] {
    const peer = this.#parts.current().backend.userSpace?.peer(lease, device);
    return peer ? [[lease.key, peer]] : [];
  }

  #filter(): PathSettings['filter'] {
    return this.#reportUntil === undefined ? this.#parts.context.options.peerFilter : 'report';
  }

  /** As of now, for status and metrics. */
  state(): readonly DataPathState[] {
    return Array.from(this.#paths, ([device, path]) => this.#stateOf(device, path.state()));
  }

  #stateOf(device: string, path: PathState): DataPathState {
    const effective = this.#filter();
    const reported = effective === 'report' ? filtered(path) : (this.#reported.get(device) ?? 0);
    const mode = this.#parts.context.options.peerFilter;
    const dropped = filtered(path) - reported;
    return { path, filter: { mode, effective, reportUntil: this.#reportUntil, reported, dropped } };
  }
}

/** Packets that the filter was about, whatever it did with them. */
function filtered({ counters }: PathState): number {
  return COUNTERS.reduce((sum, { name, kind }) => sum + (kind === 'filter' ? (counters[name] ?? 0) : 0), 0);
}
