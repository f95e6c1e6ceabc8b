/**
 * `tartan down`: the reverse of everything that an agent does on this host. Each step is done whatever became of the
 * others, is no failure where it was done before, and what is needed to do it again goes last.
 *
 *   agent stopped ─► kernel ─► firewall ─► sysctls ─► files ─► lease (--release) ─► state directory (--purge)
 */
import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { clearFirewall } from '../../backends/firewall/clear-firewall.ts';
import { HostPrograms } from '../../backends/firewall/programs.ts';
import type { Kernel } from '../../backends/kernel/kernel.ts';
import { openKernel } from '../../backends/kernel/linux-kernel.ts';
import { TartanError, toError } from '../../config/errors.ts';
import type { Invocation } from '../../config/invocation.ts';
import { silentLog } from '../../config/log.ts';
import type { Options } from '../../config/options.ts';
import { decodeLease } from '../../leases/codec.ts';
import type { StoredLease } from '../../leases/lease.ts';
import { readView } from '../../leases/registry.ts';
import { releaseLeases } from '../../leases/release.ts';
import type { Store } from '../../leases/store.ts';
import { readTextFile } from '../atomic-file.ts';
import { cacheDirectory } from '../code-cache.ts';
import { openStore } from '../etcd-connection.ts';
import { putBack } from '../forwarding.ts';
import { identifyHost } from '../host-facts.ts';
import { bootId, changedSysctls } from '../journal.ts';
import { damagedFile } from '../own-file.ts';
import { publishedFiles } from '../publisher.ts';
import { CACHE_DIR, purge, purgeCode, purgeParents } from '../purge.ts';
import { recoverMade } from '../recovery.ts';
import { stopAgent } from '../running-agent.ts';
import type { AgentMemory } from '../state-file.ts';
import { formatMemory, freshMemory, loadMemory, saveMemory, stateFile } from '../state-file.ts';
import { removeSocket, serverOf } from '../status-socket.ts';
import { parsePreviousSubnet } from '../subnet-env.ts';
import { clearKernel, removeFiles } from '../withdrawal.ts';

/** For one look into etcd, which has to be possible to do without. */
const ETCD_WITHIN_MS = 3_000;

const say = (text: string): void => void process.stdout.write(`${text}\n`);

/** What there is to take down, as far as it is known. */
interface Footprint {
  readonly memory: AgentMemory;
  /** Why the state directory does not tell; undefined: it does. */
  readonly lost: string | undefined;
  /** The subnet file, "" where there is none. */
  readonly subnetEnv: string;
}

/** `tartan down [--release] [--purge] [--force]`. @returns 0; rejects with the first of what could not be done. */
export async function down({ options }: Invocation): Promise<number> {
  if (!existsSync(options.stateDir)) return await downWithoutState(options);
  const lock = await stopAgent(options.stateDir, say);
  try {
    const footprint = await look(options);
    if (!options.force) await refuseFlannelds(options, footprint.memory);
    await new TakingDown(options, footprint).run();
    return 0;
  } finally {
    lock.release();
  }
}

/** Nothing says that an agent ever ran here, except maybe the kernel: what bears tartan's mark there is tartan's. */
async function downWithoutState(options: Options): Promise<number> {
  const { stateDir } = options;
  const subnetEnv = await subnetEnvOf(options);
  const { isMarked, macs } = await withKernel((kernel) => recoverMade(kernel, subnetEnv));
  const devices = [...macs.keys()].join(', ');
  if (isMarked || options.force) {
    const lost = `there is no ${stateDir}`;
    await new TakingDown(options, { memory: freshMemory(), lost, subnetEnv }).run();
  } else {
    say(`there is no state directory ${stateDir}: no agent of this --etcd-prefix or --state-dir ran here`);
    say('rules of a packet filter, and files, that one left all the same: tartan down --force');
    if (devices !== '') say(`${devices} may be a flanneld's; if a tartan made it: tartan down --force`);
  }
  if (options.purge) await purgeParents(stateDir);
  return 0;
}

