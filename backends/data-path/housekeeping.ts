import { COUNTERS } from './counters.ts';
import { type LoopCounts, PATH_COUNTERS } from './loop-counts.ts';
import type { WorkerInbox } from './worker-inbox.ts';

/** How old what the main thread sees may be. */
const PUBLISH_MS = 100;
/** Who looks on is not to be told more often. */
const NEWS_MS = 1_000;
const REPLIES_MS = 100;
/** ICMP errors in that time: as many as somebody needs who tries, not as many as somebody asks for who floods. */
const REPLIES = 20;

const FILTERED = COUNTERS.flatMap(({ kind }, i) => (kind === 'filter' ? [i] : []));

/** What is to be done now and then while packets pass: the main thread is told, the core allowed some ICMP errors. */
export class Housekeeping {
  readonly #inbox: WorkerInbox;
  readonly #counts: LoopCounts;
  readonly #values = new Float64Array(PATH_COUNTERS.length);
  #isDirty = true;
  #publishAt = 0;
  #newsAt = 0;
  #repliesAt = 0;
  #told = 0;

  constructor(inbox: WorkerInbox, counts: LoopCounts) {
    this.#inbox = inbox;
    this.#counts = counts;
  }

  /** @param now monotonic, ms @param hasWorked packets passed since it was called last */
  keep(now: number, hasWorked: boolean): void {
    this.#isDirty ||= hasWorked;
    if (now >= this.#repliesAt) {
      this.#repliesAt = now + REPLIES_MS;
      this.#inbox.core.allowReplies(REPLIES);
    }
    if (this.#isDirty && now >= this.#publishAt) this.#publish(now);
    if (this.#hasNews() && now >= this.#newsAt) this.#tellNews(now);
  }

  /** How long nothing is to be done here where no packet comes; -1: for ever. */
  restMs(now: number): number {
    if (this.#isDirty) return Math.max(0, Math.ceil(this.#publishAt - now));
    return this.#hasNews() ? Math.max(0, Math.ceil(this.#newsAt - now)) : -1;
  }

  #publish(now: number): void {
    this.#isDirty = false;
    this.#publishAt = now + PUBLISH_MS;
    this.#inbox.core.copyCounters(this.#values);
    this.#values.set(this.#counts.values, COUNTERS.length);
    this.#inbox.page.publish(this.#values);
  }

  #newsworthy(): number {
    return FILTERED.reduce((sum, i) => sum + (this.#values[i] ?? 0), this.#counts.refused);
  }

  #hasNews(): boolean {
    return this.#newsworthy() !== this.#told;
  }

  #tellNews(now: number): void {
    this.#newsAt = now + NEWS_MS;
    this.#told = this.#newsworthy();
    const seen = this.#inbox.core.takeStrangers();
    if (seen.length > 0) this.#inbox.say({ kind: 'strangers', seen });
    this.#inbox.say({ kind: 'refusals', refusals: this.#counts.refusals() });
  }
}
