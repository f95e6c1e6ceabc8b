/**
 * Where agents are measured: a lab of one host with etcd at hand. The host is the same for every run, and cleaned after
 * each: to make another one, and to have the kernel take the last one apart, would disturb the next measurement.
 */
import type { Status } from '../../agent/status.ts';
import { PREFIX } from '../support/agent.ts';
import { eventually } from '../support/eventually.ts';
import type { Host } from '../support/host.ts';
import { createLab, type Lab, type LabOptions } from '../support/hosts.ts';
import type { LabEtcd } from '../support/lab-etcd.ts';
import { peerLease, peerSubnets } from '../support/peers.ts';
import type { LabProcess } from '../support/process.ts';
import { inRepository } from '../support/repository.ts';
import type { Contestant } from './contestant.ts';
import type { Answered, Arrived, Burst, Committed, Published, Started, Written } from './instant.ts';
import { hear, isEvent, LIMIT_MS, launch } from './programs.ts';

const SUBNET_FILE = '/run/flannel/subnet.env';
const LOG = '/run/agent.log';
const STATUS = '/run/status.json';
/** Into a file: what it can't write at once to a pipe or a socket is lost when it ends. */
const TARTAN_STATUS = ['-c', `"$0" "$@" >${STATUS}`, process.execPath, inRepository('dist/agent/main.js')];
const DEVICE = 'flannel.1';
/** What flannel's own documentation has. */
export const SMALL_NETWORK = '10.5.0.0/16';

/** Without firewall rules nftables are not used either, but flanneld asks for br_netfilter unless they are chosen. */
function networkConfig(network: string): string {
  return JSON.stringify({ Network: network, SubnetLen: 24, EnableNFTables: true, Backend: { Type: 'vxlan' } });
}

function parseExec(line: string) {
  if (!isEvent(line, 'exec')) return undefined;
  const said: Started = JSON.parse(line);
  return said;
}

function parseFile(line: string) {
  if (!isEvent(line, 'file')) return undefined;
  const said: Published = JSON.parse(line);
  return said;
}

/** Routes that came into the host's main table since the clock was started, and when. */
export class RouteClock {
  readonly #process: LabProcess;
  readonly #at = new Map<string, number>();
  /** How long each route was away, ms, each time. */
  readonly #absences = new Map<string, readonly number[]>();
  readonly #goneAt = new Map<string, number>();
  #read = 0;

  private constructor(process: LabProcess) {
    this.#process = process;
  }

  static async start(host: Host): Promise<RouteClock> {
    const process = launch(host, 'route-clock.js', []);
    await process.until((line) => isEvent(line, 'listening'));
    return new RouteClock(process);
  }

  /** Instants at which the routes first came, in the order given; waits until all are there. */
  async arrivals(destinations: readonly string[]): Promise<readonly number[]> {
    await eventually(`${destinations.length} routes`, () => this.#hasAll(destinations), {
      timeoutMs: LIMIT_MS,
      everyMs: 20,
    });
    return destinations.map((dst) => this.#at.get(dst) ?? Number.NaN);
  }

