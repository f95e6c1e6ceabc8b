import { type Clock, within } from '../config/clock.ts';
import { toError } from '../config/errors.ts';
import type { Log } from '../config/log.ts';
import type { HeldLease } from '../leases/held-lease.ts';
import type { StoreVersion } from '../leases/store.ts';
import type { ClusterImage, ClusterRead } from './cluster-file.ts';
import { loadCluster, saveCluster } from './cluster-file.ts';
import type { Damage } from './own-file.ts';
import { damageProblem } from './own-file.ts';
import type { AgentMemory, HeldState } from './state-file.ts';
import { loadMemory, saveMemory } from './state-file.ts';

/** For the last writing: a disk that hangs must not keep the agent. */
const CLOSED_WITHIN_MS = 2_000;

/** The state directory while the agent runs: written one change after the other, the last one wins. */
export class Memory {
  readonly #stateDir: string;
  readonly #prefix: string;
  readonly #log: Log;
  readonly #damages: Damage[] = [];
  /** Why a file can't be written, by what that may cost. */
  readonly #unwritten = new Map<string, string>();
  #current: AgentMemory;
  #saved: AgentMemory | undefined;
  #cluster: Promise<ClusterRead> | undefined;
  #writing: Promise<unknown> = Promise.resolve();
  /** Rung when there is something else to tell. */
  onProblem: () => void = () => undefined;

  private constructor(stateDir: string, prefix: string, log: Log, current: AgentMemory) {
    this.#stateDir = stateDir;
    this.#prefix = prefix;
    this.#log = log;
    this.#current = current;
  }

  /**
   * Reads the state file and writes it at once. Whatever stands there, and whether it can be written: never rejects.
   * @param news what is to be written down with it.
   */
  static async open(
    stateDir: string,
    prefix: string,
    log: Log,
    news: (memory: AgentMemory) => Partial<AgentMemory> = () => ({}),
  ): Promise<Memory> {
    const { memory, damage } = await loadMemory(stateDir);
    const opened = new Memory(stateDir, prefix, log, memory);
    if (damage) opened.#note(damage);
    // The claim id must outlive a crash between here and the claim, or our own lease would look like a stranger's.
    opened.update(news(memory));
    await opened.settled();
    return opened;
  }

  get current(): AgentMemory {
    return this.#current;
  }

  get held(): HeldState | undefined {
    return this.#current.held;
  }

  /** What is amiss with the files, for the operator; undefined: nothing. */
  problem(): string | undefined {
    const costs = [...this.#unwritten].map(([cost, why]) => `${cost}: ${why}`);
    const problems = [...costs, ...this.#damages.flatMap((one) => damageProblem(one) ?? [])];
    return problems.length > 0 ? problems.join('; ') : undefined;
  }

  /** A file that can't be written is a problem to show, never a reason to stop. */
  update(change: Partial<AgentMemory>): void {
    this.#current = { ...this.#current, ...change };
    void this.#write('a restart may get another subnet', () => this.#save());
  }

  /** @param seen the store as it was when the lease was held; undefined: not to be relied on, the one before stays. */
  hold({ attributes, ...held }: HeldLease, seen: StoreVersion | undefined): void {
    this.update({ held: { ...held, publicIp: attributes.publicIp, seen: seen ? versionIn(seen) : this.held?.seen } });
  }

  /** The store as last seen, with the lease still held in it; undefined: as in `hold`. */
  see(seen: StoreVersion | undefined): void {
    const { held } = this;
    if (!held || !seen) return;
    const { clusterId, revision, term } = held.seen ?? {};
    if (clusterId === seen.clusterId && revision === seen.revision && term === seen.term) return;
    this.update({ held: { ...held, seen: versionIn(seen) } });
  }

  /** The store that was known when the lease was last held. */
  get known(): StoreVersion | undefined {
    return this.held?.seen;
  }

  /** Writes the cluster down, after the store that it is of. @returns whether that could be done */
  keep(image: ClusterImage): Promise<boolean> {
    this.see(image);
    return this.#write('a start without etcd may know old peers', () =>
      saveCluster(this.#stateDir, this.#prefix, image),
    );
  }

  /** The cluster as an earlier run kept it, for the lease remembered. Read once. */
  cluster(): Promise<ClusterRead> {
    this.#cluster ??= this.#readCluster();
    return this.#cluster;
  }

  /** Resolves when everything so far is written, or could not be. */
  async settled(): Promise<void> {
    await this.#writing;
  }

  /** As `settled`, but where the disk hangs it is not waited for. The last thing done here. */
  async close(clock: Clock): Promise<void> {
    const written = this.#writing.then(() => true);
    if (!(await within(clock, CLOSED_WITHIN_MS, written))) {
      this.#log.error('the state directory hangs: what was last to be written may be lost', { dir: this.#stateDir });
    }
  }

  async #readCluster(): Promise<ClusterRead> {
    const read = await loadCluster(this.#stateDir, this.#prefix);
    if (!read.ok) {
      if (read.damage) this.#note(read.damage);
      return read;
    }
    const { known } = this;
    const { clusterId, revision } = read.cluster;
    // The state file is written first: what is newer than it was not written by the run that held the lease.
    const fits = known !== undefined && known.clusterId === clusterId && known.revision >= revision;
    return fits ? read : { ok: false, reason: 'the leases remembered are of another store than the own lease' };
  }

  /** What was changed again before it was written needs no second write. */
  async #save(): Promise<void> {
    const current = this.#current;
    if (this.#saved === current) return;
    await saveMemory(this.#stateDir, current);
    this.#saved = current;
  }

  #note(damage: Damage): void {
    const { file, problem, keptAs } = damage;
    this.#damages.push(damage);
    this.#log.warn('a file of the state directory is not believed: set aside', { file, keptAs, problem });
    this.onProblem();
  }

  #write(cost: string, work: () => Promise<void>): Promise<boolean> {
    const done = this.#writing.then(async () => {
      try {
        await work();
        this.#unwritten.delete(cost);
        return true;
      } catch (error) {
        if (!this.#unwritten.has(cost)) this.#log.error('the state directory can not be written to', { error });
        this.#unwritten.set(cost, toError(error).message);
        return false;
      } finally {
        this.onProblem();
      }
    });
    this.#writing = done;
    return done;
  }
}

function versionIn({ clusterId, revision, term }: StoreVersion): StoreVersion {
  return { clusterId, revision, ...(term !== undefined && { term }) };
}
