/** What tartan made, where the state directory can't tell any more: what the kernel and the subnet file show of it. */
import type { Kernel } from '../backends/kernel/kernel.ts';
import { isTartanId } from '../backends/ownership.ts';
import { TARTAN_PROTOCOL } from '../backends/state.ts';
import { containsIp, type Ip, type Mac, networkAddress, type Prefix } from '../config/address.ts';
import { parseNetworks, parsePreviousSubnet } from './subnet-env.ts';
import type { Made } from './withdrawal.ts';

export interface Recovered extends Made {
  /** Objects with tartan's mark: nobody else's can have it. A device alone might be a flanneld's. */
  readonly isMarked: boolean;
}

/**
 * The networks are the subnet file's. Devices: vxlan, tun or tap, with our marked routes or nexthops on them, or with the
 * address that goes with the subnet; none that goes with the process that made it. Without a subnet file nothing tells one network's objects from another's.
 */
export async function recoverMade(kernel: Kernel, subnetEnv: string): Promise<Recovered> {
  const networks = parseNetworks(subnetEnv);
  const marked = await markedDevices(kernel, networks);
  const owners = new Set([...marked, ...(await addressed(kernel, subnetEnv))]);
  const macs = new Map<string, Mac | undefined>();
  for (const { name, mac, type, tun } of await kernel.links()) {
    const isLike = (type === 'vxlan' && mac) || tun?.isPersistent;
    if (isLike && owners.has(name)) macs.set(name, mac);
  }
  return { macs, networks, isMarked: marked.size > 0 };
}

async function markedDevices(kernel: Kernel, networks: readonly Prefix[]): Promise<ReadonlySet<string>> {
  if (networks.length === 0) return new Set();
  const isWithin = (ip: Ip): boolean => networks.some((network) => containsIp(network, ip));
  const nexthops = (await kernel.nexthops()) ?? [];
  const ours = nexthops.filter(
    ({ object, protocol }) => isTartanId(object.id) && protocol === TARTAN_PROTOCOL && isWithin(object.gateway),
  );
  const all = [...(await kernel.routes(4, networks)), ...(await kernel.routes(6, networks))];
  const routes = all.filter(({ protocol, dst }) => protocol === TARTAN_PROTOCOL && isWithin(networkAddress(dst)));
  return new Set([...ours.map(({ object }) => object.dev), ...routes.flatMap(({ dev }) => dev ?? [])]);
}

/** Devices that have the first address of this host's subnet, as flannel's and ours do. */
async function addressed(kernel: Kernel, subnetEnv: string): Promise<readonly string[]> {
  const { subnet, subnet6 } = parsePreviousSubnet(subnetEnv);
  const wanted = new Set([subnet, subnet6].flatMap((one) => (one ? [networkAddress(one)] : [])));
  const found = [...(await kernel.addresses(4)), ...(await kernel.addresses(6))];
  return found.filter(({ ip }) => wanted.has(ip)).map(({ dev }) => dev);
}
