/**
 * Per object: what the kernel refused, what somebody else keeps changing, and when it is tried again.
 *
 *   refused ──────────► waiting, longer each time ──► due ──► done, or right by itself: settled
 *   repaired often ───►    └── a change of what is wanted: due at once
 */
import { type Clock, jittered } from '../config/clock.ts';
import type { KernelRefusal } from './kernel/kernel.ts';

const REFUSED_MS = { first: 200, most: 30_000 } as const;
const FOUGHT_MS = { first: 250, most: 30_000 } as const;
/** More repairs of one object than this within a minute: somebody fights us. */
const FIGHT = { repairs: 5, withinMs: 60_000 } as const;
const SPREAD = 0.3;
/** A fight is the same one when it flares up again within this. */
const FIGHT_MEMORY_MS = 600_000;

export interface Trouble {
  /** Wall clock, ms. */
  readonly since: number;
  readonly attempts: number;
  /** `ENETUNREACH: Nexthop has invalid gateway`, or that others write the object and what they made of it. */
  readonly error: string;
}

interface Entry {
  readonly trouble: Trouble;
  readonly isRefused: boolean;
  /** Monotonic clock, ms. */
  readonly retryAt: number;
}

export class Troubles {
  readonly #clock: Clock;
  readonly #witness: string;
  readonly #entries = new Map<string, Entry>();
  /** When each object was repaired within the last minute, the latest repaired last. */
  readonly #repairs = new Map<string, readonly number[]>();
  /** When each object had to wait because of a fight, the latest last. */
  readonly #fights = new Map<string, number>();

  /** `witness`: the command that shows who changes such objects. */
  constructor(clock: Clock, witness = 'ip monitor') {
    this.#clock = clock;
    this.#witness = witness;
  }

  get size(): number {
    return this.#entries.size;
  }

  keys(): Iterable<string> {
    return this.#entries.keys();
  }

  list(): (Trouble & { readonly object: string })[] {
    return Array.from(this.#entries, ([object, { trouble }]) => ({ object, ...trouble }));
  }

  /** What one batch was refused is tried again together: a route needs its nexthop, and one batch costs less than many. */
  refused(refusals: ReadonlyMap<string, KernelRefusal>): void {
    const from = { now: this.#clock.monotonic(), spread: jittered(this.#clock, 1, SPREAD) };
    for (const [key, { errno, detail }] of refusals) {
      const known = this.#entries.get(key)?.trouble;
      const attempts = (known?.attempts ?? 0) + 1;
      const error = detail ? `${errno}: ${detail}` : errno;
      const retryAt = from.now + from.spread * doubled(REFUSED_MS, attempts - 1);
      const trouble = { since: known?.since ?? this.#clock.now(), attempts, error };
      this.#entries.set(key, { trouble, isRefused: true, retryAt });
    }
  }

  /**
   * Counts a repair of what somebody else changed. `why`: what was found instead.
   * @returns false where it has to wait, because there were too many.
   */
  mayRepair(key: string, why: string): boolean {
    const now = this.#clock.monotonic();
    const recent = (this.#repairs.get(key) ?? []).filter((at) => at > now - FIGHT.withinMs);
    const [first = now] = recent;
    if (recent.length < FIGHT.repairs || this.#entries.has(key)) {
      this.#remember(key, [...recent, now]);
      return true;
    }
    const error = `another program keeps changing it (see \`${this.#witness}\`): ${why}`;
    const trouble = { since: this.#clock.now() - (now - first), attempts: recent.length, error };
    const wait = jittered(this.#clock, doubled(FOUGHT_MS, recent.length - FIGHT.repairs), SPREAD);
    this.#entries.set(key, { trouble, isRefused: false, retryAt: now + wait });
    return false;
  }

  /** Takes note of a fight. @returns whether it is a new one: worth a warning. */
  isNewFight(key: string): boolean {
    const isKnown = this.isFought(key);
    this.#fights.delete(key);
    this.#fights.set(key, this.#clock.monotonic());
    for (const oldest of this.#fights.keys()) {
      if (this.isFought(oldest)) break;
      this.#fights.delete(oldest);
    }
    return !isKnown;
  }

  /** Whether somebody has been fighting us over the object of late. */
  isFought(key: string): boolean {
    return (this.#fights.get(key) ?? Number.NEGATIVE_INFINITY) > this.#clock.monotonic() - FIGHT_MEMORY_MS;
  }

  /** The object is as it should be. */
  settled(key: string): void {
    this.#entries.delete(key);
  }

  /** What is wanted changed: the reason to wait is gone. */
  hurry(key: string): void {
    const entry = this.#entries.get(key);
    if (entry) this.#entries.set(key, { ...entry, retryAt: this.#clock.monotonic() });
  }

  /** What the kernel refused, it may take now: all of that is tried at once. */
  hurryRefused(): void {
    for (const [key, { isRefused }] of this.#entries) if (isRefused) this.hurry(key);
  }

  /** It can't be tried now, though its time has come: else the loop would spin until it can. */
  putOff(key: string): void {
    const entry = this.#entries.get(key);
    if (entry) this.#entries.set(key, { ...entry, retryAt: this.#clock.monotonic() + REFUSED_MS.first });
  }

  isRefused(key: string): boolean {
    return this.#entries.get(key)?.isRefused ?? false;
  }

  isWaiting(key: string): boolean {
    const entry = this.#entries.get(key);
    return entry !== undefined && entry.retryAt > this.#clock.monotonic();
  }

  /** Keys whose time has come. */
  due(): string[] {
    const now = this.#clock.monotonic();
    return [...this.#entries].flatMap(([key, { retryAt }]) => (retryAt <= now ? [key] : []));
  }

  /** Milliseconds until the next one is due; Infinity where there is none. */
  nextMs(): number {
    let next = Number.POSITIVE_INFINITY;
    for (const { retryAt } of this.#entries.values()) next = Math.min(next, retryAt);
    return Math.max(0, next - this.#clock.monotonic());
  }

  #remember(key: string, times: readonly number[]): void {
    this.#repairs.delete(key);
    this.#repairs.set(key, times);
    const past = this.#clock.monotonic() - FIGHT.withinMs;
    for (const [oldest, at] of this.#repairs) {
      if ((at.at(-1) ?? 0) > past) break;
      this.#repairs.delete(oldest);
    }
  }
}

function doubled({ first, most }: { readonly first: number; readonly most: number }, times: number): number {
  return Math.min(first * 2 ** times, most);
}
