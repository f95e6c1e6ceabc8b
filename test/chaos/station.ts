/** A host of the fleet: its agent as a supervisor keeps it, its container, and the packets that this one sends. */

import { writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import type { Status } from '../../agent/status.ts';
import { readStatus } from '../../agent/status-socket.ts';
import { startAgent, tartan } from '../support/agent.ts';
import type { Container, Host } from '../support/host.ts';
import type { Lab } from '../support/hosts.ts';
import type { Exit, LabProcess } from '../support/process.ts';
import type { ProbeReport } from './prober.ts';
import { Trouble } from './trouble.ts';

const PROBER = fileURLToPath(new URL('prober.js', import.meta.url));
const PEERS_FILE = '/run/chaos-peers.json';
const LOG_TAIL = 25;
const PROBER_WITHIN_MS = 60_000;

/** Who is told what a station meets. */
export interface StationListener {
  onProbes(station: Station, report: ProbeReport): void;
  /** An end that nobody here asked for. */
  onEnd(station: Station, agent: LabProcess, exit: Exit): void;
}

export class Station {
  readonly lab: Lab;
  readonly host: Host;
  readonly index: number;
  /** Of the agent, and of what it needs of this host: its cable. */
  readonly trouble = new Trouble();
  /** Of the address on the wire, without which no agent can start. */
  readonly addressTrouble = new Trouble();
  readonly #flags: readonly string[];
  readonly #listener: StationListener;
  #agent: LabProcess | undefined;
  readonly #agents: LabProcess[] = [];
  #isFrozen = false;
  #container: { readonly subnet: string; readonly at: Container; readonly prober: LabProcess } | undefined;
  /** The subnet that the running agent has had. */
  subnet: string | undefined;
  /** The one that this host had last. */
  lastSubnet: string | undefined;
  /** Whether the next start may come to another subnet: its state is gone. */
  mayMove = true;

  constructor(lab: Lab, host: Host, index: number, flags: readonly string[], listener: StationListener) {
    this.lab = lab;
    this.host = host;
    this.index = index;
    this.#flags = flags;
    this.#listener = listener;
  }

  get name(): string {
    return this.host.name;
  }

  get isRunning(): boolean {
    return this.#agent?.running === true && !this.#isFrozen;
  }

  get containerIp(): string | undefined {
    return this.#container?.at.ip;
  }

  /** `10.5.3.0/24`, of the container's bridge. */
  get containerSubnet(): string | undefined {
    return this.#container?.subnet;
  }

  get pid(): number | undefined {
    return this.#agent?.pid;
  }

  /** Nothing where it runs already. */
  start(): void {
    if (this.#agent?.running) return;
    const agent = startAgent(this.lab, this.host, tartan, this.#flags);
    this.#agent = agent;
    this.#agents.push(agent);
    this.subnet = undefined;
    void agent.exited.then((exit) => {
      if (this.#agent === agent) this.#listener.onEnd(this, agent, exit);
    });
  }

  /** Ends the agent; nobody is to wonder at it. */
  async end(signal: NodeJS.Signals): Promise<void> {
    const agent = this.#agent;
    this.#agent = undefined;
    this.subnet = undefined;
    await agent?.stop(signal);
  }

  /** It was ended by somebody else, who said so. */
  disown(): LabProcess | undefined {
    const agent = this.#agent;
    this.#agent = undefined;
    this.subnet = undefined;
    return agent;
  }

  freeze(): void {
    this.#isFrozen = true;
    this.#agent?.signal('SIGSTOP');
  }

  thaw(): void {
    this.#agent?.signal('SIGCONT');
    this.#isFrozen = false;
  }

  /** undefined: nobody answers. */
  async status(): Promise<Status | undefined> {
    if (!this.isRunning) return undefined;
    return await readStatus(this.host.path('/run/flannel/subnet.sock')).catch(() => undefined);
  }

  /** The container as the published subnet wants it. @returns whether it had to be made anew */
  async plumb(): Promise<boolean> {
    const env = await this.host.subnetEnv();
    if (env === undefined) return false;
    const subnet = env.subnet.replace(/\.1\//, '.0/');
    if (this.#container?.subnet === subnet) return false;
    await this.#unplumb();
    const at = await this.host.bridge(env);
    const prober = at.spawn(process.execPath, [PROBER, this.name, at.ip, PEERS_FILE]);
    prober.onLine((line) => {
      if (line.startsWith('{"sent"')) this.#listener.onProbes(this, JSON.parse(line));
    });
    await prober.until(/^listening$/, PROBER_WITHIN_MS);
    this.#container = { subnet, at, prober };
    return true;
  }

  async #unplumb(): Promise<void> {
    if (this.#container === undefined) return;
    await this.#container.prober.kill();
    // A namespace gives its devices back when it likes; the cable goes at once.
    await this.host.exec('ip', ['link', 'del', 'veth2']);
    await this.host.exec('ip', ['netns', 'del', this.#container.at.name]);
    await this.host.exec('ip', ['link', 'del', 'docker0']);
    this.#container = undefined;
  }

  /** Containers to send to, by station. */
  async tellPeers(peers: Readonly<Record<string, string>>): Promise<void> {
    await writeFile(this.host.path(PEERS_FILE), JSON.stringify(peers));
  }

  /** Of every agent that it has had. */
  get log(): string {
    return this.#agents.map(({ lines, pid }) => [`--- pid ${pid}`, ...lines, ''].join('\n')).join('');
  }

  logTail(): string {
    return this.#agent?.tail(LOG_TAIL) ?? `--- ${this.name} has no agent`;
  }
}
