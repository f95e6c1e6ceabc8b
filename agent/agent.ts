/**
 * The agent: wiring only. Every part is started here, told what it needs to know, and stopped by one signal.
 *
 *   Cluster (etcd) ──peers──▶ Reconciler (kernel)
 *      │  └──own key──▶ Holder (lease)            status ◀── everything
 *      └──config──▶ follow or ask for a restart
 */
import type { Kernel } from '../backends/kernel/kernel.ts';
import { openKernel } from '../backends/kernel/linux-kernel.ts';
import { TartanError } from '../config/errors.ts';
import type { AcquireRequest } from '../leases/ground.ts';
import type { LeaseOwner } from '../leases/lease.ts';
import type { Store } from '../leases/store.ts';
import type { AgentContext } from './agent-context.ts';
import { AgentStatus } from './agent-status.ts';
import { readTextFile } from './atomic-file.ts';
import { Cluster } from './cluster.ts';
import { recallUnlisted, resumeEarly } from './early-resumption.ts';
import { EtcdAddresses } from './etcd-addresses.ts';
import { EtcdConnection } from './etcd-connection.ts';
import { footprint, removeHalfWritten } from './footprint.ts';
import { serveHealth } from './health.ts';
import { identifyHost } from './host-facts.ts';
import { join } from './joining.ts';
import { Memory } from './memory.ts';
import { Metrics } from './metrics.ts';
import { Network } from './network.ts';
import type { RememberDevices } from './own-devices.ts';
import { StartRush } from './start-rush.ts';
import { lockStateDir } from './state-lock.ts';
import { serveStatus } from './status-socket.ts';
import { parsePreviousSubnet } from './subnet-env.ts';
import type { Systemd } from './systemd.ts';
import { connectSystemd } from './systemd.ts';
import { Tasks } from './tasks.ts';
import { leaveToFlanneld, withdraw } from './withdrawal.ts';

/** Runs until `stop` is aborted (resolves; the network stays as it is) or until it can't go on (rejects). */
export async function runAgent(context: AgentContext, stop: AbortSignal): Promise<void> {
  const { options, log } = context;
  const lock = await lockStateDir(options.stateDir);
  const tasks = new Tasks(stop, context.clock);
  const agent = new Agent(context, tasks, lock.made);
  try {
    tasks.start(() => agent.run());
    await tasks.ended();
    log.info('stopped; the network stays as it is', { reason: String(stop.reason) });
  } catch (error) {
    if (error instanceof TartanError && error.code === 'LEASE_LOST') await agent.withdraw();
    if (error instanceof TartanError && error.code === 'LEASE_TAKEN_OVER') await agent.handOver();
    throw error;
  } finally {
    await agent.close();
    lock.release();
  }
}

class Agent {
  readonly #context: AgentContext;
  readonly #tasks: Tasks;
  readonly #systemd: Systemd;
  /** Directories made so far. */
  readonly #made: readonly string[];
  #store: Store | undefined;
  #kernel: Kernel | undefined;
  #memory: Memory | undefined;
  #cluster: Cluster | undefined;

  constructor(context: AgentContext, tasks: Tasks, made: readonly string[]) {
    this.#made = made;
    this.#context = context;
    this.#tasks = tasks;
    this.#systemd = connectSystemd(context.env, context);
  }

