/**
 * What the kernel holds, or should hold, as plain data. Each kind is keyed as the kernel keys it, so that two objects
 * with one key can't exist side by side and a change of the rest is a REPLACE.
 */
import type { Family, Ip, Mac, Prefix } from '../config/address.ts';

/** Our mark on routes and nexthops (`rtm_protocol`, `nh_protocol`); `deploy/` names it in rt_protos.d. */
export const TARTAN_PROTOCOL = 84;
/** RTPROT_BOOT: what flannel leaves on its routes. */
export const BOOT_PROTOCOL = 3;
export const MAIN_TABLE = 254;
/** The metric that a route has when none is asked for: 0, but IP6_RT_PRIO_USER for IPv6 (include/net/ip6_route.h). */
export const DEFAULT_METRIC = { 4: 0, 6: 1024 } as const;
/**
 * The metric of a route that lets others' to the same destination go before it: a flanneld that is started while our
 * device stands makes one of its own, and works at once.
 */
export const YIELDING_METRIC = 84;
/** The type of a route that leads somewhere (linux/rtnetlink.h); all that we make are of it. */
export const RTN_UNICAST = 1;

interface Device {
  readonly kind: 'link';
  readonly name: string;
  readonly mtuBytes: number;
  readonly up: boolean;
}

/** The kernel itself wraps and sends what is routed to it. */
export interface VxlanLink extends Device {
  readonly mac: Mac;
  readonly vxlan: VxlanAttributes;
}

/** A process of ours reads and writes its Ethernet frames (tap) or its IP packets (tun: it has no MAC). It outlives it. */
export interface TunLink extends Device {
  readonly mac: Mac | undefined;
  readonly vxlan: undefined;
}

/** A network device that we make. Key: its name. */
export type Link = VxlanLink | TunLink;

export interface VxlanAttributes {
  readonly vni: number;
  /** UDP port that the device listens on and sends to. */
  readonly port: number;
  /** Outer source address. */
  readonly local: Ip;
  /** Name of the underlay device. */
  readonly lower: string;
  readonly learning: boolean;
  readonly gbp: boolean;
}

export interface TunAttributes {
  /** Whether it carries Ethernet frames, not IP packets. */
  readonly isTap: boolean;
  /** Whether it outlives the process that made it. */
  readonly isPersistent: boolean;
  /** Several processes' worth of queues: it can't be opened as one without. */
  readonly isMultiQueue: boolean;
}

/** An address on a device. Key: device, address and length. `address` keeps its host bits: `10.5.1.0/32`. */
export interface Address {
  readonly kind: 'address';
  readonly dev: string;
  readonly ip: Ip;
  readonly length: number;
}

/** A permanent ARP or ND entry. Key: device and address. */
export interface Neighbour {
  readonly kind: 'neighbour';
  readonly dev: string;
  readonly ip: Ip;
  readonly mac: Mac;
}

/**
 * A static forwarding entry of a VXLAN device. Key: device and MAC alone; the destination is its value and changes by
 * REPLACE (an append with another destination changes nothing there, a delete that names the old one removes nothing).
 */
export interface FdbEntry {
  readonly kind: 'fdb';
  readonly dev: string;
  readonly mac: Mac;
  /** Outer destination: the peer's public IP. */
  readonly dst: Ip;
}

/** A nexthop object (kernel 5.3+). Key: id. */
export interface Nexthop {
  readonly kind: 'nexthop';
  readonly id: number;
  readonly dev: string;
  readonly gateway: Ip;
  readonly onlink: boolean;
}

/** A unicast route in the main table. Key: destination and metric (the table is fixed). */
export interface Route {
  readonly kind: 'route';
  readonly dst: Prefix;
  /** YIELDING_METRIC, the only other one that ours have; left out: DEFAULT_METRIC. */
  readonly metric?: number;
  readonly dev: string;
  /** undefined: whatever is routed there is the device's own business. */
  readonly gateway: Ip | undefined;
  readonly onlink: boolean;
  /** The nexthop object that carries gateway and device; undefined: the route carries them itself. */
  readonly nexthopId: number | undefined;
  /** What a route may say besides, and ours never do: `src 192.0.2.1 metrics`. */
  readonly extras?: string;
}

export type KernelObject = Link | Address | Neighbour | FdbEntry | Nexthop | Route;
export type ObjectKind = KernelObject['kind'];

