/** Hosts whose packets go through user space, beside others that a test wants to see them get along with. */
import type { ExecutionContext } from 'ava';
import { type Agent, flanneldAt, PREFIX, tartan } from './agent.ts';
import { eventually } from './eventually.ts';
import { findFlanneld } from './flanneld.ts';
import { createLab, type Lab, type LabOptions } from './hosts.ts';
import { Member } from './member.ts';
import { needs, type Requirement } from './require.ts';
import { transfer } from './tcp-transfer.ts';

/** What one host runs. */
export interface Side {
  readonly agent: 'tartan' | 'flanneld';
  /** The network config's `Backend` when its agent starts; who runs already follows it only after a restart. */
  readonly backend: Readonly<Record<string, unknown>>;
  readonly flags?: readonly string[];
}

export const UDP: Side = { agent: 'tartan', backend: { Type: 'udp' } };
export const FLANNELD_UDP: Side = { agent: 'flanneld', backend: { Type: 'udp' } };
export const FLANNELD_VXLAN: Side = { agent: 'flanneld', backend: { Type: 'vxlan' } };
export const USER: Side = { agent: 'tartan', backend: { Type: 'vxlan', Mode: 'user' } };
export const KERNEL: Side = { agent: 'tartan', backend: { Type: 'vxlan', Mode: 'kernel' } };

/** How a path is recognized on the wire. */
export const PORTS = { udp: 8285, vxlan: 8472 } as const;

/** A path of ours through user space. */
export interface Ours {
  readonly title: string;
  readonly side: Side;
  readonly path: 'udp' | 'vxlan';
  readonly device: string;
}

/** Both, for what is to hold of each. */
export const OURS: readonly Ours[] = [
  { title: 'udp', side: UDP, path: 'udp', device: 'flannel0' },
  { title: 'vxlan', side: USER, path: 'vxlan', device: 'flannel.1' },
];

/** Packets that a kernel refused for their checksums, by `/proc/net/snmp`'s names. */
const CHECKSUM_ERRORS = ['Tcp.InCsumErrors', 'Udp.InCsumErrors', 'Icmp.InCsumErrors', 'Ip.InHdrErrors'];

type T = ExecutionContext<unknown>;

function flanneld(): Agent {
  const found = findFlanneld();
  if ('reason' in found) throw new Error(found.reason);
  return flanneldAt(found.path);
}

export class PathCluster {
  readonly lab: Lab;
  readonly members: Member[] = [];
  readonly #ipv6: boolean;

  private constructor(lab: Lab, ipv6: boolean) {
    this.lab = lab;
    this.#ipv6 = ipv6;
  }

  /** undefined: the machine lacks something, and the test is over (see `needs`). */
  static async create(
    t: T,
    sides: readonly Side[],
    { requires = [], ...options }: LabOptions & { readonly requires?: readonly Requirement[] } = {},
  ): Promise<PathCluster | undefined> {
    const theirs: readonly Requirement[] = sides.some(({ agent }) => agent === 'flanneld') ? ['flanneld', 'nft'] : [];
    if (!needs(t, 'lab', 'tun', ...theirs, ...requires)) return undefined;
    t.timeout(180_000);
    const lab = await createLab({ ...options, hosts: 0 });
    t.teardown(() => lab.destroy());
    const cluster = new PathCluster(lab, options.ipv6 === true);
    for (const side of sides) await cluster.join(side);
    return cluster;
  }

  /** As create, for two hosts that reach each other. */
  static async pair(
    t: T,
    sides: readonly [Side, Side],
    options: LabOptions & { readonly requires?: readonly Requirement[] } = {},
  ): Promise<Pair | undefined> {
    const cluster = await PathCluster.create(t, sides, options);
    const [one, two] = cluster?.members ?? [];
    if (cluster === undefined || one === undefined || two === undefined) return undefined;
    await cluster.meet(one, two);
    return { cluster, lab: cluster.lab, one, two };
  }

