/** tartan and flanneld in one cluster: what a test needs to set up, to wait for and to look at. */
import type { ExecutionContext } from 'ava';
import { type Agent, flanneldAt, PREFIX, startAgent, subnetOf, tartan, tartanOn } from './agent.ts';
import { eventually } from './eventually.ts';
import { findFlanneld } from './flanneld.ts';
import type { Host } from './host.ts';
import { createLab, type Lab, type LabOptions } from './hosts.ts';
import { type PeerTraces, routesOf, tracesOf } from './kernel-tables.ts';
import type { EtcdEntry } from './lab-etcd.ts';
import { Member } from './member.ts';
import type { LabProcess } from './process.ts';
import { needs } from './require.ts';

export interface Network {
  readonly type: 'vxlan' | 'host-gw';
  /** Further keys of the `Backend` object. */
  readonly backend?: Readonly<Record<string, unknown>>;
  readonly ipv6?: boolean;
}

/** With nftables flanneld does not ask for the br_netfilter module. */
function configOf({ type, backend, ipv6 }: Network): string {
  const six = ipv6 === true ? { EnableIPv6: true, IPv6Network: 'fd00:5::/48' } : {};
  return JSON.stringify({ Network: '10.5.0.0/16', ...six, EnableNFTables: true, Backend: { Type: type, ...backend } });
}

/** The tunnel devices that the network's hosts have; none for host-gw. */
function devicesOf({ type, backend, ipv6 }: Network): readonly string[] {
  const vni = backend?.['VNI'] ?? 1;
  if (type !== 'vxlan') return [];
  return ipv6 === true ? [`flannel.${vni}`, `flannel-v6.${vni}`] : [`flannel.${vni}`];
}

/**
 * What either agent's log calls an error, tartan's also a warning, and Go's last words. To be asked while it runs:
 * flanneld's end is an error in its log.
 */
export function complaintsOf(agent: LabProcess): readonly string[] {
  const isComplaint = /^[EF]\d{4} |^panic:|^fatal error:|^goroutine \d+|"level":"(?:warn|error)"/;
  return agent.lines.filter((line) => isComplaint.test(line));
}

/** Waits for an agent that is to end by itself. @returns its exit status */
export async function endOf(agent: LabProcess): Promise<number | null> {
  await eventually(`${agent.name} ends`, () => !agent.running, { context: () => agent.tail(20) });
  return (await agent.exited).status;
}

export class MixedCluster {
  readonly lab: Lab;
  readonly network: Network;
  readonly devices: readonly string[];
  readonly #flanneld: Agent;

  private constructor(lab: Lab, network: Network, flanneld: Agent) {
    this.lab = lab;
    this.network = network;
    this.devices = devicesOf(network);
    this.#flanneld = flanneld;
  }

  /** undefined: the machine lacks something, and the test is over (see `needs`). */
  static async create(
    t: ExecutionContext<unknown>,
    network: Network,
    options: LabOptions = {},
  ): Promise<MixedCluster | undefined> {
    if (!needs(t, 'lab', 'flanneld', 'nft')) return undefined;
    const found = findFlanneld();
    if ('reason' in found) throw new Error(found.reason);
    const lab = await createLab({ ...options, ipv6: network.ipv6 === true });
    t.teardown(() => lab.destroy());
    await lab.etcd.put(`${PREFIX}/config`, configOf(network));
    return new MixedCluster(lab, network, flanneldAt(found.path));
  }

