import type { Ip, Mac, Prefix } from '../config/address.ts';
import type { Lease, LeaseAttributes, LeaseSubnets } from '../leases/lease.ts';
import type { PathPeer } from './data-path/path-peer.ts';
import type { PathShape } from './data-path/path-settings.ts';
import type { Address, KernelObject, Link, Route } from './state.ts';

/** The interface that the hosts reach each other by: as selected at start, and followed since. */
export interface Underlay {
  /** By which it is known again under another name. */
  readonly index: number;
  readonly dev: string;
  readonly mtuBytes: number;
  /** The interface's own addresses that were chosen, per family. */
  readonly ip: Ip | undefined;
  readonly ip6: Ip | undefined;
  /** What the lease advertises: --public-ip, else the interface's address. Behind NAT this host does not have it. */
  readonly publicIp: Ip | undefined;
  readonly publicIp6: Ip | undefined;
  /** Every address of this host, of any interface. */
  readonly hostAddresses: ReadonlySet<Ip>;
}

/** Why a lease is none of ours (`foreign`) or can't be used (`refused`). */
export type Unusable = { readonly foreign: string } | { readonly refused: string };

/** What a peer needs in the kernel. */
export type PeerState = { readonly objects: readonly KernelObject[] } | Unusable;

/** What a peer's lease and another one's must not share, beside public IPs: `MAC 02:…`. */
export type PeerClaim = { readonly identities: readonly string[] } | Unusable;

export interface PeerContext {
  /** Whether the peer's public IP is a neighbour on the underlay (DirectRouting). */
  readonly isOnLink: (ip: Ip) => boolean;
  /** The nexthop object to use for a gateway, undefined: plain routes. */
  readonly nexthopId: ((gateway: Ip, dev: string) => number) | undefined;
}

/** MAC addresses of our devices by device name; undefined: the device has none. */
export type DeviceMacs = ReadonlyMap<string, Mac | undefined>;

/** This host's subnets, and what they are part of. */
export interface OwnPart extends LeaseSubnets {
  /** The cluster's ranges. */
  readonly networks: readonly Prefix[];
}

/** What stands whoever the peers are. */
export type DeviceObject = Link | Address | Route;

/** Where a process of ours wraps and sends the packets: what it has to know. */
export interface UserSpace {
  /** One for each of the devices. */
  paths(own: OwnPart, macs: DeviceMacs): readonly PathShape[];
  /** The peer as that device's data path needs it; undefined: it is not reached by it. */
  peer(lease: Lease, device: string): PathPeer | undefined;
}

/**
 * How packets reach a peer. Pure: configured once with the network config and the underlay, every method maps plain
 * data to plain data.
 */
export interface Backend {
  readonly type: string;
  /** MTU for containers (FLANNEL_MTU). */
  readonly mtuBytes: number;
  /** Names of the devices that the backend makes. Empty: it uses the underlay as it is. */
  readonly devices: readonly string[];
  /** Whether these have MACs, which leases publish. */
  readonly hasMacs: boolean;
  /** Whether `peer` asks which public IPs are neighbours on the underlay. */
  readonly directRouting: boolean;
  /** The MAC that a lease publishes for one of our devices, where it is valid. */
  publishedMac(lease: LeaseAttributes, device: string): Mac | undefined;
  /** The value that this host's lease has; the owner is added by the caller. */
  advertise(macs: DeviceMacs): Omit<LeaseAttributes, 'owner'>;
  /** Devices, and what stands on them whoever the peers are; devices alone where no lease is held yet. */
  device(own: OwnPart | undefined, macs: DeviceMacs): readonly DeviceObject[];
  /** Whether a lease can be a peer's, without what the kernel would need. It is one exactly where `peer` has objects. */
  claim(lease: Lease): PeerClaim;
  peer(lease: Lease, context: PeerContext): PeerState;
  /** Left out: the kernel does it all. */
  readonly userSpace?: UserSpace | undefined;
  /** What the operator should know of how it came to be so: a mode that this host left no choice of. */
  readonly note?: string | undefined;
}
