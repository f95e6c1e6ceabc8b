/** Tells of strangers, of each verdict once; what a flood of them can make us write is limited. */
import type { Clock } from '../../config/clock.ts';
import type { Log } from '../../config/log.ts';
import type { Conclusion, Stranger } from './strangers.ts';

/** Lines of the log for each verdict: so many at once, and one more a minute. */
const LINES = { atOnce: 10, everyMs: 60_000 } as const;
const REMEMBERED = 256;

const SENTENCES = {
  tolerated: 'a peer comes from an address that its lease does not name (NAT, or a second way): it is let through',
  spoofing:
    'an address that no lease names sends in the name of a peer that is heard by its own: not to be let through',
  unknown: 'an address that no lease names sends to our VXLAN device, in the name of no peer: not to be let through',
} as const satisfies Record<Conclusion, string>;

interface StrangerLogParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly device: string;
}

export class StrangerLog {
  readonly #parts: StrangerLogParts;
  readonly #told = new Map<string, Conclusion>();
  /** What may still be told of each verdict, so that a flood of one does not drown another. */
  readonly #lines = new Map<Conclusion, { readonly left: number; readonly at: number }>();

  constructor(parts: StrangerLogParts) {
    this.#parts = parts;
  }

  tell({ source, inner, lease }: Stranger, verdict: Conclusion): void {
    const key = `${source} ${lease ?? ''}`;
    if (this.#told.get(key) === verdict || !this.#mayTell(verdict)) return;
    this.#told.delete(key);
    this.#told.set(key, verdict);
    const [eldest] = this.#told.keys();
    if (eldest !== undefined && this.#told.size > REMEMBERED) this.#told.delete(eldest);
    this.#parts.log.warn(SENTENCES[verdict], { device: this.#parts.device, source, inner, lease });
  }

  #mayTell(verdict: Conclusion): boolean {
    const now = this.#parts.clock.monotonic();
    const { left, at } = this.#lines.get(verdict) ?? { left: LINES.atOnce, at: now };
    const earned = Math.floor((now - at) / LINES.everyMs);
    const lines = Math.min(LINES.atOnce, left + earned);
    this.#lines.set(verdict, { left: Math.max(0, lines - 1), at: earned > 0 ? now : at });
    return lines > 0;
  }
}
