/**
 * A subnet lease as it stands in etcd, flannel's format (formats: key `<prefix>/subnets/<v4>-<len>[&<v6>-<len>]`, value
 * JSON) plus our one key `Tartan`, which flannel ignores.
 */
import type { Ip, Prefix } from '../config/address.ts';

/** Which node holds the lease; written by tartan only. */
export interface LeaseOwner {
  /** Stable id of the host: --node-name, NODE_NAME or an HMAC of the machine-id. */
  readonly node: string;
  /** For people: the host name. */
  readonly name: string;
  /** Random id of the state directory that made the claim. */
  readonly claim: string;
}

/** The subnets a lease covers. There is no key without an IPv4 part (IPv6 only: `0.0.0.0/0`). */
export interface LeaseSubnets {
  readonly subnet: Prefix;
  readonly subnet6: Prefix | undefined;
}

/** What the value says. */
export interface LeaseAttributes {
  readonly publicIp: Ip;
  readonly publicIp6: Ip | undefined;
  /** Lower case as flannel writes it; "" for udp, alloc and tencent-vpc leases. */
  readonly backendType: string;
  /** JSON text of the backend's data for IPv4, compact; undefined where there is none. */
  readonly backendData: string | undefined;
  readonly backendV6Data: string | undefined;
  /** undefined: written by a flanneld. */
  readonly owner: LeaseOwner | undefined;
  /** Where the host's packets come from, where that is not its public IP; written by tartan only. */
  readonly sources?: readonly Ip[];
}

export interface Lease extends LeaseSubnets, LeaseAttributes {}

/** A lease as read from the store. */
export interface StoredLease extends Lease {
  readonly key: string;
  readonly createRevision: number;
  readonly modRevision: number;
  /** etcd lease id; "0": a reservation, without expiry. */
  readonly etcdLease: string;
  /** The value as stored, to compare with. */
  readonly value: string;
}
