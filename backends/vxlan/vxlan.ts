/**
 * VXLAN: one device per family, point-to-point entries for every peer, nothing learnt and nothing flooded. In user space
 * the device is a tap, the data path knows what would be the fdb, and the routes are plain; the lease is the same.
 *
 *   packet for 10.5.72.9                                                         peer 10.5.72.0/24
 *     route     10.5.72.0/24 → nexthop 10.5.72.0 onlink dev flannel.1            public IP 192.168.77.11
 *     neighbour 10.5.72.0    → c2:88:f0:5b:5f:ac                                 VtepMAC c2:88:f0:5b:5f:ac
 *     fdb       c2:88:f0:5b:5f:ac → 192.168.77.11
 *     outer     192.168.77.10:… → 192.168.77.11:8472, VNI 1
 */
import { type Family, type Ip, ipFromBigInt, type Mac, networkAddress, type Prefix } from '../../config/address.ts';
import { TartanError } from '../../config/errors.ts';
import type { JsonObject } from '../../config/go-json.ts';
import type { Lease, LeaseAttributes, LeaseSubnets } from '../../leases/lease.ts';
import type {
  Backend,
  DeviceMacs,
  DeviceObject,
  OwnPart,
  PeerClaim,
  PeerContext,
  PeerState,
  Underlay,
  Unusable,
  UserSpace,
} from '../backend.ts';
import type { BackendResult, Families } from '../backend-config.ts';
import type { PathPeer } from '../data-path/path-peer.ts';
import type { PathShape } from '../data-path/path-settings.ts';
import { badPublicIp, leasePart, nothingShared, outerSources, subnetOf } from '../lease-part.ts';
import type { Address, KernelObject, Link } from '../state.ts';
import { type TunnelEnd, tunnelEnd } from '../tunnel-end.ts';
import { OVERHEAD_4, OVERHEAD_6, readVxlanConfig, type VxlanConfig } from './vxlan-config.ts';
import { decodeVtepMac, encodeVxlanData } from './vxlan-lease.ts';

const TYPE = 'vxlan';
const FAMILIES: readonly Family[] = [4, 6];

/** One family's side of the overlay on this host. */
interface Side extends TunnelEnd {
  readonly family: Family;
  readonly device: string;
  readonly mtuBytes: number;
}

/** How a peer is reached in one family. */
interface Tunnel {
  readonly side: Side;
  readonly subnet: Prefix;
  readonly publicIp: Ip;
  readonly mac: Mac;
}

/**
 * The backend of type `vxlan`.
 * @param backend The network config's `Backend` object: VNI, Port, MTU, GBP, Learning, DirectRouting, Mode.
 * @param knowsVxlan whether this kernel makes vxlan devices.
 */
export function createVxlan(
  backend: JsonObject,
  families: Families,
  underlay: Underlay,
  knowsVxlan = true,
): BackendResult {
  const { config, problems } = readVxlanConfig(backend, families, underlay, knowsVxlan);
  const all = [...problems];
  const sides: Side[] = [];
  if (families.ipv4) {
    const mtuBytes = config.outerMtuBytes - OVERHEAD_4;
    addSide({ family: 4, device: `flannel.${config.vni}`, mtuBytes }, underlay, sides, all);
  }
  if (families.ipv6) {
    const mtuBytes = config.outerMtuBytes - OVERHEAD_6;
    addSide({ family: 6, device: `flannel-v6.${config.vni}`, mtuBytes }, underlay, sides, all);
  }
  return all.length > 0 ? { ok: false, problems: all } : { ok: true, backend: new Vxlan(config, sides, underlay) };
}

function addSide(
  side: Pick<Side, 'family' | 'device' | 'mtuBytes'>,
  underlay: Underlay,
  sides: Side[],
  problems: string[],
): void {
  const end = tunnelEnd(side.family, underlay);
  if (typeof end === 'string') problems.push(end);
  else sides.push({ ...side, ...end });
}

class Vxlan implements Backend {
  readonly type = TYPE;
  readonly mtuBytes: number;
  readonly devices: readonly string[];
  readonly hasMacs = true;
  readonly directRouting: boolean;
  readonly userSpace: UserSpace | undefined;
  readonly note: string | undefined;
  readonly #config: VxlanConfig;
  readonly #sides: readonly Side[];
  readonly #families: readonly Family[];
  readonly #underlay: Underlay;

