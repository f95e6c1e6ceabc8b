/**
 * udp: the bare IPv4 packet in a datagram, from one tun device for the whole network. Which peer a packet goes to is the
 * data path's business; the kernel knows one route.
 *
 *   packet for 10.5.72.9                                                         peer 10.5.72.0/24
 *     route   10.5.0.0/16 dev flannel0                                             public IP 192.168.77.11
 *     outer   192.168.77.10:8285 → 192.168.77.11:8285
 *
 * The lease has no type, so that vxlan and host-gw nodes ignore it. flannel's udp takes every lease for a peer, ours only
 * those without a type: a vxlan node would not answer.
 */
import { familyOf, type Mac, networkAddress, type Prefix } from '../../config/address.ts';
import type { JsonObject } from '../../config/go-json.ts';
import { NO_IPV4 } from '../../leases/coverage.ts';
import type { Lease, LeaseAttributes } from '../../leases/lease.ts';
import type {
  Backend,
  DeviceMacs,
  DeviceObject,
  OwnPart,
  PeerClaim,
  PeerState,
  Underlay,
  UserSpace,
} from '../backend.ts';
import { BackendFields, type BackendResult, type Families } from '../backend-config.ts';
import type { PathPeer } from '../data-path/path-peer.ts';
import type { PathShape } from '../data-path/path-settings.ts';
import { badPublicIp, leasePart, nothingShared, outerSources, subnetOf } from '../lease-part.ts';
import { type KernelObject, type Link, type Route, YIELDING_METRIC } from '../state.ts';
import { type TunnelEnd, tunnelEnd } from '../tunnel-end.ts';

const TYPE = 'udp';
/** As flannel's, which takes the first free number. */
const DEVICE = 'flannel0';
const DEFAULT_PORT = 8285;
/** IPv4 20 + UDP 8. */
const OVERHEAD = 28;
/** Below it the kernel takes IPv4 off a device (IPV4_MIN_MTU). */
const SMALLEST_MTU = 68;
const IPV4_ONLY = 'the udp backend carries IPv4 only: no IPv6 packet of the network reaches a peer';

interface UdpConfig {
  readonly port: number;
  readonly mtuBytes: number;
  readonly note: string | undefined;
}

/**
 * The backend of type `udp`.
 * @param backend The network config's `Backend` object: Port. flannel has no MTU here, and there is none.
 */
export function createUdp(backend: JsonObject, families: Families, underlay: Underlay): BackendResult {
  const fields = new BackendFields(backend);
  const port = fields.integer('Port', DEFAULT_PORT, 1, 65535);
  const problems = [...fields.problems];
  if (!families.ipv4) problems.push('the udp backend carries IPv4 only, and the network has no IPv4');
  const end = tunnelEnd(4, underlay);
  if (families.ipv4 && typeof end === 'string') problems.push(end);
  const mtuBytes = underlay.mtuBytes - OVERHEAD;
  if (mtuBytes < SMALLEST_MTU) {
    const least = SMALLEST_MTU + OVERHEAD;
    problems.push(`the MTU of ${underlay.dev} is ${underlay.mtuBytes}, udp needs at least ${least} here`);
  }
  if (typeof end === 'string' || problems.length > 0) return { ok: false, problems };
  const note = families.ipv6 ? IPV4_ONLY : undefined;
  return { ok: true, backend: new Udp({ port, mtuBytes, note }, end) };
}

class Udp implements Backend {
  readonly type = TYPE;
  readonly mtuBytes: number;
  readonly devices: readonly string[] = [DEVICE];
  readonly hasMacs = false;
  readonly directRouting = false;
  readonly note: string | undefined;
  readonly userSpace: UserSpace = {
    paths: (own) => [this.#path(own)],
    peer: (lease) => this.#pathPeer(lease),
  };
  readonly #config: UdpConfig;
  readonly #end: TunnelEnd;

  constructor(config: UdpConfig, end: TunnelEnd) {
    this.#config = config;
    this.#end = end;
    this.mtuBytes = config.mtuBytes;
    this.note = config.note;
  }

  publishedMac(): Mac | undefined {
    return undefined;
  }

  advertise(): Omit<LeaseAttributes, 'owner'> {
    const { local, publicIp } = this.#end;
    return {
      ...{ publicIp, publicIp6: undefined },
      ...{ backendType: '', backendData: undefined, backendV6Data: undefined },
      ...(local !== publicIp && { sources: [local] }),
    };
  }

  device(own: OwnPart | undefined, _macs: DeviceMacs): readonly DeviceObject[] {
    const { mtuBytes } = this.#config;
    const link: Link = { kind: 'link', name: DEVICE, mac: undefined, mtuBytes, up: true, vxlan: undefined };
    if (own === undefined || own.subnet === NO_IPV4) return [link];
    const ip = networkAddress(own.subnet);
    return [link, { kind: 'address', dev: DEVICE, ip, length: 32 }, ...networksOf4(own).map(routeTo)];
  }

  claim(lease: Lease): PeerClaim {
    const state = this.peer(lease);
    return 'objects' in state ? { identities: [] } : state;
  }

  /** Nothing in the kernel is a peer's own. */
  peer(lease: Lease): PeerState {
    if (lease.backendType !== '') return { foreign: `backend type is "${lease.backendType}", udp leases have none` };
    if (subnetOf(lease, 4) === undefined) return { foreign: nothingShared([4]) };
    const fault = badPublicIp(leasePart(lease, 4));
    return fault === undefined ? { objects: NOTHING } : { refused: fault };
  }

  #path(own: OwnPart): PathShape {
    const { port, mtuBytes } = this.#config;
    const subnet = subnetOf(own, 4);
    return {
      ...{ device: DEVICE, encapsulation: { kind: 'udp' }, local: this.#end.local, port, mtuBytes },
      ...{ own: subnet === undefined ? [] : [subnet], networks: networksOf4(own) },
    };
  }

  #pathPeer(lease: Lease): PathPeer | undefined {
    const subnet = subnetOf(lease, 4);
    const { publicIp } = lease;
    if (!('objects' in this.peer(lease)) || subnet === undefined || publicIp === undefined) return undefined;
    return { endpoint: publicIp, sources: outerSources(lease, publicIp), subnets: [subnet], mac: undefined };
  }
}

const NOTHING: readonly KernelObject[] = [];

function networksOf4({ networks }: OwnPart): readonly Prefix[] {
  return networks.filter((network) => familyOf(network) === 4);
}

function routeTo(dst: Prefix): Route {
  const hop = { dev: DEVICE, gateway: undefined, onlink: false, nexthopId: undefined };
  return { kind: 'route', dst, metric: YIELDING_METRIC, ...hop };
}
