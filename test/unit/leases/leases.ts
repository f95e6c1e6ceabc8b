/** Leases for tests. */
import { type Ip, type Prefix, parseIp, parsePrefix } from '../../../config/address.ts';
import { decodeLease, formatLeaseValue, leaseKey } from '../../../leases/codec.ts';
import type { DirectoryPolicy } from '../../../leases/directory-entry.ts';
import type { LeaseOwner, StoredLease } from '../../../leases/lease.ts';
import { addressIdentities } from '../../../leases/network-checks.ts';
import type { KeyValue } from '../../../leases/store.ts';

export const PREFIX = '/coreos.com/network';

function sure<T>(value: T | undefined, text: string): T {
  if (value === undefined) throw new Error(`bad test data: ${text}`);
  return value;
}

export const ip = (text: string): Ip => sure(parseIp(text), text);
export const net = (text: string): Prefix => sure(parsePrefix(text), text);

export interface Shape {
  readonly subnet: string;
  readonly subnet6?: string | undefined;
  readonly publicIp?: string;
  readonly publicIp6?: string | undefined;
  readonly mac?: string;
  readonly owner?: LeaseOwner;
  readonly created?: number;
  readonly modified?: number;
  readonly etcdLease?: string;
}

/** A vxlan lease as etcd would hand it out. */
export function keyValue(shape: Shape): KeyValue {
  const { subnet, subnet6, publicIp6, created = 1 } = shape;
  const subnets = { subnet: net(subnet), subnet6: subnet6 === undefined ? undefined : net(subnet6) };
  const value = formatLeaseValue({
    publicIp: ip(shape.publicIp ?? '192.0.2.1'),
    publicIp6: publicIp6 === undefined ? undefined : ip(publicIp6),
    backendType: 'vxlan',
    backendData: shape.mac === undefined ? undefined : JSON.stringify({ VNI: 1, VtepMAC: shape.mac }),
    backendV6Data: undefined,
    owner: shape.owner,
  });
  const revisions = { createRevision: created, modRevision: shape.modified ?? created };
  return { key: leaseKey(PREFIX, subnets), value, ...revisions, lease: shape.etcdLease ?? '7' };
}

export function storedLease(shape: Shape): StoredLease {
  const decoded = decodeLease(PREFIX, keyValue(shape));
  if (!decoded.ok) throw new Error(decoded.reason);
  return decoded.lease;
}

/** What a policy is made of here. Left out: no lease is ours, none is refused, no two may share a public IP. */
export interface Opinion {
  readonly ownKey?: string | undefined;
  readonly refuse?: (lease: StoredLease) => string | undefined;
  readonly identities?: (lease: StoredLease) => readonly string[];
}

export function policyOf({ ownKey, refuse, identities = addressIdentities }: Opinion = {}): DirectoryPolicy {
  const judge = (lease: StoredLease) => {
    const refused = refuse?.(lease);
    return refused === undefined ? { identities: identities(lease) } : { refused };
  };
  return { ownKey, judge };
}
