/**
 * Keeps this host's packet filters as they have to be, as the reconciler keeps the kernel's tables: whatever has happened,
 * what stands is read, compared with what is wanted, and the difference is written, at once or not at all.
 *
 *   a new wish, the timer, a change that the kernel tells ──► survey (once a minute) ──► read ──► as wanted
 *                                                                                          └────► written, read again
 *
 * What the other kind of firewall still has of ours goes only when what is wanted stands.
 */
import type { Family, Prefix } from '../../config/address.ts';
import type { Clock } from '../../config/clock.ts';
import { toError } from '../../config/errors.ts';
import type { Log } from '../../config/log.ts';
import { Wakeup } from '../../config/wakeup.ts';
import type { WatchRuleset } from '../kernel/ruleset-monitor.ts';
import { Troubles } from '../trouble.ts';
import { PrintedForms } from './printed-forms.ts';
import type { Programs } from './programs.ts';
import type { Stage } from './rule-plan.ts';
import { dockerMasquerades, type RuleSet } from './rule-set.ts';
import { lacking, placingOf, ruleSets, substituted } from './rule-sets.ts';
import { type Survey, Surveyor, usesLegacy } from './survey.ts';
import type { FirewallWish } from './wish.ts';

/** Programs come and go, and leftovers appear, this seldom. */
const SURVEY_MS = 60_000;
/** What was fought over within this counts as a problem. */
const FIGHT_MS = 60_000;
/** Of `resyncSeconds`: what somebody flushed is to be back within these, and to look takes a moment. */
const SHARE_OF_RESYNC = 0.8;
/** Between two looks of which others' changes are the reason: some programs change something all the time. */
const SPACING_MS = 1000;
/** And so many times what the last look took: ten thousand rules take a while to list. */
const SPACING_LOOKS = 5;
/** Between two looks of which nothing but our own troubles is the reason. */
const LEAST_WAIT_MS = 200;

export interface FirewallOptions {
  readonly programs: Programs;
  readonly clock: Clock;
  readonly log: Log;
  /** Within how many seconds what somebody changed is put right. */
  readonly resyncSeconds: number;
  readonly onChange?: WatchRuleset;
}

export interface FirewallState {
  /** What flannel's rules stand in: `iptables`, `iptables-legacy`, `nft`; `none` where there is neither. */
  readonly program: string;
  /** Of that program; empty where there is none. */
  readonly version: string;
  /** Since when nobody has changed anything: wall clock, ms; undefined while something is not as wanted. */
  readonly inPlaceSince: number | undefined;
  /** How often others' changes were put right. */
  readonly repairs: number;
  /** Worth knowing, but nothing that has to be mended. */
  readonly notes: readonly string[];
}

export class Firewall {
  readonly #options: FirewallOptions;
  readonly #doorbell = new Wakeup();
  readonly #troubles: Troubles;
  readonly #forms = new PrintedForms();
  /** Those that have been as wanted: whoever changes them is somebody else. */
  readonly #settled = new Set<string>();
  readonly #unreadable = new Map<string, string>();
  readonly #surveyor: Surveyor;
  readonly #programs: Programs;
  #signal: AbortSignal | undefined;
  #survey: Survey | undefined;
  #surveyedAt = Number.NEGATIVE_INFINITY;
  /** What was asked for last, as text; and with the networks that are left. */
  #asked: string | undefined;
  #wish: FirewallWish | undefined;
  #turn: Promise<void> = Promise.resolve();
  /** What somebody keeps changing, and until when that counts as a problem: monotonic clock, ms. */
  readonly #fights = new Map<string, { readonly error: string; readonly until: number }>();
  #notes: readonly string[] = [];
  #fault: string | undefined;
  #inPlaceSince: number | undefined;
  #repairs = 0;
  #heard = false;

