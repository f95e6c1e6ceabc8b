/** A host with its agent and a container, and what of it can be seen: in etcd, in a kernel, by ping. */
import { type Agent, PREFIX, startAgent, subnetOf, tartan } from './agent.ts';
import { eventually } from './eventually.ts';
import type { Container, Host } from './host.ts';
import type { Lab } from './hosts.ts';
import type { EtcdEntry } from './lab-etcd.ts';
import type { LabProcess } from './process.ts';
import type { SubnetEnv } from './subnet-env.ts';

/** Lines as `ip` and `bridge` print them. */
export interface KernelView {
  /** Routes of the main table. */
  readonly routes: readonly string[];
  /** Neighbours on the tunnel device. */
  readonly neighbours: readonly string[];
  /** Forwarding entries of the tunnel device. */
  readonly fdb: readonly string[];
}

function linesOf(text: string): readonly string[] {
  return text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
}

export class Member {
  readonly lab: Lab;
  readonly host: Host;
  readonly #kind: Agent;
  readonly #device: string;
  #agent: LabProcess | undefined;
  #env: SubnetEnv | undefined;
  #container: Container | undefined;

  /** `device`: the tunnel device of the vxlan backend. */
  constructor(lab: Lab, host: Host, kind: Agent = tartan, device = 'flannel.1') {
    this.lab = lab;
    this.host = host;
    this.#kind = kind;
    this.#device = device;
  }

  get name(): string {
    return this.host.name;
  }

  get started(): boolean {
    return this.#agent !== undefined;
  }

  get agent(): LabProcess {
    if (this.#agent === undefined) throw new Error(`${this.name} has no agent yet`);
    return this.#agent;
  }

  get env(): SubnetEnv {
    if (this.#env === undefined) throw new Error(`${this.name} has no subnet yet`);
    return this.#env;
  }

  get container(): Container {
    if (this.#container === undefined) throw new Error(`${this.name} has no container yet`);
    return this.#container;
  }

  /** The lease as a route has it: `10.5.17.0/24` (leases of the demo and the tests end on an octet). */
  get network(): string {
    return this.env.subnet.replace(/\.1\//, '.0/');
  }

  /** The lease's first address, by which others' kernels know this host: `10.5.17.0`. */
  get base(): string {
    return this.network.replace(/\/.*/, '');
  }

  /** Where its lease lies in etcd. */
  get leaseKey(): string {
    return `${PREFIX}/subnets/${this.network.replace('/', '-')}`;
  }

  /** Starts the agent and waits for its subnet file. */
  async start(flags: readonly string[] = []): Promise<SubnetEnv> {
    this.#env = await subnetOf(this.host, this.launch(flags));
    return this.#env;
  }

  /** Starts the agent, the first time or again, and waits for nothing. */
  launch(flags: readonly string[] = []): LabProcess {
    this.#agent = startAgent(this.lab, this.host, this.#kind, flags);
    return this.#agent;
  }

  async addContainer(): Promise<Container> {
    this.#container = await this.host.bridge(this.env);
    return this.#container;
  }

  /** Another agent has come to the host: its container is ours. */
  adoptContainer({ container }: Member): void {
    this.#container = container;
  }

  async kernel(): Promise<KernelView> {
    const [routes, neighbours, fdb] = await Promise.all([
      this.host.run('ip', ['route']),
      this.host.run('ip', ['neigh', 'show', 'dev', this.#device]),
      this.host.run('bridge', ['fdb', 'show', 'dev', this.#device]),
    ]);
    return { routes: linesOf(routes), neighbours: linesOf(neighbours), fdb: linesOf(fdb) };
  }

  /** Which of route, neighbour and FDB entry this host's kernel has for a peer. */
  async knows(peer: Member): Promise<{ route: boolean; neighbour: boolean; fdb: boolean }> {
    const { routes, neighbours, fdb } = await this.kernel();
    return {
      route: routes.some((line) => line.startsWith(`${peer.network} `)),
      neighbour: neighbours.some((line) => line.startsWith(`${peer.base} `)),
      fdb: fdb.some((line) => `${line} `.includes(` dst ${peer.host.ip} `)),
    };
  }

  /** Waits until the kernel has all three entries for every other member. */
  async programmed(all: readonly Member[]): Promise<void> {
    for (const peer of all) {
      if (peer === this) continue;
      await eventually(
        `the kernel of ${this.name} has route, neighbour and FDB entry for ${peer.network} (${peer.name})`,
        async () => Object.values(await this.knows(peer)).every(Boolean),
        { context: () => this.agent.tail() },
      );
    }
  }

  /** Waits until the kernel has nothing of the peer any more. */
  async forgot(peer: Member): Promise<void> {
    await eventually(
      `the kernel of ${this.name} has nothing left of ${peer.network} (${peer.name})`,
      async () => !Object.values(await this.knows(peer)).some(Boolean),
      { context: () => this.agent.tail() },
    );
  }

  /** Container to container, tried for a while. @returns round trip in ms, as ping prints it */
  async reach(peer: Member, packetBytes?: number): Promise<string> {
    const options = packetBytes === undefined ? { waitSeconds: 1 } : { waitSeconds: 1, packetBytes };
    const ping = await eventually(
      `${this.name}'s container ${this.container.ip} reaches ${peer.container.ip} on ${peer.name}`,
      async () => {
        const tried = await this.container.ping(peer.container, options);
        return tried.ok ? tried : undefined;
      },
      { timeoutMs: 10_000, context: () => `${this.agent.tail(6)}\n${peer.agent.tail(6)}` },
    );
    return (ping.ms ?? 0).toFixed(2);
  }

  async leaseExists(): Promise<boolean> {
    return (await this.lab.etcd.list(this.leaseKey)).length > 0;
  }

  /** The lease as etcd has it; rejects where it is not there. */
  async lease(): Promise<EtcdEntry> {
    const [entry] = await this.lab.etcd.list(this.leaseKey);
    if (entry === undefined) throw new Error(`${this.leaseKey} is not in etcd`);
    return entry;
  }

  /** In etcdctl's words: `lease … granted with TTL(10s), remaining(7s)`. */
  async leaseTimeLeft(): Promise<string> {
    return await this.lab.etcd.ctl(['lease', 'timetolive', (await this.lease()).lease]);
  }
}