  /** Resolves when the host is ready; the tasks started here go on. */
  async run(): Promise<void> {
    const { options, clock, log } = this.#context;
    const { signal } = this.#tasks;
    const { stateDir, etcdPrefix: prefix } = options;
    const memory = await Memory.open(stateDir, prefix, log, (found) => footprint(found, options, this.#made));
    this.#memory = memory;
    await removeHalfWritten(options);
    const { claim, held } = memory.current;
    const owner: LeaseOwner = { ...(await identifyHost(options.nodeName, claim)), claim };
    const etcd = await EtcdConnection.open(options);
    const { store } = etcd;
    this.#store = store;
    const rush = new StartRush(clock, signal);
    const cluster = new Cluster({ store, prefix, clock, log, known: memory.known, rush });
    this.#cluster = cluster;
    const status = new AgentStatus({ ...this.#context, owner, cluster, systemd: this.#systemd });
    status.watch(() => memory.problem());
    memory.onProblem = () => status.announce();
    await this.#serve(status);
    this.#tasks.start((ending) => this.#systemd.watch(ending));
    const opening = openKernel(log).then((kernel) => {
      this.#kernel = kernel;
      return kernel;
    });
    const rememberDevices: RememberDevices = async (devices, isAdopted) => {
      const adopted = isAdopted ? { adoptedAt: clock.now() } : {};
      memory.update({ macs: new Map([...memory.current.macs, ...devices]), ...adopted });
      await memory.settled();
    };
    const macs = () => memory.current.macs;
    const facts = { options, clock, log, signal, owner, store, macs, remembered: memory, rememberDevices };
    const { known, current } = memory;
    const resuming = resumeEarly({ ...facts, known, hasRivals: current.hasRivals === true, kernel: () => opening });
    this.#tasks.start(async (ending) => {
      if (await resuming) await rush.over;
      await cluster.follow(ending);
    });
    this.#tasks.start(async (ending) => {
      if (await resuming) await recallUnlisted(facts, cluster, ending);
    });
    const etcdAddresses = new EtcdAddresses(options.etcdEndpoints);
    this.#tasks.start((ending) => etcdAddresses.follow(clock, ending));
    const onProblem = (text: string | undefined): void => status.setProblem('certificates', text);
    this.#tasks.start((ending) => etcd.followFiles({ clock, log, signal: ending, onProblem }));
    const kernel = await opening;
    const joined =
      (await resuming) ??
      (await join({
        ...{ ...facts, cluster, kernel, previous: held ?? (await this.#previous()) },
        onPhase: (phase, problem, code) => status.setPhase(phase, problem, code),
      }));
    const parts = { context: this.#context, tasks: this.#tasks, store, kernel, cluster, memory, status, owner, rush };
    await new Network({ ...parts, etcdAddresses, joined }).bringUp();
  }

  /** The lease is another host's now: peers must no longer reach its subnet here, nor Docker use it. */
  async withdraw(): Promise<void> {
    const { log } = this.#context;
    if (!this.#memory || !this.#kernel) return;
    const { current } = this.#memory;
    // Whatever may stay on the host: no later run may go by a lease that is another's.
    this.#memory.update({ held: undefined });
    try {
      const { operations, files } = await withdraw(this.#kernel, current);
      log.warn('withdrew the network of the lost lease', { kernelObjects: operations.length, files });
    } catch (error) {
      log.error('the network of the lost lease could not be withdrawn; see tartan down', { error });
    }
  }

  /** A flanneld on this host has the lease now: it gets our routes in the form that it can delete. */
  async handOver(): Promise<void> {
    const { log } = this.#context;
    if (!this.#memory || !this.#kernel) return;
    try {
      const operations = await leaveToFlanneld(this.#kernel, this.#memory.current);
      log.info('left the network to the flanneld on this host', { kernelOperations: operations.length });
    } catch (error) {
      log.error("routes hang on nexthop objects of ours, which a flanneld can't delete: restart it", { error });
    }
    // Device, routes, files and the forwarding between them are flanneld's now: a later `tartan down` must not know them.
    const journal = { ...this.#memory.current.journal, sysctls: new Map<string, string>() };
    this.#memory.update({ held: undefined, macs: new Map(), networks: [], files: [], journal });
  }

  async close(): Promise<void> {
    this.#systemd.stopping();
    this.#kernel?.close();
    this.#memory?.see(this.#cluster?.settledVersion);
    await this.#memory?.close(this.#context.clock);
    await this.#store?.close().catch(() => undefined);
  }

  /** The subnet file speaks for hosts that come from flanneld. */
  async #previous(): Promise<AcquireRequest['previous']> {
    const { options, log } = this.#context;
    const { subnet, subnet6, warnings } = parsePreviousSubnet((await readTextFile(options.subnetFile)) ?? '');
    for (const warning of warnings) {
      log.warn('the subnet file of an earlier run is odd', { file: options.subnetFile, warning });
    }
    return subnet && { subnet, subnet6 };
  }

  async #serve(status: AgentStatus): Promise<void> {
    const { options } = this.#context;
    const { signal } = this.#tasks;
    await serveStatus(options.statusSocket, () => status.read(), signal);
    if (options.healthzPort === 0) return;
    const where = { host: options.healthzIp, port: options.healthzPort };
    const metrics = new Metrics(() => ({
      status: status.read(),
      counters: status.counters(),
      timings: status.timings(),
    }));
    await serveHealth(where, { problem: () => status.notReady(), metrics }, signal);
  }
}