  constructor(config: VxlanConfig, sides: readonly Side[], underlay: Underlay) {
    this.#config = config;
    this.directRouting = config.directRouting;
    this.note = config.note;
    this.userSpace = config.inUserSpace
      ? { paths: (own, macs) => this.#paths(own, macs), peer: (lease, device) => this.#pathPeer(lease, device) }
      : undefined;
    this.#sides = sides;
    this.#families = sides.map((side) => side.family);
    this.#underlay = underlay;
    this.devices = sides.map((side) => side.device);
    // One MTU for a container's interface, so that its packets fit whichever family's device they leave by.
    this.mtuBytes = Math.min(...sides.map((side) => side.mtuBytes));
  }

  publishedMac(lease: LeaseAttributes, device: string): Mac | undefined {
    const side = this.#sides.find((candidate) => candidate.device === device);
    if (side === undefined || lease.backendType !== TYPE) return undefined;
    return macIn(lease, side.family);
  }

  advertise(macs: DeviceMacs): Omit<LeaseAttributes, 'owner'> {
    const v4 = this.#sides.find((side) => side.family === 4);
    const v6 = this.#sides.find((side) => side.family === 6);
    const sources = this.#sides.flatMap(({ local, publicIp }) => (local === publicIp ? [] : [local]));
    return {
      publicIp: v4?.publicIp ?? ipFromBigInt(0n, 4),
      publicIp6: v6?.publicIp,
      backendType: TYPE,
      backendData: v4 && encodeVxlanData(this.#config.vni, macOf(v4, macs)),
      backendV6Data: v6 && encodeVxlanData(this.#config.vni, macOf(v6, macs)),
      ...(sources.length > 0 && { sources }),
    };
  }

  device(own: LeaseSubnets | undefined, macs: DeviceMacs): readonly DeviceObject[] {
    return this.#sides.flatMap((side) => {
      const link = this.#link(side, macOf(side, macs));
      const subnet = own && subnetOf(own, side.family);
      return subnet === undefined ? [link] : [link, endpoint(side, subnet)];
    });
  }

  claim(lease: Lease): PeerClaim {
    const read = this.#read(lease);
    if (!('tunnels' in read)) return read;
    const identities: string[] = [];
    for (const side of this.#sides) {
      // Also what it says for a family that it has no subnet of.
      const mac = read.tunnels.find((tunnel) => tunnel.side === side)?.mac ?? macIn(lease, side.family);
      const identity = mac && `MAC ${mac}`;
      if (identity !== undefined && !identities.includes(identity)) identities.push(identity);
    }
    return { identities };
  }

  peer(lease: Lease, context: PeerContext): PeerState {
    const read = this.#read(lease);
    if (!('tunnels' in read)) return read;
    const objects: KernelObject[] = [];
    for (const tunnel of read.tunnels) this.#reach(tunnel, context, objects);
    return { objects };
  }

  /** A peer is taken or refused whole: one bad family refuses it, as half a peer would be hard to notice. */
  #read(lease: Lease): { readonly tunnels: readonly Tunnel[] } | Unusable {
    if (lease.backendType !== TYPE) return { foreign: `backend type is "${lease.backendType}", not "${TYPE}"` };
    const tunnels: Tunnel[] = [];
    for (const side of this.#sides) {
      const subnet = subnetOf(lease, side.family);
      if (subnet === undefined) continue;
      const part = leasePart(lease, side.family);
      const decoded = decodeVtepMac(part);
      if (!decoded.ok) return { refused: decoded.reason };
      const fault = badPublicIp(part);
      if (fault !== undefined || part.publicIp === undefined) return { refused: fault ?? 'no public IP' };
      tunnels.push({ side, subnet, publicIp: part.publicIp, mac: decoded.mac });
    }
    return tunnels.length > 0 ? { tunnels } : { foreign: nothingShared(this.#families) };
  }

  #link(side: Side, mac: Mac): Link {
    const { vni, port, learning, gbp, inUserSpace } = this.#config;
    const device = { kind: 'link', name: side.device, mac, mtuBytes: side.mtuBytes, up: true } as const;
    if (inUserSpace) return { ...device, vxlan: undefined };
    const vxlan = { vni, port, local: side.local, lower: this.#underlay.dev, learning, gbp };
    return { ...device, vxlan };
  }

  #paths(own: OwnPart, macs: DeviceMacs): readonly PathShape[] {
    const { vni, port } = this.#config;
    // A frame may hold either family, whichever device's it is: a source of the other one is no peer's here.
    const inside = { own: FAMILIES.flatMap((family) => subnetOf(own, family) ?? []), networks: own.networks };
    return this.#sides.map((side) => {
      const { device, local, mtuBytes } = side;
      const encapsulation = { kind: 'vxlan', vni, mac: macOf(side, macs) } as const;
      return { device, encapsulation, local, port, mtuBytes, ...inside };
    });
  }

  #pathPeer(lease: Lease, device: string): PathPeer | undefined {
    const read = this.#read(lease);
    const tunnel = 'tunnels' in read ? read.tunnels.find(({ side }) => side.device === device) : undefined;
    if (tunnel === undefined) return undefined;
    const { publicIp: endpoint, subnet, mac } = tunnel;
    return { endpoint, sources: outerSources(lease, endpoint), subnets: [subnet], mac };
  }

  #reach({ side, subnet, publicIp, mac }: Tunnel, context: PeerContext, objects: KernelObject[]): void {
    if (this.#config.directRouting && context.isOnLink(publicIp)) {
      const { dev } = this.#underlay;
      objects.push({ kind: 'route', dst: subnet, dev, gateway: publicIp, onlink: false, nexthopId: undefined });
      return;
    }
    const dev = side.device;
    const gateway = networkAddress(subnet);
    const { inUserSpace } = this.#config;
    // The kernel flushes them, and the routes on them, when nobody holds the tap: packets would leave by the default route.
    const nexthopId = inUserSpace ? undefined : context.nexthopId?.(gateway, dev);
    objects.push({ kind: 'neighbour', dev, ip: gateway, mac });
    if (!inUserSpace) objects.push({ kind: 'fdb', dev, mac, dst: publicIp });
    if (nexthopId !== undefined) objects.push({ kind: 'nexthop', id: nexthopId, dev, gateway, onlink: true });
    objects.push({ kind: 'route', dst: subnet, dev, gateway, onlink: true, nexthopId });
  }
}

/** The subnet's first address, alone: what peers route via and this host answers from. */
function endpoint(side: Side, subnet: Prefix): Address {
  return { kind: 'address', dev: side.device, ip: networkAddress(subnet), length: side.family === 4 ? 32 : 128 };
}

/** What the lease says, where it makes sense. */
function macIn(lease: LeaseAttributes, family: Family): Mac | undefined {
  const decoded = decodeVtepMac(leasePart(lease, family));
  return decoded.ok ? decoded.mac : undefined;
}

function macOf(side: Side, macs: DeviceMacs): Mac {
  const mac = macs.get(side.device);
  if (mac === undefined) throw new TartanError('INTERNAL', `no MAC was chosen for ${side.device}`);
  return mac;
}