  async configure(backend: Side['backend']): Promise<void> {
    const six = this.#ipv6 ? { EnableIPv6: true, IPv6Network: 'fd00:5::/48' } : {};
    // Of what comes after it a test may say that it is nobody's.
    const range = { SubnetLen: 24, SubnetMin: '10.5.1.0', SubnetMax: '10.5.99.0' };
    // With nftables flanneld does not ask for the br_netfilter module.
    const config = { Network: '10.5.0.0/16', ...range, ...six, EnableNFTables: true, Backend: backend };
    await this.lab.etcd.put(`${PREFIX}/config`, JSON.stringify(config));
  }

  /** Another host with its agent. */
  async join(side: Side): Promise<Member> {
    await this.configure(side.backend);
    const member = new Member(this.lab, await this.lab.addHost(), agentOf(side));
    this.members.push(member);
    await member.start(side.flags);
    return member;
  }

  /** Starts another agent on a host that has or had one, and waits for its subnet. */
  async replace(member: Member, side: Side): Promise<Member> {
    await this.configure(side.backend);
    const next = new Member(this.lab, member.host, agentOf(side));
    await next.start(side.flags);
    this.members[this.members.indexOf(member)] = next;
    return next;
  }

  /** Waits until each reaches the other's tunnel address. */
  async meet(one: Member, two: Member): Promise<void> {
    const context = (): string => `${one.agent.tail(20)}\n${two.agent.tail(20)}`;
    for (const [from, to] of [
      [one, two],
      [two, one],
    ] as const) {
      const isReached = async () => (await from.host.ping(to.base, { waitSeconds: 1 })).ok;
      await eventually(`${from.name} reaches ${to.name}`, isReached, { context });
    }
  }
}

export interface Pair {
  readonly cluster: PathCluster;
  readonly lab: Lab;
  readonly one: Member;
  readonly two: Member;
}

function agentOf({ agent }: Side): Agent {
  return agent === 'tartan' ? tartan : flanneld();
}

/** The tunnel address of the family: what the device has. */
function addressOf({ base, env }: Member, family: 4 | 6): string {
  return family === 4 ? base : (env.ipv6Subnet ?? '').replace(/1\/.*/, '');
}

/** So many bytes both ways, which are to arrive as they were sent; no kernel is to find fault with a checksum. */
export async function checkTransfers(t: T, { one, two }: Pair, bytes: number, family: 4 | 6 = 4): Promise<void> {
  for (const [from, to] of [
    [one, two],
    [two, one],
  ] as const) {
    const startedAt = performance.now();
    const { sent, received } = await transfer(from.host, to.host, addressOf(to, family), bytes);
    t.deepEqual(received, sent, `${from.name} to ${to.name}`);
    const seconds = (performance.now() - startedAt) / 1000;
    t.log(`${from.name} to ${to.name}: ${(bytes / 1e6).toFixed(0)} MB in ${seconds.toFixed(2)} s`);
  }
  for (const member of [one, two]) {
    const counters = await countersOf(member);
    const errors = CHECKSUM_ERRORS.filter((counter) => counters.get(counter) !== 0);
    t.deepEqual(errors, [], member.name);
  }
}

/** Of `/proc/net/snmp`: `Tcp.InCsumErrors` → 0 … */
export async function countersOf({ host }: Member): Promise<ReadonlyMap<string, number>> {
  const lines = (await host.run('cat', ['/proc/net/snmp'])).split('\n');
  const counters = lines.flatMap((names, i): [string, number][] => {
    const values = lines[i + 1];
    if (i % 2 === 1 || values === undefined) return [];
    const [group = '', ...columns] = names.split(' ');
    const numbers = values.split(' ').slice(1);
    return columns.map((column, at) => [`${group.replace(':', '')}.${column}`, Number(numbers[at])]);
  });
  return new Map(counters);
}