  /** A host of the lab with an agent to be. */
  member(number: number, kind: 'tartan' | 'flanneld'): Member {
    return new Member(this.lab, this.lab.host(number), kind === 'tartan' ? tartan : this.#flanneld);
  }

  /** Starts an agent beside whatever the host has, without waiting. */
  start(host: Host, kind: 'tartan' | 'flanneld', flags: readonly string[] = []): LabProcess {
    return startAgent(this.lab, host, kind === 'tartan' ? tartan : this.#flanneld, flags);
  }

  /** The lease that a host's value names it in. */
  async lease(host: Host): Promise<EtcdEntry> {
    const all = await this.lab.etcd.list(`${PREFIX}/subnets/`);
    const own = all.filter(({ value }) => value.startsWith(`{"PublicIP":"${host.ip}",`));
    const [lease] = own;
    if (lease === undefined || own.length > 1) throw new Error(`${host.name} has ${own.length} leases`);
    return lease;
  }

  /** What `host` has of the lease's holder, per family. */
  async traces(host: Host, lease: EtcdEntry, holder: Host): Promise<readonly PeerTraces[]> {
    const networks = networksOf(lease);
    const publicIps = [holder.ip, holder.ip6 ?? ''];
    return await Promise.all(
      networks.map((network, i) =>
        tracesOf(host, { network, publicIp: publicIps[i] ?? '' }, this.devices[i] ?? 'none'),
      ),
    );
  }

  /** Waits until nothing of the holder is left on `host`; `agent` is who is to have cleared it away. */
  async forgotten(host: Host, lease: EtcdEntry, holder: Host, agent: LabProcess): Promise<void> {
    let seen: readonly PeerTraces[] = [];
    await eventually(
      `${host.name} has nothing left of ${networksOf(lease).join(' and ')} (${holder.name})`,
      async () => {
        seen = await this.traces(host, lease, holder);
        return seen.every((one) => one.routes.length + one.neighbours.length + one.fdb.length === 0);
      },
      { timeoutMs: 25_000, context: () => `${JSON.stringify(seen)}\n${agent.tail(20)}` },
    );
  }

  /** Waits until the agent has programmed that many peers, all of them its own way. */
  async settled(host: Host, agent: LabProcess, kind: 'tartan' | 'flanneld', peers: number): Promise<void> {
    await subnetOf(host, agent);
    await eventually(
      `${kind} on ${host.name} has programmed ${peers} peers`,
      () => (kind === 'tartan' ? this.#tartanSettled(host, agent, peers) : this.#flanneldSettled(host, agent, peers)),
      { context: () => agent.tail(20) },
    );
  }

  async #tartanSettled(host: Host, agent: LabProcess, peers: number): Promise<boolean> {
    const { status, stdout } = await tartanOn(this.lab, host, ['status', '--json']);
    if (status !== 0) return false;
    const said: { readonly pid: number; readonly inStep: boolean; readonly peers: readonly unknown[] } =
      JSON.parse(stdout);
    return said.pid === agent.pid && said.inStep && said.peers.length === peers;
  }

  /** It says what it heard of; its vxlan routes are then its own (protocol 3), on host-gw it keeps what is right. */
  async #flanneldSettled(host: Host, agent: LabProcess, peers: number): Promise<boolean> {
    const heard = new Set(
      agent.lines.flatMap((line) => /(?:Subnet added: |PublicIP: )(\S+?)[,\s]/.exec(line)?.[1] ?? []),
    );
    const families = this.network.ipv6 === true ? 2 : 1;
    const wanted = this.network.type === 'vxlan' ? peers : peers * families;
    if (heard.size < wanted) return false;
    const routes = (await this.peerRoutes(host)).filter((route) => route.gateway !== undefined);
    if (routes.length < peers * families) return false;
    return this.network.type === 'host-gw' || routes.every((route) => route.protocol === '3');
  }

  /** Routes into the overlay that lead to other hosts. */
  async peerRoutes(host: Host): Promise<Awaited<ReturnType<typeof routesOf>>> {
    const routes = await routesOf(host);
    return routes.filter((route) => /^(10\.5\.|fd00:5:)/.test(route.dst) && route.gateway !== undefined);
  }
}

/** `…/10.5.17.0-24&fd00:5:0:12::-64` → both subnets, as routes have them. */
export function networksOf(lease: EtcdEntry): readonly string[] {
  const name = lease.key.split('/').at(-1) ?? '';
  return name.split('&').map((subnet) => subnet.replace(/-(\d+)$/, '/$1'));
}

/** A lease value without the key that is ours alone. */
export function flannelPartOf(value: string): string {
  return value.replace(/,"Tartan":\{"node":"[^"]+","name":"[^"]+","claim":"[0-9a-f]{32}"\}\}$/, '}');
}
