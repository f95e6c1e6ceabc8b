import { toError } from '../config/errors.ts';
import type { Log } from '../config/log.ts';
import type { HeldLease } from '../leases/held-lease.ts';
import type { StoreVersion } from '../leases/store.ts';
import type { AgentMemory } from './state-file.ts';
import { loadMemory, saveMemory, stateFile } from './state-file.ts';

/** The state file while the agent runs: written one change after the other, the last one wins. */
export class Memory {
  readonly #stateDir: string;
  readonly #log: Log;
  #current: AgentMemory;
  #saving: Promise<void> = Promise.resolve();
  /** Told why the file can't be written, undefined when it can again. */
  onProblem: (problem: string | undefined) => void = () => undefined;

  private constructor(stateDir: string, log: Log, current: AgentMemory) {
    this.#stateDir = stateDir;
    this.#log = log;
    this.#current = current;
  }

  /** Reads the file and writes it at once. Rejects with PERMISSION. */
  static async open(stateDir: string, log: Log): Promise<Memory> {
    const { memory, problem } = await loadMemory(stateDir);
    const file = stateFile(stateDir);
    if (problem) log.warn('the state file is damaged: set aside', { file, keptAs: `${file}.damaged`, problem });
    // The claim id must outlive a crash between here and the claim, or our own lease would look like a stranger's.
    await saveMemory(stateDir, memory);
    return new Memory(stateDir, log, memory);
  }

  get current(): AgentMemory {
    return this.#current;
  }

  /** A file that can't be written is a problem to show, never a reason to stop. */
  update(change: Partial<AgentMemory>): void {
    this.#current = { ...this.#current, ...change };
    this.#saving = this.#saving.then(() => this.#save());
  }

  /** @param seen the store as it was when the lease was held; undefined: not to be relied on, the one before stays. */
  hold(held: HeldLease, seen: StoreVersion | undefined): void {
    const { key, value, subnet, subnet6, etcdLease, expiresAt, attributes } = held;
    const version = versionIn(seen ?? this.#current.held ?? { clusterId: '', revision: 0 });
    const { publicIp } = attributes;
    this.update({ held: { key, value, subnet, subnet6, etcdLease, expiresAt, publicIp, ...version } });
  }

  /** The store as last seen, with the lease still held in it; undefined: as in `hold`. */
  see(seen: StoreVersion | undefined): void {
    const { held } = this.#current;
    if (!held || !seen) return;
    const { clusterId, revision, term } = held;
    if (clusterId === seen.clusterId && revision === seen.revision && term === seen.term) return;
    this.update({ held: { ...held, ...versionIn(seen) } });
  }

  /** The store that was known when the lease was last held. */
  get known(): StoreVersion | undefined {
    const { held } = this.#current;
    return held && held.clusterId !== '' ? versionIn(held) : undefined;
  }

  /** Resolves when everything so far is written, or could not be. */
  async settled(): Promise<void> {
    await this.#saving;
  }

  async #save(): Promise<void> {
    try {
      await saveMemory(this.#stateDir, this.#current);
      this.onProblem(undefined);
    } catch (error) {
      this.#log.error('the state file could not be written', { error });
      this.onProblem(`a restart may get another subnet: ${toError(error).message}`);
    }
  }
}

function versionIn({ clusterId, revision, term }: StoreVersion): StoreVersion {
  return { clusterId, revision, ...(term !== undefined && { term }) };
}
