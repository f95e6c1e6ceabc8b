/**
 * The devices whose packets this process wraps and sends: a data path for each. None where the kernel does it.
 *
 *   lease, config, underlay ──► settings ──► DataPath ◄── peers
 */
import type { Backend, DeviceMacs, OwnPart } from '../backends/backend.ts';
import { DataPath, type PathState } from '../backends/data-path/data-path.ts';
import type { PathPeer } from '../backends/data-path/path-peer.ts';
import type { PeerChange } from '../leases/directory.ts';
import type { StoredLease } from '../leases/lease.ts';
import type { AgentContext } from './agent-context.ts';
import type { AgentStatus } from './agent-status.ts';
import { reportUntil } from './firewall-wish.ts';

export interface DataPathsBasis {
  readonly backend: Backend;
  readonly own: OwnPart;
  readonly macs: DeviceMacs;
}

interface DataPathsParts {
  readonly context: AgentContext;
  readonly status: AgentStatus;
  /** Wall clock, ms: when our device or lease was taken over from a flanneld. */
  readonly adoptedAt: number | undefined;
  current(): DataPathsBasis;
}

export class DataPaths {
  readonly #parts: DataPathsParts;
  readonly #paths: ReadonlyMap<string, DataPath>;
  /** Wall clock, ms: until then strangers are only reported. */
  readonly #reportUntil: number | undefined;

  constructor(parts: DataPathsParts) {
    const { options, clock, log } = parts.context;
    this.#parts = parts;
    this.#reportUntil = reportUntil(parts.adoptedAt, clock.now());
    const without = new Set(options.dataPathWithout);
    const { backend } = parts.current();
    const devices = backend.userSpace ? backend.devices : [];
    this.#paths = new Map(devices.map((device) => [device, new DataPath({ clock, log, without })]));
    for (const path of this.#paths.values()) parts.status.watch(() => path.problem(), 'KERNEL');
  }

  /** Lease, config or underlay are others than before. */
  follow(peers: Iterable<StoredLease>): void {
    const { backend, own, macs } = this.#parts.current();
    const { userSpace } = backend;
    if (!userSpace) return;
    const leases = [...peers];
    for (const settings of userSpace.paths(own, macs)) {
      const path = this.#paths.get(settings.device);
      path?.configure({ ...settings, filter: this.#filter() });
      path?.setPeers(new Map(leases.flatMap((lease) => {
        const peer = userSpace.peer(lease, settings.device);
        return peer ? [[lease.key, peer] as const] : [];
      })));
    }
  }

  update(changes: readonly PeerChange[]): void {
    const { userSpace } = this.#parts.current().backend;
    for (const [device, path] of this.#paths) {
      path.update(changes.map(({ key, after }) => [key, after && userSpace?.peer(after, device)] as const));
    }
  }
}
