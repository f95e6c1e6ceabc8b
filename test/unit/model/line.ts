/**
 * A host's line to etcd, with all that a network and a stopped process do to it:
 *
 *   process ──call──▶ on the way ──▶ etcd does it ──▶ on the way back ──▶ the process runs ──▶ answer
 *                        └ lost            └ lost: done, but nobody knows        └ too late: its deadline passed
 */
import { setMaxListeners } from 'node:events';
import { TartanError } from '../../../config/errors.ts';
import type { Store, WatchHandler } from '../../../leases/store.ts';
import type { VirtualClock } from '../../fakes/clock.ts';
import type { ProcessClock } from '../../fakes/process-clock.ts';
import type { FakeStore } from '../../fakes/store.ts';

const DEADLINE_MS = 3_000;
/** A stream on which nothing gets through is given up. */
const STREAM_DEAD_MS = 10_000;
const CALM = { callsPass: true, watchesPass: true, latencyMs: 40, lostAnswers: 0 } as const;

export type Weather = { readonly [Key in keyof typeof CALM]: (typeof CALM)[Key] extends boolean ? boolean : number };

const FOREVER = new AbortController().signal;
setMaxListeners(0, FOREVER);

/** Outlives the processes of its host. */
export class Line {
  readonly server: FakeStore;
  readonly #time: VirtualClock;
  readonly #clock: ProcessClock;
  #weather: Weather = CALM;
  #changed: (() => void)[] = [];

  constructor(server: FakeStore, time: VirtualClock, clock: ProcessClock) {
    this.server = server;
    this.#time = time;
    this.#clock = clock;
  }

  get weather(): Weather {
    return this.#weather;
  }

  get isCalm(): boolean {
    return this.#weather === CALM && this.server.isReachable;
  }

  /** undefined: as it should be. */
  turn(change: Partial<Weather> | undefined): void {
    this.#weather = change ? { ...this.#weather, ...change } : CALM;
    for (const wake of this.#changed.splice(0)) wake();
  }

  /** The store as one process has it. Of a process that is killed what was sent still arrives; nothing more is sent. */
  connect(life: AbortSignal): Store {
    const call = <T>(work: () => Promise<T>): Promise<T> => this.#call(work, life);
    const { server } = this;
    return {
      get: (key) => call(() => server.get(key)),
      list: (range, options) => call(() => server.list(range, options)),
      txn: (txn) => call(() => server.txn(txn)),
      grant: (seconds) => call(() => server.grant(seconds)),
      keepAlive: (lease) => call(() => server.keepAlive(lease)),
      timeToLive: (lease) => call(() => server.timeToLive(lease)),
      revoke: (lease) => call(() => server.revoke(lease)),
      watch: (range, from, handler) => this.#watch((slow) => server.watch(range, from, slow), handler, life),
      reconnect: () => server.reconnect(),
      close: () => server.close(),
    };
  }

  async #call<T>(work: () => Promise<T>, life: AbortSignal): Promise<T> {
    if (life.aborted) return new Promise<never>(() => undefined);
    const over = new AbortController();
    const deadline = this.#clock.sleep(DEADLINE_MS, over.signal).then(() => {
      throw new TartanError('ETCD_UNAVAILABLE', 'no answer in time');
    });
    deadline.catch(() => undefined);
    try {
      return await Promise.race([this.#exchange(work), deadline]);
    } finally {
      over.abort();
    }
  }

  async #exchange<T>(work: () => Promise<T>): Promise<T> {
    await this.#transit();
    if (!this.#weather.callsPass) return new Promise<never>(() => undefined);
    const answer = await work().then(
      (value) => () => value,
      (error: unknown) => (): T => {
        throw error;
      },
    );
    if (!this.#weather.callsPass || this.#time.random() < this.#weather.lostAnswers) {
      return new Promise<never>(() => undefined);
    }
    await this.#transit();
    await this.#clock.running();
    return answer();
  }

  #transit(): Promise<void> {
    return this.#time.sleep(Math.floor(this.#time.random() * this.#weather.latencyMs), FOREVER);
  }

  /** Everything that the server says comes later, in its order; on a dead stream nothing comes, until it is given up. */
  #watch(open: (slow: WatchHandler) => () => void, handler: WatchHandler, life: AbortSignal): () => void {
    const over = new AbortController();
    let last: Promise<void> = Promise.resolve();
    const tell = (what: () => void): void => {
      last = last.then(async () => {
        await this.#transit();
        await this.#passes(over.signal);
        await this.#clock.running();
        if (!over.signal.aborted && !life.aborted) what();
      });
    };
    const stop = open({
      onCreated: (version) => tell(() => handler.onCreated(version)),
      onEvents: (events, version) => tell(() => handler.onEvents(events, version)),
      onEnd: (why) => tell(() => handler.onEnd(why)),
    });
    const end = (): void => {
      life.removeEventListener('abort', end);
      over.abort();
      stop();
    };
    life.addEventListener('abort', end, { once: true });
    void this.#giveUp(over.signal).then((isDead) => {
      if (!isDead || over.signal.aborted || life.aborted) return;
      end();
      handler.onEnd({ compacted: false, renewed: false, reason: 'the stream is dead' });
    });
    return end;
  }

  /** Resolves while watches pass. */
  async #passes(over: AbortSignal): Promise<void> {
    while (!this.#weather.watchesPass && !over.aborted) await this.#change(over);
  }

  #change(over: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      this.#changed.push(resolve);
      over.addEventListener('abort', () => resolve(), { once: true });
    });
  }

  /** @returns true when nothing passed for long, false where the stream is over before. */
  async #giveUp(over: AbortSignal): Promise<boolean> {
    for (;;) {
      while (this.#weather.watchesPass && !over.aborted) await this.#change(over);
      const slept = await this.#clock.sleep(STREAM_DEAD_MS, over).then(
        () => true,
        () => false,
      );
      if (!slept) return false;
      if (!this.#weather.watchesPass) return true;
    }
  }
}