  /** Instants at which the routes went, in the order given; waits until none is there. */
  async departures(destinations: readonly string[]): Promise<readonly number[]> {
    const areGone = () => {
      this.#readOn();
      return destinations.every((dst) => this.#goneAt.has(dst));
    };
    await eventually(`${destinations.length} routes gone`, areGone, { timeoutMs: LIMIT_MS, everyMs: 20 });
    return destinations.map((dst) => this.#goneAt.get(dst) ?? Number.NaN);
  }

  /** How long the route was away each time so far, ms; that it is away now does not count yet. */
  absences(dst: string): readonly number[] {
    this.#readOn();
    return this.#absences.get(dst) ?? [];
  }

  #hasAll(destinations: readonly string[]): boolean {
    this.#readOn();
    return destinations.every((dst) => this.#at.has(dst));
  }

  #readOn(): void {
    const { lines } = this.#process;
    for (const line of lines.slice(this.#read)) this.#note(line);
    this.#read = lines.length;
  }

  #note(line: string): void {
    if (isEvent(line, 'lost')) throw new Error(`the route clock lost events: ${line}`);
    if (!isEvent(line, 'routes')) return;
    const { routes }: Arrived = JSON.parse(line);
    for (const { dst, at, gone } of routes) {
      const goneAt = this.#goneAt.get(dst);
      if (gone) this.#goneAt.set(dst, at);
      else this.#goneAt.delete(dst);
      if (!gone && goneAt !== undefined) this.#absences.set(dst, [...(this.#absences.get(dst) ?? []), at - goneAt]);
      if (!gone && !this.#at.has(dst)) this.#at.set(dst, at);
    }
  }

  stop(): Promise<unknown> {
    return this.#process.kill();
  }
}

/** What was changed in a host's tables since the clock was started. */
export class WriteClock {
  readonly #process: LabProcess;

  private constructor(process: LabProcess) {
    this.#process = process;
  }

  static async start(host: Host): Promise<WriteClock> {
    const process = launch(host, 'write-clock.js', []);
    await process.until((line) => isEvent(line, 'listening'));
    return new WriteClock(process);
  }

  /** So far; `lastAt` 0 where there was none. */
  get written(): Written {
    const lost = this.#process.lines.find((line) => isEvent(line, 'lost'));
    if (lost !== undefined) throw new Error(`the write clock lost events: ${lost}`);
    const line = this.#process.lines.findLast((line) => isEvent(line, 'writes'));
    return line === undefined ? { writes: 0, lastAt: 0 } : JSON.parse(line);
  }

  stop(): Promise<unknown> {
    return this.#process.kill();
  }
}

/** One start of an agent. */
export class Run {
  readonly #host: Host;
  readonly #stopwatch: LabProcess;
  readonly execAt: number;
  readonly pid: number;

  private constructor(host: Host, stopwatch: LabProcess, execAt: number, pid: number) {
    this.#host = host;
    this.#stopwatch = stopwatch;
    this.execAt = execAt;
    this.pid = pid;
  }

  static async start(host: Host, endpoint: string, { argv }: Contestant): Promise<Run> {
    const flags = [`--etcd-endpoints=${endpoint}`, '--iface=eth0'];
    const stopwatch = launch(host, 'stopwatch.js', [LOG, SUBNET_FILE, ...argv, ...flags]);
    const { at, pid } = await hear(stopwatch, parseExec);
    return new Run(host, stopwatch, at, pid);
  }

  /** From exec to the subnet file, ms. */
  async startMs(): Promise<number> {
    try {
      const { at } = await hear(this.#stopwatch, parseFile);
      return at - this.execAt;
    } catch (cause: unknown) {
      const log = ((await this.#host.read(LOG)) ?? '').split('\n').slice(-12).join('\n');
      throw new Error(`the agent published nothing\n${log}`, { cause });
    }
  }

  /** Lets the agent end as a service manager does. */
  async stop(): Promise<void> {
    await this.#stopwatch.stop('SIGTERM');
  }
}

export class Course {
  readonly #lab: Lab;
  readonly #host: Host;
  /** How many of the first peers are in etcd. */
  #peers = 0;

  private constructor(lab: Lab) {
    this.#lab = lab;
    this.#host = lab.host(1);
  }

  static async open(network: string, options: LabOptions = {}): Promise<Course> {
    const lab = await createLab({ hosts: 1, ...options });
    try {
      await lab.etcd.put(`${PREFIX}/config`, networkConfig(network));
      return new Course(lab);
    } catch (fault: unknown) {
      lab.destroy();
      throw fault;
    }
  }

  get etcd(): LabEtcd {
    return this.#lab.etcd;
  }

  /** Puts the first `count` peers into etcd, as far as they are not there yet. */
  async havePeers(count: number): Promise<void> {
    if (count <= this.#peers) return;
    const committer = this.#commit('load', this.#peers, count - this.#peers);
    const { status } = await committer.exited;
    if (status !== 0) throw new Error(committer.tail());
    this.#peers = count;
  }

  /** Takes peers out of etcd again, in one transaction: of at most 128 keys, then. */
  async unload(first: number, count: number): Promise<void> {
    const indices = Array.from({ length: count }, (_, i) => first + i);
    const deletions = indices.map((index) => `del ${peerLease(index).key}\n`).join('');
    await this.#lab.etcd.ctl(['txn'], { input: `\n${deletions}\n\n` });
  }

  /** Puts peers one at a time. @returns when each was put */
  async change(first: number, count: number): Promise<Committed['puts']> {
    const { puts }: Committed = JSON.parse(await this.#told('put', 'change', first, count));
    return puts;
  }

  /** Puts peers as fast as etcd takes them, all on one etcd lease. */
  async burst(first: number, count: number): Promise<Burst> {
    const burst: Burst = JSON.parse(await this.#told('burst', 'burst', first, count));
    return burst;
  }

  /** Ends an etcd lease, and with it, in one revision, all that hangs on it. */
  async revoke(lease: string): Promise<Answered> {
    const revoked: Answered = JSON.parse(await this.#told('revoked', 'revoke', lease));
    return revoked;
  }

  /** What a committer tells before it ends. */
  async #told(event: string, mode: string, ...args: readonly (string | number)[]): Promise<string> {
    const committer = this.#commit(mode, ...args);
    const line = await committer.until((line) => isEvent(line, event), LIMIT_MS);
    await committer.exited;
    return line;
  }

  #commit(mode: string, ...args: readonly (string | number)[]): LabProcess {
    return launch(this.#lab.switch, 'committer.js', [this.#lab.etcd.endpoint, mode, ...args.map(String)]);
  }

  start(contestant: Contestant): Promise<Run> {
    return Run.start(this.#host, this.#lab.etcd.endpoint, contestant);
  }

  clockRoutes(): Promise<RouteClock> {
    return RouteClock.start(this.#host);
  }

  countWrites(): Promise<WriteClock> {
    return WriteClock.start(this.#host);
  }

  /** What the running tartan says of itself; rejects where none answers. */
  async status(): Promise<Status> {
    await this.#host.run('sh', [...TARTAN_STATUS, 'status', '--json']);
    const status: Status = JSON.parse((await this.#host.read(STATUS)) ?? '');
    return status;
  }

  /** A metric of the tartan that serves them on this port. */
  async metric(port: number, name: string): Promise<number> {
    const script = `console.log(await (await fetch('http://127.0.0.1:${port}/metrics')).text())`;
    const text = await this.#host.run(process.execPath, ['--input-type=module', '-e', script]);
    return Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1]);
  }

  /** The subnet that the agent published, as a route has it. */
  async ownSubnet(): Promise<string> {
    return ((await this.#host.subnetEnv())?.subnet ?? '').replace(/\.1\//, '.0/');
  }

  /** How many of each kind of a peer's entries the kernel has; neighbours and FDB entries are written before routes. */
  async entries(): Promise<{ readonly routes: number; readonly neighbours: number; readonly fdb: number }> {
    const count = async (command: string, ...args: readonly string[]) =>
      (await this.#host.run(command, [...args, 'show', 'dev', DEVICE])).split('\n').filter((line) => line !== '')
        .length;
    const routes = await count('ip', '-4', 'route');
    const neighbours = await count('ip', '-4', 'neigh');
    return { routes, neighbours, fdb: await count('bridge', 'fdb') };
  }

  /** What a reader of the file waits for is gone, as /run is after a boot; lease, state and device stay. */
  async forgetSubnetFile(): Promise<void> {
    await this.#host.run('rm', ['-rf', '/run/flannel']);
  }

  /** As if there had never been an agent on the host: device (and all that hangs on it), rules, files and lease. */
  async clean(): Promise<void> {
    const own = await this.ownSubnet();
    await this.#host.exec('ip', ['link', 'del', DEVICE]);
    await this.#host.run('sh', ['-c', 'rm -rf /run/flannel /run/tartan /var/lib/tartan; nft flush ruleset || true']);
    if (own !== '') await this.#lab.etcd.ctl(['del', `${PREFIX}/subnets/${own.replace('/', '-')}`]);
    await this.#lab.etcd.ctl(['del', '--prefix', `${PREFIX}/tartan/`]);
  }

  close(): void {
    this.#lab.destroy();
  }
}

/** A course for as long as `work` lasts. */
export async function onCourse<T>(
  network: string,
  work: (course: Course) => Promise<T>,
  options: LabOptions = {},
): Promise<T> {
  const course = await Course.open(network, options);
  try {
    return await work(course);
  } finally {
    course.close();
  }
}

/** Starts, lets `measure` see the running agent, stops and cleans, whatever happens. */
export async function withAgent<T>(
  course: Course,
  contestant: Contestant,
  measure: (run: Run) => Promise<T>,
): Promise<T> {
  const run = await course.start(contestant);
  try {
    return await measure(run);
  } finally {
    await run.stop();
    await course.clean();
  }
}

/** As `withAgent`, once the subnet file and the routes of the first `peers` peers are there. */
export async function withPeers<T>(
  course: Course,
  contestant: Contestant,
  peers: number,
  measure: (run: Run, clock: RouteClock) => Promise<T>,
): Promise<T> {
  const clock = await course.clockRoutes();
  return await withAgent(course, contestant, async (run) => {
    await run.startMs();
    await clock.arrivals(peerSubnets(peers));
    return await measure(run, clock);
  }).finally(() => clock.stop());
}
