/**
 * Follows what becomes of the external interface. An event is a doubt, never a verdict: the host is looked at as a whole.
 *
 *   link, address or default route changed ─┐
 *   resync ─────────────────────────────────┴─▶ look ─▶ same as known     rest
 *                                                 ▲  └▶ another picture   look again a little later: told once it lasts
 *                                                 └──────────┘
 */
import type { Kernel, KernelEvent } from '../backends/kernel/kernel.ts';
import { type Clock, jittered } from '../config/clock.ts';
import type { Log } from '../config/log.ts';
import { Wakeup } from '../config/wakeup.ts';
import { type SurveyChange, sameSurvey, type UnderlaySurvey } from './underlay-survey.ts';

/** A DHCP client takes an address away and gives it back, a bonded interface goes and comes: that is no change. */
const LASTS_MS = 1_000;
const FAILURE_MS = 5_000;
/** A host that starts containers by the dozen has as many events. */
const SPACING_MS = 200;
const DEFAULT_ROUTES = new Set(['0.0.0.0/0', '::/0']);

interface WatchOptions {
  readonly kernel: Kernel;
  readonly clock: Clock;
  readonly log: Log;
  readonly resyncSeconds: number;
  /** What the network stands on. */
  current(): UnderlaySurvey;
  look(current: UnderlaySurvey, areRoutesInDoubt: boolean): Promise<SurveyChange>;
  /** Told of every change that lasts, once. */
  onChange(change: SurveyChange): Promise<void>;
}

export class UnderlayWatch {
  readonly #options: WatchOptions;
  readonly #doorbell = new Wakeup();
  #areRoutesInDoubt = true;
  /** What was told last. */
  #told: SurveyChange;

  constructor(options: WatchOptions) {
    this.#options = options;
    this.#told = { ok: true, survey: options.current(), note: undefined };
  }

  /** Until the signal is aborted, then rejects with its reason. */
  async run(signal: AbortSignal): Promise<never> {
    const { kernel, clock, log, resyncSeconds } = this.#options;
    await kernel.monitor((event) => this.#hear(event));
    for (;;) {
      try {
        await this.#look(signal);
        const resyncAt = clock.monotonic() + jittered(clock, resyncSeconds * 1000);
        await this.#doorbell.wait(resyncAt - clock.monotonic(), clock, signal);
        this.#areRoutesInDoubt ||= clock.monotonic() >= resyncAt;
        await clock.sleep(SPACING_MS, signal);
      } catch (error) {
        signal.throwIfAborted();
        this.#areRoutesInDoubt = true;
        log.warn('the interfaces could not be looked at: trying again', { error });
        await clock.sleep(FAILURE_MS, signal);
      }
    }
  }

  #hear(event: KernelEvent): void {
    const isRouting = event.verb === 'lost' || isDefaultRoute(event);
    if (isRouting) this.#areRoutesInDoubt = true;
    if (isRouting || 'link' in event || 'address' in event) this.#doorbell.ring();
  }

  /** Looks until there is nothing new, or what is new lasts. */
  async #look(signal: AbortSignal): Promise<void> {
    const { clock, current, look, onChange } = this.#options;
    let areRoutesInDoubt = !this.#told.ok;
    for (let before: SurveyChange | undefined; ; ) {
      areRoutesInDoubt ||= this.#areRoutesInDoubt;
      this.#areRoutesInDoubt = false;
      const found = await look(current(), areRoutesInDoubt);
      if (isSame(found, this.#told)) return;
      if (before && isSame(found, before)) {
        await onChange(found);
        this.#told = found;
        return;
      }
      before = found;
      await clock.sleep(LASTS_MS, signal);
    }
  }
}

/** Of whatever maker: those by hand are told like what may be ours. */
function isDefaultRoute(event: KernelEvent): boolean {
  if ('foreignRoute' in event) return DEFAULT_ROUTES.has(event.foreignRoute);
  return 'observed' in event && event.observed.object.kind === 'route' && DEFAULT_ROUTES.has(event.observed.object.dst);
}

function isSame(a: SurveyChange, b: SurveyChange): boolean {
  if (!a.ok || !b.ok) return !a.ok && !b.ok && a.reason === b.reason;
  return a.note === b.note && sameSurvey(a.survey, b.survey);
}
