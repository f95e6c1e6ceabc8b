/**
 * Two hosts of a lab whose agents carry packets between them, one way of the many. Each pair has its own key prefix, so
 * that any number of them stand ready side by side, and those that are compared are measured in turn.
 */
import { subnetOf } from '../support/agent.ts';
import { eventually } from '../support/eventually.ts';
import type { Container, Host } from '../support/host.ts';
import type { Lab } from '../support/hosts.ts';
import { type Route, type TcpResult, tcpFlow } from '../support/iperf.ts';
import { setOffloads } from '../support/offloads.ts';
import type { LabProcess } from '../support/process.ts';
import type { SubnetEnv } from '../support/subnet-env.ts';
import { loopDelay } from './loop-delay.ts';
import { memoryOf } from './process-memory.ts';
import { cpuSeconds } from './processor-time.ts';
import { machineSeconds } from './processor-use.ts';

/** One host's part. */
export interface End {
  /** The agent with its flags. */
  readonly argv: readonly [string, ...string[]];
  /** The network config's `Backend` when it starts. */
  readonly backend: Readonly<Record<string, unknown>>;
  /** Whether it was told METRICS_FLAGS. */
  readonly hasMetrics: boolean;
}

/** Who sends, then who receives. */
export type Way = readonly [End, End];

export interface Stream extends TcpResult {
  /** Processor time of the whole machine for each GB that arrived: programs, data path and kernel of both hosts. */
  readonly secondsPerGb: number;
  /** Of the two agents alone. */
  readonly agentSecondsPerGb: number;
}

interface Member {
  readonly host: Host;
  readonly agent: LabProcess;
  readonly env: SubnetEnv;
  readonly hasMetrics: boolean;
}

const GB = 1e9;

/** `10.5.17.1/24` → `10.5.17.0`: what the tunnel device has. */
function base({ subnet }: SubnetEnv): string {
  return subnet.replace(/\.1\/.*/, '.0');
}

async function join(lab: Lab, prefix: string, { argv, backend, hasMetrics }: End): Promise<Member> {
  const config = { Network: '10.5.0.0/16', EnableNFTables: true, Backend: backend };
  await lab.etcd.put(`${prefix}/config`, JSON.stringify(config));
  const host = await lab.addHost();
  const [command, ...args] = argv;
  const agent = host.spawn(command, [...args, ...lab.etcd.flags, `--etcd-prefix=${prefix}`, '--iface=eth0']);
  return { host, agent, env: await subnetOf(host, agent), hasMetrics };
}

export class Pair {
  readonly #lab: Lab;
  readonly #from: Member;
  readonly #to: Member;
  #containers: Promise<readonly [Container, Container]> | undefined;

  private constructor(lab: Lab, from: Member, to: Member) {
    this.#lab = lab;
    this.#from = from;
    this.#to = to;
  }

  static async start(lab: Lab, prefix: string, [sender, receiver]: Way): Promise<Pair> {
    const from = await join(lab, prefix, sender);
    const to = await join(lab, prefix, receiver);
    const pair = new Pair(lab, from, to);
    await pair.#meet();
    return pair;
  }

  async #meet(): Promise<void> {
    const { host, agent } = this.#from;
    const context = () => `${agent.tail()}\n${this.#to.agent.tail()}`;
    const isReached = async () => (await host.ping(base(this.#to.env), { waitSeconds: 1 })).ok;
    await eventually(`${host.name} reaches ${this.#to.host.name}`, isReached, { context });
  }

  /** Between the hosts themselves. */
  get hosts(): Route {
    return { from: this.#from.host, to: this.#to.host, address: base(this.#to.env) };
  }

  /** Between containers behind bridges; made when first asked for. */
  async containers(): Promise<Route> {
    const ends = [this.#from, this.#to] as const;
    this.#containers ??= Promise.all([ends[0].host.bridge(ends[0].env), ends[1].host.bridge(ends[1].env)]);
    const [from, to] = await this.#containers;
    return { from, to, address: to.ip };
  }

  /** Does the work while frames on the wire are of MTU size. */
  async withPlainFrames<T>(work: () => Promise<T>): Promise<T> {
    const hosts = [this.#from.host, this.#to.host];
    try {
      for (const host of hosts) await setOffloads(this.#lab, host, 'off');
      return await work();
    } finally {
      for (const host of hosts) await setOffloads(this.#lab, host, 'on');
    }
  }

  async stream(route: Route, seconds: number, streams: number): Promise<Stream> {
    const [machine, agents] = [machineSeconds(), await this.#agentSeconds()];
    const result = await tcpFlow(route, { seconds, streams });
    const gigabytes = result.bytes / GB;
    const secondsPerGb = (machineSeconds() - machine) / gigabytes;
    return { ...result, secondsPerGb, agentSecondsPerGb: ((await this.#agentSeconds()) - agents) / gigabytes };
  }

  /** Of the sender's agent, since this was last asked: p99, ms. undefined: it does not tell. */
  async loopDelay(): Promise<number | undefined> {
    return this.#from.hasMetrics ? await loopDelay(this.#from.host) : undefined;
  }

  /** Of the two agents the larger one, MB. */
  async resident(): Promise<number> {
    const all = await Promise.all([this.#from, this.#to].map(({ agent }) => memoryOf(agent.pid)));
    return Math.max(...all.map(({ resident }) => resident));
  }

  async #agentSeconds(): Promise<number> {
    const [from, to] = await Promise.all([cpuSeconds(this.#from.agent.pid), cpuSeconds(this.#to.agent.pid)]);
    return from + to;
  }
}