/** A state file that is not believed is set aside: the next one who looks finds only that. */
async function look(options: Options): Promise<Footprint> {
  const file = stateFile(options.stateDir);
  const { memory, problem } = await loadMemory(options.stateDir);
  const isSetAside = !existsSync(file) && existsSync(damagedFile(file));
  const why = problem ?? (isSetAside ? 'by an earlier look' : undefined);
  const lost = why && `the state file ${file} is not believed (${why})`;
  return { memory, lost, subnetEnv: await subnetEnvOf(options) };
}

async function subnetEnvOf({ subnetFile }: Options): Promise<string> {
  return (await readTextFile(subnetFile).catch(() => undefined)) ?? '';
}

async function withKernel<T>(work: (kernel: Kernel) => Promise<T>): Promise<T> {
  const kernel = await openKernel(silentLog);
  try {
    return await work(kernel);
  } finally {
    kernel.close();
  }
}

async function withStore<T>(options: Options, work: (store: Store) => Promise<T>): Promise<T> {
  const store = await openStore(options);
  try {
    return await work(store);
  } finally {
    await store.close().catch(() => undefined);
  }
}

/**
 * Rejects with LEASE_TAKEN_OVER where a flanneld on this host has our lease now: device and routes are its own. It may
 * have come while no agent of ours ran. With etcd away nobody can tell, and going down must be possible all the same.
 */
async function refuseFlannelds(options: Options, { held }: AgentMemory): Promise<void> {
  if (!held) return;
  const lease = await leaseAt(options, held.key);
  if (!lease || lease.owner || lease.publicIp !== held.publicIp) return;
  const message = `a flanneld on this host (${lease.publicIp}) holds the lease ${lease.key} now, and its network with it; to take that down all the same: tartan down --force`;
  throw new TartanError('LEASE_TAKEN_OVER', message);
}

/** The lease in etcd; undefined where there is none or etcd does not tell, which is said. */
async function leaseAt(options: Options, key: string): Promise<StoredLease | undefined> {
  const limit = sleep(ETCD_WITHIN_MS, undefined, { ref: false }).then(() => {
    throw new Error(`no answer within ${ETCD_WITHIN_MS / 1000} s`);
  });
  try {
    const { kv } = await Promise.race([withStore(options, (store) => store.get(key)), limit]);
    const decoded = kv && decodeLease(options.etcdPrefix, kv);
    return decoded?.ok ? decoded.lease : undefined;
  } catch (error) {
    say(`etcd does not tell who holds ${key} (${toError(error).message}): going on without`);
    return undefined;
  }
}

class TakingDown {
  readonly #options: Options;
  readonly #found: Footprint;
  readonly #failures: Error[] = [];
  #memory: AgentMemory;

  constructor(options: Options, found: Footprint) {
    this.#options = options;
    this.#found = found;
    this.#memory = found.memory;
  }

  /** Rejects with the first failure, once all the others are told and everything else is done. */
  async run(): Promise<void> {
    const { lost } = this.#found;
    if (lost) say(`${lost}: going by what the kernel and the subnet file show`);
    const isClear = await this.#try(() => this.#clearKernel());
    const isOpen = await this.#try(() => this.#clearFirewall());
    await this.#try(() => this.#putBack());
    await this.#try(() => this.#removeFiles());
    const isReleased = await this.#try(() => this.#release());
    await this.#try(() => this.#finish(isClear && isOpen && isReleased));
    const [first, ...others] = this.#failures;
    for (const { message } of others) process.stderr.write(`tartan: ${message}\n`);
    if (first) throw first;
  }

