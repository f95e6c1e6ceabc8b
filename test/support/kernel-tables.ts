/** What a host's kernel holds of its peers, read by iproute2: an opinion that is independent of any agent's code. */
import type { Place } from './namespace.ts';

export interface RouteRow {
  /** `10.5.17.0/24` */
  readonly dst: string;
  readonly gateway?: string;
  readonly dev?: string;
  /** As a number: 3 is flannel's (boot), 84 tartan's. */
  readonly protocol: string;
  readonly nhid?: number;
  readonly flags: readonly string[];
}

export interface NeighbourRow {
  readonly dst: string;
  readonly lladdr?: string;
  readonly state: readonly string[];
}

export interface FdbRow {
  readonly mac: string;
  readonly dst?: string;
  readonly state: string;
}

export interface NexthopRow {
  readonly id: number;
  readonly gateway?: string;
  readonly dev?: string;
  readonly protocol: string;
}

/** All that a host may have of one peer. */
export interface PeerTraces {
  readonly routes: readonly RouteRow[];
  readonly neighbours: readonly NeighbourRow[];
  readonly fdb: readonly FdbRow[];
}

/** A peer as its traces name it. */
export interface PeerNames {
  /** The leased subnet: `10.5.17.0/24`, `fd00:5:0:12::/64`. */
  readonly network: string;
  /** Its address on the wire. */
  readonly publicIp: string;
}

/** Rows of a command that prints JSON; none where it fails, as it does for a device that is not there. */
export async function rows<T>(host: Place, command: string, args: readonly string[]): Promise<readonly T[]> {
  const { status, stdout } = await host.exec(command, args);
  return status === 0 && stdout.trim() !== '' ? JSON.parse(stdout) : [];
}

/** Main table, both families. */
export async function routesOf(host: Place): Promise<readonly RouteRow[]> {
  const [four, six] = await Promise.all([
    rows<RouteRow>(host, 'ip', ['-4', '-j', '-N', '-d', 'route']),
    rows<RouteRow>(host, 'ip', ['-6', '-j', '-N', '-d', 'route']),
  ]);
  return [...four, ...six];
}

export function nexthopsOf(host: Place): Promise<readonly NexthopRow[]> {
  return rows(host, 'ip', ['-j', '-N', 'nexthop']);
}

/** @param device of the family that the peer's network belongs to; one that is not there has no entries */
export async function tracesOf(host: Place, peer: PeerNames, device: string): Promise<PeerTraces> {
  const base = peer.network.replace(/\/.*/, '');
  const [routes, neighbours, fdb] = await Promise.all([
    routesOf(host),
    rows<NeighbourRow>(host, 'ip', ['-j', 'neigh', 'show', 'dev', device]),
    rows<FdbRow>(host, 'bridge', ['-j', 'fdb', 'show', 'dev', device]),
  ]);
  return {
    routes: routes.filter((row) => row.dst === peer.network),
    neighbours: neighbours.filter((row) => row.dst === base),
    fdb: fdb.filter((row) => row.dst === peer.publicIp),
  };
}

/** A device as `ip -d` shows it. */
export interface DeviceRow {
  readonly ifindex: number;
  readonly address: string;
  readonly mtu: number;
  readonly linkinfo?: { readonly info_kind?: string; readonly info_data?: Readonly<Record<string, unknown>> };
}

export async function deviceOf(host: Place, device: string): Promise<DeviceRow | undefined> {
  const [row] = await rows<DeviceRow>(host, 'ip', ['-j', '-d', 'link', 'show', 'dev', device]);
  return row;
}
