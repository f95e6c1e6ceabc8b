/**
 * Looking again at what is in doubt: the tables, who is a neighbour on the underlay, and who else uses a nexthop id of
 * ours. Not too often, and not at once where it has just failed.
 */
import type { Clock } from '../config/clock.ts';
import { toError } from '../config/errors.ts';
import type { Log } from '../config/log.ts';
import { turnOfLoop } from '../config/turn-of-loop.ts';
import { type DesiredState, publicIpsOf } from './desired-state.ts';
import type { Doubts, InDoubt } from './doubts.ts';
import type { Kernel } from './kernel/kernel.ts';
import type { KernelView } from './kernel-view.ts';
import type { NexthopIds } from './nexthop-ids.ts';
import type { OnLink } from './on-link.ts';
import type { Programming } from './programming.ts';
import type { ObjectKind } from './state.ts';
import { takenIds } from './taken-ids.ts';

/** Reading leaves the process most of its time: a storm of events costs few reads, not hundreds. */
const SPACING = { leastMs: 50, timesDuration: 4 } as const;

/** Objects: to go through them takes a millisecond. */
const MUCH = 4_000;

export interface ReadingParts {
  readonly kernel: Kernel;
  readonly view: KernelView;
  readonly desired: DesiredState;
  readonly doubts: Doubts;
  readonly onLink: OnLink;
  readonly ids: NexthopIds | undefined;
  readonly programming: Programming;
  /** Whether it matters which peers are neighbours on the underlay. */
  readonly directRouting: boolean;
  readonly clock: Clock;
  readonly log: Log;
}

/** What came of looking again: the tables that were read; where reading failed, none. */
export interface Look {
  readonly read: ReadonlySet<ObjectKind>;
  readonly failure?: Error;
}

export class Reading {
  readonly #parts: ReadingParts;
  #nextAt = Number.NEGATIVE_INFINITY;
  #failure: Error | undefined;

  constructor(parts: ReadingParts) {
    this.#parts = parts;
  }

  /** Monotonic clock, ms: before that nothing is read. */
  get nextAt(): number {
    return this.#nextAt;
  }

  /** Why the last reading that failed did. */
  get failure(): Error | undefined {
    return this.#failure;
  }

  /** The next one need not wait. */
  hurry(): void {
    this.#nextAt = this.#parts.clock.monotonic();
  }

  putOff(ms: number): void {
    this.#nextAt = this.#parts.clock.monotonic() + ms;
  }

  /** Reads what is in doubt, unless it is too early; peers' changes wait neither for that nor where it fails. */
  async lookAgain(): Promise<Look> {
    const { clock, doubts, programming } = this.#parts;
    if (!doubts.exist || clock.monotonic() < this.#nextAt) return { read: new Set() };
    const taken = doubts.take();
    const startedAt = clock.monotonic();
    try {
      await this.#read(taken);
    } catch (error) {
      programming.isBlind = true;
      doubts.giveBack(taken);
      this.#failure = toError(error);
      return { read: new Set(), failure: this.#failure };
    }
    programming.isBlind = false;
    this.putOff(Math.max(SPACING.leastMs, SPACING.timesDuration * (clock.monotonic() - startedAt)));
    return { read: taken.kinds };
  }

  async #read({ kinds, onLink, footing }: InDoubt): Promise<void> {
    const { view, programming, directRouting } = this.#parts;
    await view.read(kinds);
    await this.#pause();
    if (footing) programming.footingMoved();
    if (onLink && directRouting) await this.#followNeighbours();
    if (kinds.has('nexthop')) await this.#giveWay();
    await this.#pause();
  }

  /** Where there is much to go through, each time that takes a turn of its own. */
  async #pause(): Promise<void> {
    if (this.#parts.view.objects.size > MUCH) await turnOfLoop();
  }

  async #followNeighbours(): Promise<void> {
    const { onLink, desired } = this.#parts;
    const moved = await onLink.lookUpAll(desired.publicIps());
    if (moved.size > 0) desired.recompute((lease) => publicIpsOf(lease).some((ip) => moved.has(ip)));
  }

  /** Where somebody else uses a nexthop id of ours, the peer concerned gets another one. */
  async #giveWay(): Promise<void> {
    const { kernel, log, ids, desired, view, programming } = this.#parts;
    if (!ids) return;
    const taken = await takenIds(kernel, ids.inUse, view.objects, programming.policy);
    if (taken.size === 0) return;
    log.warn('somebody else uses nexthop ids of ours: taking others', { ids: [...taken] });
    for (const id of taken) ids.avoid(id);
    desired.recompute((_, objects) => objects.some((one) => one.kind === 'nexthop' && taken.has(one.id)));
  }
}
