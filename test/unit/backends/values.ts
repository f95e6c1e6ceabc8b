/** Short ways to the values that the tests of this room are made of. */

import type { Backend, DeviceMacs, PeerContext, Underlay } from '../../../backends/backend.ts';
import type { BackendResult, Families } from '../../../backends/backend-config.ts';
import { formatOperation } from '../../../backends/operation-text.ts';
import type { Ownership } from '../../../backends/ownership.ts';
import type { Desired } from '../../../backends/plan.ts';
import { type KernelObject, keyOf, type Observed, type Operation, TARTAN_PROTOCOL } from '../../../backends/state.ts';
import { type Ip, type Mac, type Prefix, parseIp, parseMac, parsePrefix } from '../../../config/address.ts';
import type { Lease } from '../../../leases/lease.ts';

function present<T>(value: T | undefined, text: string): T {
  if (value === undefined) throw new Error(`the test has a bad value: ${text}`);
  return value;
}
export const ip = (text: string): Ip => present(parseIp(text), text);
export const prefix = (text: string): Prefix => present(parsePrefix(text), text);
export const mac = (text: string): Mac => present(parseMac(text), text);

export const V4: Families = { ipv4: true, ipv6: false };
export const V6: Families = { ipv4: false, ipv6: true };
export const DUAL: Families = { ipv4: true, ipv6: true };

export const UNDERLAY: Underlay = {
  index: 2,
  dev: 'eth0',
  mtuBytes: 1500,
  ip: ip('192.168.77.10'),
  ip6: ip('fd77::10'),
  publicIp: ip('192.168.77.10'),
  publicIp6: ip('fd77::10'),
  hostAddresses: new Set([ip('192.168.77.10'), ip('fd77::10'), ip('127.0.0.1')]),
};

export const MACS: DeviceMacs = new Map([
  ['flannel.1', mac('02:00:00:00:00:10')],
  ['flannel-v6.1', mac('02:00:00:00:06:10')],
]);

export const OWN = {
  subnet: prefix('10.5.1.0/24'),
  subnet6: prefix('fd00:5:0:1::/64'),
  networks: [prefix('10.5.0.0/16'), prefix('fd00:5::/32')],
};

/** A dual-stack VXLAN peer with the number `n`, changed by `change`. */
export function lease(n: number, change: Partial<Lease> = {}): Lease {
  const octet = n.toString(16).padStart(2, '0');
  return {
    subnet: prefix(`10.5.${n}.0/24`),
    subnet6: prefix(`fd00:5:0:${n.toString(16)}::/64`),
    publicIp: ip(`192.168.77.${n}`),
    publicIp6: ip(`fd77::${n.toString(16)}`),
    backendType: 'vxlan',
    backendData: `{"VNI":1,"VtepMAC":"02:00:00:00:04:${octet}"}`,
    backendV6Data: `{"VNI":1,"VtepMAC":"02:00:00:00:06:${octet}"}`,
    owner: undefined,
    ...change,
  };
}

export const FAR: PeerContext = { isOnLink: () => false, nexthopId: undefined };

export function backendOf(result: BackendResult): Backend {
  if (!result.ok) throw new Error(result.problems.join('; '));
  return result.backend;
}

export function problemsOf(result: BackendResult): readonly string[] {
  return result.ok ? [] : result.problems;
}

/** The object as it is found once we have made it. */
export function found<T extends KernelObject>(object: T, change: Partial<Omit<Observed, 'object'>> = {}): Observed<T> {
  const marked = object.kind === 'route' || object.kind === 'nexthop';
  const permanent = object.kind === 'neighbour' || object.kind === 'fdb';
  return { object, protocol: marked ? TARTAN_PROTOCOL : 0, permanent, ...change };
}

export function byKey(objects: Iterable<KernelObject>): Map<string, KernelObject> {
  return new Map(Array.from(objects, (object) => [keyOf(object), object]));
}

export function foundByKey(observed: Iterable<Observed>): Map<string, Observed> {
  return new Map(Array.from(observed, (one) => [keyOf(one.object), one]));
}

export const POLICY: Ownership = {
  networks: [prefix('10.5.0.0/16'), prefix('fd00:5::/32')],
  devices: new Set(['flannel.1', 'flannel-v6.1']),
};
export const FIRST_ID = 0x54000000;

/** The third part of a gateway is the peer's number: ids that a reader of a plan can follow. */
export function nexthopId(gateway: string): number {
  const n = gateway.includes(':') ? Number.parseInt(gateway.split(':')[3] ?? '0', 16) + 1000 : gateway.split('.')[2];
  return FIRST_ID + Number(n);
}

export function actualOf(desired: Desired): Map<string, Observed> {
  return foundByKey(Array.from(desired.values(), (object) => found(object)));
}

export function texts(operations: readonly Operation[]): string[] {
  return operations.map((operation) => formatOperation(operation));
}