  async #try(step: () => Promise<void>): Promise<boolean> {
    try {
      await step();
      return true;
    } catch (error) {
      this.#failures.push(toError(error));
      return false;
    }
  }

  async #clearKernel(): Promise<void> {
    const { lost, subnetEnv } = this.#found;
    const done = await withKernel(async (kernel) =>
      clearKernel(kernel, lost ? await recoverMade(kernel, subnetEnv) : this.#memory),
    );
    say(done.length > 0 ? `removed ${done.length} kernel objects` : 'the kernel holds nothing of ours');
  }

  /**
   * Of what we know to have made; where nothing is known, all that bears our names. A state that names no network is
   * known too: the agent never came that far, or left all of it to a flanneld, and what stands is that one's.
   */
  async #clearFirewall(): Promise<void> {
    const { macs, networks } = this.#memory;
    const made = this.#found.lost
      ? { devices: undefined, networks: undefined }
      : { devices: [...macs.keys()], networks };
    const { said, failed } = await clearFirewall({ programs: new HostPrograms(), ...made });
    for (const line of said) say(line);
    if (failed.length > 0) throw new TartanError('FIREWALL', `rules of the packet filter stay: ${failed.join('; ')}`);
  }

  async #putBack(): Promise<void> {
    const { journal } = this.#memory;
    const { said, failed } = putBack(changedSysctls(journal, bootId()));
    for (const line of said) say(line);
    if (this.#found.lost) say('what net.ipv4.ip_forward was before is not known: it stays as it is');
    if (failed.length > 0) throw new TartanError('PERMISSION', failed.join('; '));
    this.#memory = { ...this.#memory, journal: { ...journal, sysctls: new Map() } };
  }

  /** Another agent, of another prefix, may publish in the same places by now. */
  async #removeFiles(): Promise<void> {
    const { statusSocket } = this.#options;
    const { files, journal } = this.#memory;
    const published = publishedFiles(this.#options);
    const other = await serverOf(statusSocket);
    if (other) say(`left ${published.join(', ')}: ${other}`);
    for (const socket of new Set([statusSocket, ...journal.sockets])) {
      if (!(other && socket === statusSocket)) await removeSocket(socket);
    }
    const known = this.#found.lost ? published : files;
    const removed = await removeFiles(known.filter((file) => !(other && published.includes(file))));
    for (const file of removed) say(`removed ${file}`);
    this.#memory = { ...this.#memory, files: [], journal: { ...journal, sockets: [] } };
  }

  async #release(): Promise<void> {
    const { held } = this.#memory;
    if (!this.#options.release) {
      if (held) say(`the lease of ${held.subnet} stays until it runs out; --release gives it back`);
      return;
    }
    const { released, kept } = await withStore(this.#options, async (store) =>
      releaseLeases(store, this.#options.etcdPrefix, await this.#claim(store)),
    );
    for (const { subnet } of released) say(`released the lease of ${subnet}`);
    for (const { subnet } of kept) say(`kept the reservation of ${subnet}: an operator made it`);
    if (released.length + kept.length === 0) say('this host holds no lease');
    this.#memory = { ...this.#memory, held: undefined };
  }

  /** Where the own claim id is lost: that of the lease of this very subnet and node. */
  async #claim(store: Store): Promise<string> {
    const { claim } = this.#memory;
    if (!this.#found.lost) return claim;
    const { subnet } = parsePreviousSubnet(this.#found.subnetEnv);
    const { node } = await identifyHost(this.#options.nodeName, claim);
    const { leases } = await readView(store, this.#options.etcdPrefix);
    const ours = leases.find(({ owner, ...lease }) => owner?.node === node && lease.subnet === subnet);
    return ours?.owner?.claim ?? claim;
  }

  /** What is needed to do the rest another time stays. */
  async #finish(isDone: boolean): Promise<void> {
    const { stateDir, purge: isPurge } = this.#options;
    if (isPurge && isDone) await purgeCode(cacheDirectory() ?? CACHE_DIR);
    if (isPurge && isDone && existsSync(stateDir)) {
      say(await purge(stateDir, this.#memory.journal.directories));
      return;
    }
    if (isPurge && !isDone) say(`left ${stateDir}: it is needed to do the rest; then: tartan down --purge`);
    const { memory, lost } = this.#found;
    if (!lost && formatMemory(memory) !== formatMemory(this.#memory)) await saveMemory(stateDir, this.#memory);
  }
}
