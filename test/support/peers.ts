/** Hosts that do not exist: their leases are written into etcd, and an agent programs them as it would real ones. */
import { PREFIX } from './agent.ts';

/** 16,384 subnets of 256 addresses: room for 10,000 peers as a cluster of that size would have it. */
export const LARGE_NETWORK = '10.64.0.0/10';
/** `SubnetMin` for hosts that exist: from there on none of the first 4,000 peers has its subnet. */
export const REAL_HOSTS_FROM = '10.80.0.0';

export interface PeerLease {
  readonly key: string;
  /** As a host with tartan writes it; flanneld reads it the same. */
  readonly value: string;
}

function hex(number: number, digits: number): string {
  return number.toString(16).padStart(digits, '0');
}

/** Of the large network: `10.64.1.0/24` for peer 0, the first subnet being flannel's to leave out. At most 16,383. */
export function peerSubnet(index: number): string {
  const number = index + 1;
  return `10.${64 + (number >> 8)}.${number & 255}.0/24`;
}

/** Of the first `count` peers. */
export function peerSubnets(count: number): readonly string[] {
  return Array.from({ length: count }, (_, index) => peerSubnet(index));
}

export function peerLease(index: number): PeerLease {
  const value = {
    PublicIP: `172.16.${index >> 8}.${index & 255}`,
    PublicIPv6: null,
    BackendType: 'vxlan',
    BackendData: { VNI: 1, VtepMAC: `02:42:0a:00:${hex(index >> 8, 2)}:${hex(index & 255, 2)}` },
    Tartan: { node: hex(index + 1, 32), name: `peer-${index}`, claim: hex(index + 1, 32) },
  };
  return { key: `${PREFIX}/subnets/${peerSubnet(index).replace('/', '-')}`, value: JSON.stringify(value) };
}

/** Peers of these numbers join during a measurement; of the second block where the agent's own lease is in the first. */
const JOINING = [12_000, 14_000] as const;

/** The first of `count` peers, at most 2000, none of which has the subnet `own`. */
export function joiningFrom(own: string, count: number): number {
  const [first, instead] = JOINING;
  const isTaken = Array.from({ length: count }, (_, i) => peerSubnet(first + i)).includes(own);
  return isTaken ? instead : first;
}
