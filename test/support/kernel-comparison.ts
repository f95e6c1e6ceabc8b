/**
 * What a host's kernel and files should hold by the leases in etcd, and what they do hold, both worked out here from what
 * `ip` and `bridge` print: an opinion independent of the agent's code.
 */
import type { Host } from './host.ts';
import { type DeviceRow, type FdbRow, type NeighbourRow, nexthopsOf, routesOf, rows } from './kernel-tables.ts';
import type { Lease } from './lease-history.ts';

const DEVICE = 'flannel.1';
const OURS = '84';
const DEVICE_MTU = 1450;

interface LinkRow extends DeviceRow {
  readonly flags: readonly string[];
  readonly addr_info?: readonly { readonly family: string; readonly local: string; readonly prefixlen: number }[];
}

const baseOf = (subnet: string): string => subnet.replace(/\/.*/, '');

function deviceLine(mac: string, ip: string, base: string): string {
  return `device ${DEVICE} up, MAC ${mac}, MTU ${DEVICE_MTU}, VNI 1, port 8472, from ${ip}, not learning; ${base}/32`;
}

/** What should be, a line each. */
export function expected(own: Lease, peers: readonly Lease[]): readonly string[] {
  return [
    deviceLine(own.mac, own.publicIp, baseOf(own.subnet)),
    `file: FLANNEL_SUBNET=${own.subnet.replace(/\.0\//, '.1/')}`,
    ...peers.flatMap(({ subnet, mac, publicIp }) => [
      `route ${subnet} via ${baseOf(subnet)} dev ${DEVICE}`,
      `nexthop via ${baseOf(subnet)} dev ${DEVICE}`,
      `neighbour ${baseOf(subnet)} ${mac}`,
      `FDB entry ${mac} to ${publicIp}`,
    ]),
  ].sort();
}

async function deviceLines(host: Host): Promise<readonly string[]> {
  const links = await rows<LinkRow>(host, 'ip', ['-j', '-d', 'link', 'show', 'dev', DEVICE]);
  const [shown] = await rows<LinkRow>(host, 'ip', ['-j', '-4', 'addr', 'show', 'dev', DEVICE]);
  const addresses = (shown?.addr_info ?? []).map(({ local, prefixlen }) => `${local}/${prefixlen}`).join(' ');
  return links.map(({ address, mtu, flags, linkinfo }) => {
    const { id, port, local, learning } = linkinfo?.info_data ?? {};
    const state = flags.includes('UP') ? 'up' : 'down';
    const learns = learning === true ? 'learning' : 'not learning';
    return `device ${DEVICE} ${state}, MAC ${address}, MTU ${mtu}, VNI ${id}, port ${port}, from ${local}, ${learns}; ${addresses}`;
  });
}

/** What is, a line each. */
export async function found(host: Host): Promise<readonly string[]> {
  const [device, routes, nexthops, neighbours, fdb, env] = await Promise.all([
    deviceLines(host),
    routesOf(host),
    nexthopsOf(host),
    rows<NeighbourRow>(host, 'ip', ['-j', 'neigh', 'show', 'dev', DEVICE]),
    rows<FdbRow>(host, 'bridge', ['-j', 'fdb', 'show', 'dev', DEVICE]),
    host.subnetEnv(),
  ]);
  const gateways = new Map(nexthops.map(({ id, gateway }) => [id, gateway]));
  const via = ({ gateway, nhid }: { readonly gateway?: string; readonly nhid?: number }): string =>
    gateway ?? gateways.get(nhid ?? 0) ?? 'nobody';
  return [
    ...device,
    `file: FLANNEL_SUBNET=${env?.subnet ?? ''}`,
    ...routes
      .filter(({ dev, protocol, dst }) => (dev === DEVICE || protocol === OURS) && !dst.includes(':'))
      .map((route) => `route ${route.dst} via ${via(route)} dev ${route.dev}`),
    ...nexthops
      .filter(({ protocol, dev }) => protocol === OURS || dev === DEVICE)
      .map(({ gateway, dev }) => `nexthop via ${gateway} dev ${dev}`),
    ...neighbours
      .filter(({ state }) => state.includes('PERMANENT'))
      .map(({ dst, lladdr }) => `neighbour ${dst} ${lladdr}`),
    ...fdb.filter(({ dst }) => dst !== undefined).map(({ mac, dst }) => `FDB entry ${mac} to ${dst}`),
  ].sort();
}
