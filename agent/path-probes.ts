/** The probes of the paths to the peers: one for each VXLAN device, whoever wraps its packets. */
import type { Backend } from '../backends/backend.ts';
import { leasePart, subnetOf } from '../backends/lease-part.ts';
import type { PathProbePeer, PathProbeSettings } from '../backends/vxlan/path-probe.ts';
import { MOST_PER_SECOND, PathProbe, type PathProbeState } from '../backends/vxlan/path-probe.ts';
import { familyOf, networkAddress } from '../config/address.ts';
import type { PeerChange } from '../leases/directory.ts';
import type { StoredLease } from '../leases/lease.ts';
import type { AgentContext } from './agent-context.ts';
import type { AgentStatus } from './agent-status.ts';
import type { DataPaths, PathBasis } from './data-paths.ts';

interface PathProbesParts {
  readonly context: AgentContext;
  readonly status: Pick<AgentStatus, 'probe'>;
  readonly dataPaths: Pick<DataPaths, 'sender'>;
  current(): PathBasis;
  /** All of them, now. */
  peers(): Iterable<StoredLease>;
}

export interface ProbedDevice {
  readonly device: string;
  readonly state: PathProbeState;
}

/** What is to be known of our VXLAN devices; none where peers may be reached past them (DirectRouting). */
export function probedDevices({ backend, own, macs }: PathBasis): readonly PathProbeSettings[] {
  if (backend.directRouting) return [];
  const ends = [...kernelEnds({ backend, own, macs }), ...userEnds({ backend, own, macs })];
  return ends.flatMap((end) => {
    const subnet = subnetOf(own, familyOf(end.local));
    return subnet === undefined ? [] : [{ ...end, address: networkAddress(subnet) }];
  });
}

type End = Omit<PathProbeSettings, 'address'>;

function kernelEnds({ backend, own, macs }: PathBasis): readonly End[] {
  return backend.device(own, macs).flatMap((object) => {
    if (object.kind !== 'link' || object.vxlan === undefined) return [];
    const { name: device, mac, mtuBytes, vxlan } = object;
    const { vni, port, local } = vxlan;
    return [{ device, mac, mtuBytes, vni, port, local }];
  });
}

function userEnds({ backend, own, macs }: PathBasis): readonly End[] {
  return (backend.userSpace?.paths(own, macs) ?? []).flatMap(({ device, encapsulation, local, port, mtuBytes }) => {
    if (encapsulation.kind !== 'vxlan') return [];
    const { vni, mac } = encapsulation;
    return [{ device, mac, mtuBytes, vni, port, local }];
  });
}

/** Where a peer is asked by that device; undefined: it is not reached by it. */
function targetOf(
  lease: StoredLease,
  backend: Backend,
  { device, local }: PathProbeSettings,
): PathProbePeer | undefined {
  const family = familyOf(local);
  const mac = backend.publishedMac(lease, device);
  const subnet = subnetOf(lease, family);
  const { publicIp: endpoint } = leasePart(lease, family);
  if (mac === undefined || subnet === undefined || endpoint === undefined) return undefined;
  return { endpoint, mac, address: networkAddress(subnet) };
}

interface Probing {
  readonly probe: PathProbe;
  settings: PathProbeSettings;
}

export class PathProbes {
  readonly #parts: PathProbesParts;
  readonly #probings: readonly Probing[];

  constructor(parts: PathProbesParts) {
    const { options, clock, log } = parts.context;
    const intervalSeconds = options.pathProbe;
    const probed = intervalSeconds === 0 ? [] : probedDevices(parts.current());
    this.#parts = parts;
    const packetsPerSecond = Math.floor(MOST_PER_SECOND / probed.length);
    this.#probings = probed.map((settings) => {
      const send = parts.dataPaths.sender(settings.device);
      const rate = { intervalSeconds, packetsPerSecond };
      return { settings, probe: new PathProbe({ settings, clock, log, ...rate, ...(send && { send }) }) };
    });
    parts.status.probe(this);
  }

  /** Lease, config or underlay are others than before; peers with them. */
  follow(): void {
    const { backend } = this.#parts.current();
    const now = new Map(probedDevices(this.#parts.current()).map((settings) => [settings.device, settings]));
    const leases = [...this.#parts.peers()];
    for (const probing of this.#probings) {
      probing.settings = now.get(probing.settings.device) ?? probing.settings;
      probing.probe.configure(probing.settings);
      const targets = leases.map((lease) => [lease.key, targetOf(lease, backend, probing.settings)] as const);
      probing.probe.setPeers(new Map(targets.flatMap(([key, target]) => (target ? [[key, target] as const] : []))));
    }
  }

  update(changes: readonly PeerChange[]): void {
    const { backend } = this.#parts.current();
    for (const { probe, settings } of this.#probings) {
      probe.update(changes.map(({ key, after }) => [key, after && targetOf(after, backend, settings)] as const));
    }
  }

  /** Each runs until its signal is aborted. */
  tasks(): readonly ((signal: AbortSignal) => Promise<never>)[] {
    return this.#probings.map(
      ({ probe }) =>
        (signal: AbortSignal) =>
          probe.run(signal),
    );
  }

  /** As of now, for status and metrics. */
  state(): readonly ProbedDevice[] {
    return this.#probings.map(({ probe, settings }) => ({ device: settings.device, state: probe.state() }));
  }
}