  constructor(options: FirewallOptions) {
    this.#options = options;
    this.#programs = {
      run: (program, args, given) => options.programs.run(program, args, { ...given, signal: this.#signal }),
    };
    this.#surveyor = new Surveyor(this.#programs);
    this.#troubles = new Troubles(options.clock, 'nft monitor');
  }

  /** Followed soon, where `run` runs; by the next `look` else. Networks of wishes before it are taken for former ones. */
  set(wish: FirewallWish): void {
    if (JSON.stringify(wish) === this.#asked) return;
    this.#asked = JSON.stringify(wish);
    const { families = [], former = [] } = this.#wish ?? {};
    const now = wish.families.map(({ network }) => network);
    const left = new Set<Prefix>([...(wish.former ?? []), ...former, ...families.map(({ network }) => network)]);
    this.#wish = { ...wish, former: [...left].filter((network) => !now.includes(network)) };
    this.#settled.clear();
    this.#surveyedAt = Number.NEGATIVE_INFINITY;
    this.#doorbell.ring();
  }

  /** Looks, and puts right what is not as wanted and need not wait. Never rejects: what fails is told by `problem`. */
  look(): Promise<void> {
    this.#turn = this.#turn.then(() => this.#lookNow());
    return this.#turn;
  }

  /** Runs until the signal is aborted, then rejects with its reason. */
  async run(signal: AbortSignal): Promise<never> {
    const { clock, resyncSeconds } = this.#options;
    signal.throwIfAborted();
    this.#signal = signal;
    const unwatch = this.#options.onChange?.(() => this.#hear());
    if (unwatch) signal.addEventListener('abort', unwatch, { once: true });
    for (let [looked, tookMs] = [Number.NEGATIVE_INFINITY, 0]; ; ) {
      const isTold = unwatch !== undefined && this.#survey !== undefined && !usesLegacy(this.#survey);
      const restMs = isTold ? SURVEY_MS : resyncSeconds * 1000 * SHARE_OF_RESYNC;
      const wait = Math.min(restMs, this.#troubles.nextMs());
      await this.#doorbell.wait(Math.max(LEAST_WAIT_MS, wait), clock, signal);
      const rest = looked + this.#spacingMs(tookMs) - clock.monotonic();
      if (this.#heard && rest > 0) await clock.sleep(rest, signal);
      this.#heard = false;
      const begun = clock.monotonic();
      await this.look();
      looked = clock.monotonic();
      tookMs = looked - begun;
    }
  }

  /** From the end of a look, which took so long, to the next. */
  #spacingMs(tookMs: number): number {
    const mostMs = this.#options.resyncSeconds * 1000 * SHARE_OF_RESYNC - tookMs;
    return Math.max(SPACING_MS, Math.min(tookMs * SPACING_LOOKS, mostMs));
  }

  /** What could not be done or is fought over, and what to do about it; undefined where all is well. */
  problem(): string | undefined {
    const now = this.#options.clock.monotonic();
    const fights = [...this.#fights].filter(([, { until }]) => until > now);
    const found = new Map([
      ...this.#unreadable,
      ...fights.map(([object, { error }]) => [object, error] as const),
      ...this.#troubles.list().map(({ object, error }) => [object, error] as const),
    ]);
    const problems = [...this.#lacking(), ...Array.from(found, ([object, error]) => `${object}: ${error}`)];
    if (this.#fault !== undefined) problems.push(this.#fault);
    return problems.length === 0 ? undefined : problems.join('; ');
  }

  state(): FirewallState {
    const { program, version } = this.#inUse();
    const substitutions = this.#wish && this.#survey ? substituted(this.#wish, this.#survey) : [];
    const notes = [...substitutions, ...this.#notes];
    return { program, version, inPlaceSince: this.#inPlaceSince, repairs: this.#repairs, notes };
  }

  /** Looks again soon: somebody has changed a packet filter, perhaps we. */
  #hear(): void {
    if (this.#heard) return;
    this.#heard = true;
    this.#doorbell.ring();
  }

  async #lookNow(): Promise<void> {
    const wish = this.#wish;
    if (wish === undefined) return;
    try {
      const isThorough = await this.#takeSurvey();
      if (this.#survey) await this.#keepAll(wish, this.#survey, isThorough);
      this.#fault = undefined;
    } catch (thrown: unknown) {
      if (this.#signal?.aborted) return;
      this.#fault = toError(thrown).message;
      this.#inPlaceSince = undefined;
      this.#options.log.error('the packet filters could not be looked at', { error: this.#fault });
    }
  }

  /** @returns whether it was taken anew: then leftovers are looked for too */
  async #takeSurvey(): Promise<boolean> {
    const now = this.#options.clock.monotonic();
    if (this.#survey && now - this.#surveyedAt < SURVEY_MS) return false;
    this.#survey = await this.#surveyor.survey();
    this.#surveyedAt = now;
    return true;
  }

  async #keepAll(wish: FirewallWish, survey: Survey, isThorough: boolean): Promise<void> {
    const all = ruleSets({ programs: this.#programs, survey, forms: this.#forms }, wish);
    this.#forgetAllBut(all.map(({ name }) => name));
    // A note is about masquerading that waits to go.
    const sets = all.filter((set) => isThorough || this.#notes.length > 0 || !set.isLeftover);
    const readable = await this.#readAll(sets);
    const masquerading = await this.#masquerading(wish, readable);
    let inPlace = this.#lacking().length === 0;
    for (const set of sets) {
      // What the other kind of firewall has goes last, and only where it is not needed any more.
      if (set.isLeftover && !inPlace) break;
      const stage = { masquerading: masquerading.get(set.family ?? 4) ?? 'goes', mayLeave: inPlace };
      const isRight = readable.includes(set) && (await this.#keep(set, stage));
      if (!set.isLeftover) inPlace &&= isRight && set.unreadable() === undefined;
    }
    this.#inPlaceSince = inPlace ? (this.#inPlaceSince ?? this.#options.clock.now()) : undefined;
  }

  #forgetAllBut(names: readonly string[]): void {
    for (const name of this.#unreadable.keys()) if (!names.includes(name)) this.#unreadable.delete(name);
    for (const name of [...this.#troubles.keys()]) if (!names.includes(name)) this.#troubles.settled(name);
  }

  /** @returns those that could be read */
  async #readAll(sets: readonly RuleSet[]): Promise<RuleSet[]> {
    const failures = await Promise.all(sets.map((set) => this.#read(set)));
    return sets.filter((_, at) => !failures[at]);
  }

  async #read(set: RuleSet): Promise<string | undefined> {
    const failure = await set.read();
    const why = failure ?? set.unreadable();
    if (why === undefined) this.#unreadable.delete(set.name);
    else this.#note(set, why);
    return failure;
  }

  /** Of a set that can't be read, or not whole. */
  #note(set: RuleSet, why: string): void {
    const isNews = !set.isLeftover && this.#unreadable.get(set.name) !== why;
    const level = isNews ? 'error' : 'debug';
    this.#options.log[level]('rules of the packet filter can not be read', { rules: set.name, error: why });
    // It is read again each time: there is nothing to wait for.
    this.#troubles.settled(set.name);
    if (set.isLeftover) return;
    this.#unreadable.set(set.name, why);
    this.#surveyedAt = Number.NEGATIVE_INFINITY;
  }

  /** What is to become of flannel's masquerading, family by family: nobody is left without a way out. */
  async #masquerading(wish: FirewallWish, sets: readonly RuleSet[]): Promise<Map<Family, Stage['masquerading']>> {
    const decided = new Map<Family, Stage['masquerading']>();
    const notes: string[] = [];
    for (const { family, subnet } of wish.families) {
      const ofFamily = sets.filter((set) => set.family === family);
      if (wish.masquerade) decided.set(family, 'wanted');
      else if (!ofFamily.some((set) => set.hasMasquerading()) || (await this.#masqueradesElsewhere(ofFamily, subnet))) {
        decided.set(family, 'goes');
      } else {
        decided.set(family, 'stays');
        notes.push(
          `masquerading rules for ${subnet} are left from a run with --ip-masq: they go once Docker masquerades it`,
        );
      }
    }
    this.#notes = notes;
    return decided;
  }

  async #masqueradesElsewhere(sets: readonly RuleSet[], subnet: Prefix): Promise<boolean> {
    if (sets.some((set) => set.masqueradesElsewhere(subnet))) return true;
    const table = subnet.includes(':') ? 'ip6' : 'ip';
    const listing = await this.#programs.run('nft', ['-n', '-s', 'list', 'table', table, 'docker-bridges']);
    return dockerMasquerades(listing?.stdout ?? '', subnet);
  }

  /** @returns whether it is as wanted now */
  async #keep(set: RuleSet, stage: Stage): Promise<boolean> {
    const { name } = set;
    const { amiss, script } = set.plan(stage);
    if (amiss.length === 0) return this.#right(set);
    if (this.#troubles.isWaiting(name) || !this.#mayWrite(name, amiss)) return false;
    const failure = (await set.write(script)) ?? (await set.read()) ?? this.#unlike(set, stage);
    if (failure !== undefined) return this.#refused(name, failure);
    this.#tell(set, amiss);
    return this.#right(set);
  }

  #right(set: RuleSet): true {
    this.#troubles.settled(set.name);
    this.#settled.add(set.name);
    return true;
  }

  /** How what was just written differs from what is wanted all the same. */
  #unlike(set: RuleSet, stage: Stage): string | undefined {
    set.learn(stage);
    const { amiss } = set.plan(stage);
    return amiss.length === 0 ? undefined : `written, but ${amiss.join(', ')}`;
  }

  #mayWrite(name: string, amiss: readonly string[]): boolean {
    if (!this.#settled.has(name) || this.#troubles.isRefused(name)) return true;
    if (this.#troubles.mayRepair(name, amiss.join(', '))) return true;
    const { error } = this.#troubles.list().find(({ object }) => object === name) ?? { error: '' };
    this.#fights.set(name, { error, until: this.#options.clock.monotonic() + FIGHT_MS });
    const level = this.#troubles.isNewFight(name) ? 'warn' : 'debug';
    const fields = { rules: name, found: amiss };
    this.#options.log[level](
      'somebody keeps changing rules of the packet filter: waiting before putting them right',
      fields,
    );
    return false;
  }

  #refused(name: string, failure: string): false {
    const level = this.#troubles.isRefused(name) ? 'debug' : 'error';
    this.#troubles.refused(new Map([[name, { errno: failure, detail: '' }]]));
    const fields = { rules: name, error: failure };
    this.#options.log[level]('rules of the packet filter could not be written: trying again', fields);
    return false;
  }

  #tell({ name, isLeftover }: RuleSet, amiss: readonly string[]): void {
    const { log } = this.#options;
    const fields = { rules: name, found: amiss };
    if (isLeftover) log.info('removed rules of the packet filter that are no longer wanted', fields);
    else if (!this.#settled.has(name)) log.info('wrote rules of the packet filter', fields);
    else {
      this.#repairs++;
      this.#inPlaceSince = undefined;
      const level = this.#troubles.isFought(name) ? 'debug' : 'warn';
      log[level]('somebody changed rules of the packet filter: put right', fields);
    }
  }

  #inUse(): { program: string; version: string } {
    const [family] = this.#wish?.families ?? [];
    const none = { program: 'none', version: '' };
    if (this.#wish === undefined || this.#survey === undefined || family === undefined) return none;
    const placing = placingOf(this.#wish, family.family, this.#survey);
    if (placing === 'iptables') return this.#survey.iptables[family.family][0] ?? none;
    return placing === undefined ? none : { program: 'nft', version: this.#survey.nftables?.version ?? '' };
  }

  /** Programs without which something of the wish can't be done. */
  #lacking(): string[] {
    return this.#wish && this.#survey ? lacking(this.#wish, this.#survey) : [];
  }
}
