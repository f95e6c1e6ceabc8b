import type { Clock } from '../../config/clock.ts';
import { silentLog } from '../../config/log.ts';
import type { KeyRange, Store, StoreEvent } from '../../leases/store.ts';
import { type FollowOptions, type FollowState, followRange, type RangeSnapshot } from '../../leases/watch.ts';

/** Follows a range and keeps what a consumer would: the state that snapshots and events add up to. */
export class Follower {
  readonly snapshots: RangeSnapshot[] = [];
  readonly events: StoreEvent[] = [];
  readonly states: FollowState[] = [];
  /** Whatever came in a wrong order or twice. */
  readonly faults: string[] = [];
  readonly values = new Map<string, string>();
  readonly done: Promise<void>;
  readonly #stop = new AbortController();
  #revision = 0;
  #waiting: (() => void)[] = [];

  constructor(store: Store, range: KeyRange, clock: Clock, options: Partial<FollowOptions> = {}) {
    this.done = followRange({
      store,
      range,
      clock,
      log: silentLog,
      signal: this.#stop.signal,
      onSnapshot: (snapshot) => this.#note(() => this.#replace(snapshot)),
      onEvents: (events, revision) => this.#note(() => this.#apply(events, revision)),
      onState: (state) => this.#note(() => this.states.push(state)),
      ...options,
    });
    this.done.catch(() => {});
  }

  get isConnected(): boolean {
    return this.states.at(-1)?.connected ?? false;
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.done;
  }

  async until(holds: () => boolean): Promise<void> {
    while (!holds()) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  #note(work: () => unknown): void {
    work();
    for (const wake of this.#waiting.splice(0)) wake();
  }

  #replace(snapshot: RangeSnapshot): void {
    this.snapshots.push(snapshot);
    this.#revision = snapshot.revision;
    this.values.clear();
    for (const kv of snapshot.kvs) this.values.set(kv.key, kv.value);
  }

  #apply(events: readonly StoreEvent[], revision: number): void {
    let last = this.#revision + 1;
    for (const event of events) {
      const at = event.type === 'put' ? event.kv.modRevision : event.modRevision;
      if (at < last || at > revision) this.faults.push(`revision ${at} after ${this.#revision}`);
      last = at;
      this.events.push(event);
      if (event.type === 'put') this.values.set(event.kv.key, event.kv.value);
      else this.values.delete(event.key);
    }
    this.#revision = revision;
  }
}