/** The key under which the kernel holds the object, as text that sorts and prints. */
export function keyOf(object: KernelObject): string {
  switch (object.kind) {
    case 'link':
      return `link ${object.name}`;
    case 'address':
      return `address ${object.ip}/${object.length} dev ${object.dev}`;
    case 'neighbour':
      return `neighbour ${object.ip} dev ${object.dev}`;
    case 'fdb':
      return `fdb ${object.mac} dev ${object.dev}`;
    case 'nexthop':
      return `nexthop ${object.id}`;
    case 'route':
      return routeKey(object.dst, object.metric);
  }
}

/** @param metric undefined: the default one. */
export function routeKey(dst: Prefix, metric?: number): string {
  return metric === undefined ? `route ${dst}` : `route ${dst} metric ${metric}`;
}

/** One change to the kernel. `why` is for logs and plans: "peer 10.5.72.0/24 appeared". */
export interface Operation {
  /**
   * set: make the object so, whether something stands at its key or not (CREATE|REPLACE; links and addresses: whatever
   * reaches the state). create: only where nothing stands there (CREATE|EXCL). delete: an absent object is success.
   */
  readonly verb: 'set' | 'create' | 'delete';
  readonly object: KernelObject;
  readonly why: string;
  /** Deletion of a route: whose route is to go, TARTAN_PROTOCOL where left out. What others made there stays. */
  readonly protocol?: number;
}

/** An object as found, with what tells whose it is. */
export interface Observed<T extends KernelObject = KernelObject> {
  readonly object: T;
  /** Routes and nexthops: who made it (rtm_protocol); 0 for other kinds. */
  readonly protocol: number;
  /** Neighbours and FDB entries: NUD_PERMANENT or NUD_NOARP, that is: made by hand, not learnt. */
  readonly permanent: boolean;
}

/** A device as found, ours or not. */
export interface LinkInfo {
  readonly index: number;
  readonly name: string;
  /** Absent on devices without a hardware address of six octets. */
  readonly mac: Mac | undefined;
  readonly mtuBytes: number;
  /**
   * IFF_UP. Of a vxlan, tun or tap also that it carries packets as we use it: no port of a bridge, and it resolves
   * neighbours where it has a MAC.
   */
  readonly up: boolean;
  readonly loopback: boolean;
  /** IFLA_INFO_KIND, "" for physical devices. */
  readonly type: string;
  readonly vxlan: VxlanAttributes | undefined;
  /** Of type `tun`, which taps are too. */
  readonly tun?: TunAttributes | undefined;
}

/** The device as one of ours would be; undefined: it is not such as we make them, or is some process's for its lifetime. */
export function asLink({ name, mac, mtuBytes, up, vxlan, tun }: LinkInfo): Link | undefined {
  const device = { kind: 'link', name, mtuBytes, up } as const;
  if (vxlan && mac) return { ...device, mac, vxlan };
  if (!tun?.isPersistent || tun.isMultiQueue || (tun.isTap && !mac)) return undefined;
  return { ...device, mac: tun.isTap ? mac : undefined, vxlan: undefined };
}

/** An address as found on any device, with the flags that interface selection sorts by. */
export interface AddressInfo {
  readonly dev: string;
  readonly ip: Ip;
  readonly length: number;
  /** IFA_F_PERMANENT. */
  readonly permanent: boolean;
  /** IFA_F_TEMPORARY (secondary, for IPv4). */
  readonly temporary: boolean;
  readonly deprecated: boolean;
}

/** A route of the main table as found, of any type. */
export interface RouteInfo {
  readonly family: Family;
  readonly dst: Prefix;
  readonly metric: number;
  readonly protocol: number;
  /** Undefined: multipath, or a type without a device (blackhole). */
  readonly dev: string | undefined;
  readonly gateway: Ip | undefined;
  readonly onlink: boolean;
  readonly nexthopId: number | undefined;
  /** A preferred source, or metrics such as an MTU, in words. */
  readonly extras?: string;
  /** RTN_UNICAST, RTN_BLACKHOLE 6 and so on. */
  readonly type: number;
}

/** The metric by which the route has its key; undefined: the default one. */
export function metricIn({ family, metric }: RouteInfo): number | undefined {
  return metric === DEFAULT_METRIC[family] ? undefined : metric;
}
