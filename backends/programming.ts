/**
 * From the view to what is wanted: plans for the keys in question, holds back what is useless or harmful just now,
 * applies the rest and learns from the answers.
 *
 *   in question:  changed keys · troubles that are due · the tables that were read
 *   held back:    what waits after a refusal · what stands on a device that is refused · what others fight us over
 *   answers:      confirmed: the view has it · refused: a trouble, and its table is in doubt
 */
import { overlaps } from '../config/address.ts';
import type { Clock } from '../config/clock.ts';
import type { Log } from '../config/log.ts';
import { applyOperations } from './applying.ts';
import type { DesiredState } from './desired-state.ts';
import type { Doubts } from './doubts.ts';
import type { Kernel, KernelRefusal } from './kernel/kernel.ts';
import { type KernelView, KINDS } from './kernel-view.ts';
import type { NexthopIds } from './nexthop-ids.ts';
import { formatOperation } from './operation-text.ts';
import type { Ownership } from './ownership.ts';
import { type Planned, planKeys } from './plan.ts';
import { sameMake } from './same-object.ts';
import { BOOT_PROTOCOL, type KernelObject, type ObjectKind, type Operation, TARTAN_PROTOCOL } from './state.ts';
import { Troubles } from './trouble.ts';

/** Operations named one by one in the log; of more, the first ones and the count. */
const LOGGED = 10;

interface Tools {
  readonly kernel: Kernel;
  readonly view: KernelView;
  readonly desired: DesiredState;
  readonly doubts: Doubts;
  /** undefined: plain routes. */
  readonly ids: NexthopIds | undefined;
  readonly clock: Clock;
  readonly log: Log;
}

export interface ReconcilerCounters {
  operations: number;
  refusals: number;
  repairs: number;
}

export class Programming {
  readonly #tools: Tools;
  readonly troubles: Troubles;
  readonly counters: ReconcilerCounters = { operations: 0, refusals: 0, repairs: 0 };
  policy: Ownership;
  /** Whether all peers are known: nothing that is merely found is removed before. */
  isComplete = false;
  /** The last reading failed: until one succeeds only changes are programmed, and nothing is deleted. */
  isBlind = false;
  /** Keys of which something else is wanted than what was last programmed. */
  #changed = new Set<string>();
  /** Keys that the last plan put off: they are looked at again by the next one. */
  #putOff = new Set<string>();
  #isWithholding = false;
  /** The next plan looks over all keys: a device was made anew, and what was on it went by nobody's hand. */
  #isOverhaul = false;
  /** … or something else is wanted now, or more is known: what is found amiss, an earlier run or we ourselves left. */
  #isOurDoing = false;

  constructor(tools: Tools, policy: Ownership) {
    this.#tools = tools;
    this.policy = policy;
    this.troubles = new Troubles(tools.clock);
  }

  overhaul(): void {
    this.#isOverhaul = true;
    this.#isOurDoing = true;
  }

  /** What others' devices and addresses took along went by nobody's hand; what was refused without them may go now. */
  footingMoved(): void {
    this.#isOverhaul = true;
    this.troubles.hurryRefused();
  }

  /** Takes note of what is wanted otherwise now; there is no reason to wait with it. */
  noteChanges(): void {
    const changed = this.#tools.desired.takeChanged();
    if (this.troubles.size > 0) for (const key of changed) this.troubles.hurry(key);
    if (this.#changed.size === 0) this.#changed = changed;
    else for (const key of changed) this.#changed.add(key);
  }

  /** What there is to do now. `read`: the tables that were just read. */
  plan(read: ReadonlySet<ObjectKind>): readonly Planned[] {
    const { desired, view } = this.#tools;
    const isOverhaul = this.#isOverhaul;
    const isOurDoing = this.#isOurDoing;
    if (!this.isBlind) {
      this.#isOverhaul = false;
      this.#isOurDoing = false;
    }
    if (isOverhaul && !this.isBlind) view.adopt(desired.objects);
    const keys = this.#keysInQuestion(isOverhaul && !this.isBlind ? KINDS : read);
    const routesOn = (id: number): Iterable<string> => view.routesOn(id);
    const { operations, withheld } = planKeys(keys, desired.objects, view.objects, this.policy, routesOn);
    if (!isOverhaul && withheld.length === 0 && this.#isRoutine(operations)) return operations;
    const all = this.#named(operations);
    this.#settleTroubles(keys, all);
    this.#putOff = new Set(all.filter((one) => this.#isPutOff(one)).map(({ key }) => key));
    for (const key of this.#putOff) this.troubles.putOff(key);
    this.#withhold(withheld);
    const feasible = this.#onFooting(this.#ready(all));
    const repairs = isOurDoing ? [] : this.#repairsIn(feasible, isOverhaul);
    this.#reportReplaced(feasible, new Set(repairs));
    return this.#withoutFights(feasible, repairs);
  }

  #ready(operations: readonly Planned[]): readonly Planned[] {
    if (this.#putOff.size === 0 && this.troubles.size === 0) return operations;
    return operations.filter((one) => !this.#isPutOff(one) && !this.troubles.isWaiting(one.key));
  }

  /** Nothing is amiss, nobody's route is in the way, and all of it is what peers' changes ask for: as nearly always. */
  #isRoutine(operations: readonly Planned[]): boolean {
    if (this.troubles.size > 0 || this.#putOff.size > 0 || this.isBlind || this.#isWithholding) return false;
    return operations.every(({ key, object }) => {
      return this.#changed.has(key) && (object.kind !== 'route' || !this.#isOthersRoute(key));
    });
  }

  /** What was looked at and needs nothing is no trouble any more. */
  #settleTroubles(keys: ReadonlySet<string>, operations: readonly Planned[]): void {
    if (this.troubles.size === 0) return;
    const planned = new Set(operations.map(({ key }) => key));
    for (const key of this.troubles.keys()) if (keys.has(key) && !planned.has(key)) this.troubles.settled(key);
  }

  /**
   * Devices first and by themselves: where one is refused, so would be all that stands on it. Rejects where the kernel
   * can't be spoken to, and with the signal's reason between the two steps.
   */
  async program(operations: readonly Planned[], signal: AbortSignal | undefined): Promise<void> {
    const links = operations.filter(isDeviceSet);
    const rest = links.length > 0 ? operations.filter((operation) => !isDeviceSet(operation)) : operations;
    if (links.length > 0) {
      const isRefused = (await this.#apply(links)) > 0;
      // A device that got another MAC, or was down, has lost what the view still shows on it.
      this.#tools.doubts.addAll();
      this.#isOverhaul = true;
      if (isRefused) return;
      signal?.throwIfAborted();
    }
    await this.#apply(rest);
    this.#changed = this.#putOff;
  }

  /** Whether the last plan left out what waits for another nexthop id. */
  get isWithholding(): boolean {
    return this.#isWithholding;
  }

  /** Reading the nexthops is what gives them other ids. */
  #withhold(keys: readonly string[]): void {
    this.#isWithholding = keys.length > 0;
    if (!this.#isWithholding) return;
    for (const key of keys) this.#putOff.add(key);
    // Else the doubt is there already, or there is another look after this one; a ring now would only wake the loop.
    if (!this.#tools.doubts.exist) this.#tools.doubts.about('nexthop');
  }

  #isPutOff({ verb }: Operation): boolean {
    return this.isBlind && verb === 'delete';
  }

  /**
   * Before all peers are known, only what is wanted is looked at of the tables: nothing is removed. But for routes to our
   * own subnet: a host that lost its memory may have leased what it knew as a peer's.
   */
  #keysInQuestion(kinds: ReadonlySet<ObjectKind>): Set<string> {
    const { desired, view } = this.#tools;
    const keys = new Set(this.#changed);
    for (const key of this.troubles.due()) keys.add(key);
    if (kinds.size === 0) return keys;
    let standing = 0;
    for (const [key, object] of desired.objects) {
      const found = view.objects.get(key);
      if (found) standing++;
      // The very object that we put there, and read again unchanged.
      if (found?.object === object || !kinds.has(object.kind)) continue;
      keys.add(key);
      // Routes vanish without an event when their nexthop does: they may have been read too early.
      if (object.kind === 'nexthop') for (const route of view.routesOn(object.id)) keys.add(route);
    }
    // Nothing stands but what is wanted.
    if (standing === view.objects.size) return keys;
    for (const [key, { object }] of view.objects) {
      if (!kinds.has(object.kind) || desired.objects.get(key) === object) continue;
      if (this.isComplete || this.#leadsToUs(object)) keys.add(key);
    }
    return keys;
  }

  #leadsToUs(object: KernelObject): boolean {
    const { ownSubnets = [] } = this.policy;
    return object.kind === 'route' && ownSubnets.some((own) => overlaps(own, object.dst));
  }

  /** While the kernel refuses a device, what would stand on it is not even tried: the device is what is missing. */
  #onFooting(operations: readonly Planned[]): readonly Planned[] {
    const lacking = [...this.policy.devices].filter((name) => this.#isHeldUp(name));
    if (lacking.length === 0) return operations;
    const hasFooting = ({ object }: Operation): boolean => object.kind === 'link' || !lacking.includes(object.dev);
    for (const { key } of operations.filter((one) => !hasFooting(one))) this.troubles.settled(key);
    return operations.filter(hasFooting);
  }

  #isHeldUp(name: string): boolean {
    const key = `link ${name}`;
    if (!this.troubles.isWaiting(key)) return false;
    const wanted = this.#tools.desired.objects.get(key);
    const found = this.#tools.view.objects.get(key)?.object;
    if (wanted?.kind !== 'link' || found?.kind !== 'link') return true;
    return !found.up || !sameMake(wanted, found);
  }

  /** What somebody else made necessary. */
  #repairsIn(operations: readonly Planned[], isOverhaul: boolean): readonly Planned[] {
    // What was on a device goes with it, by nobody's hand.
    const onlyFooting = isOverhaul || operations.some(({ object }) => isFooting(object));
    return operations.filter(({ key, object }) => {
      return !this.#changed.has(key) && !this.troubles.isRefused(key) && (!onlyFooting || isFooting(object));
    });
  }

  /** Counts and names the repairs, and leaves out what is fought over too often. */
  #withoutFights(operations: readonly Planned[], repairs: readonly Planned[]): readonly Planned[] {
    if (repairs.length === 0) return operations;
    const fought = new Set(repairs.filter(({ key, why }) => !this.troubles.mayRepair(key, why)));
    const made = repairs.filter((repair) => !fought.has(repair));
    this.counters.repairs += made.length;
    const isNew = ({ key }: Planned): boolean => !this.troubles.isFought(key);
    this.#report('somebody changed what is ours in the kernel: putting it right', made, isNew);
    const begins = ({ key }: Planned): boolean => this.troubles.isNewFight(key);
    const waiting = 'somebody keeps changing what is ours in the kernel: waiting before putting it right';
    this.#report(waiting, [...fought], begins);
    return operations.filter((operation) => !fought.has(operation));
  }

  /** A route that can't be ours stands in no table of objects: what is replaced is named all the same. */
  #named(operations: readonly Planned[]): readonly Planned[] {
    const { view } = this.#tools;
    if (!view.hasBareRoutes) return operations;
    return operations.map((operation) => {
      const bare = operation.verb === 'delete' ? undefined : view.bareRoute(operation.key);
      return bare === undefined ? operation : { ...operation, why: `was ${bare}` };
    });
  }

  /** Names others' routes that a peer's route takes the place of, where that is no repair and not tried before. */
  #reportReplaced(operations: readonly Planned[], repairs: ReadonlySet<Planned>): void {
    const isReplaced = (operation: Planned): boolean => {
      const { key } = operation;
      if (operation.verb === 'delete' || operation.object.kind !== 'route') return false;
      return !repairs.has(operation) && !this.troubles.isRefused(key) && this.#isOthersRoute(key);
    };
    this.#report(
      "others' routes stand where peers' routes go: replacing them",
      operations.filter(isReplaced),
      () => true,
    );
  }

  /** What flannel left is no stranger's. */
  #isOthersRoute(key: string): boolean {
    const { view } = this.#tools;
    const protocol = view.objects.get(key)?.protocol ?? TARTAN_PROTOCOL;
    return view.bareRoute(key) !== undefined || (protocol !== TARTAN_PROTOCOL && protocol !== BOOT_PROTOCOL);
  }

  /** Warns of what is new; of the rest the log of a quiet day should not speak. */
  #report(message: string, repairs: readonly Planned[], isNew: (repair: Planned) => boolean): void {
    const news = new Set(repairs.filter(isNew));
    const rest = repairs.filter((repair) => !news.has(repair));
    const { log } = this.#tools;
    if (news.size > 0) log.warn(message, listed([...news]));
    if (rest.length > 0) log.debug(message, listed(rest));
  }

  /** @returns how many were refused */
  async #apply(operations: readonly Planned[]): Promise<number> {
    if (operations.length === 0) return 0;
    const results = await applyOperations(this.#tools.kernel, this.#tools.view, operations);
    const refused = new Map<Planned, KernelRefusal>();
    for (const [place, operation] of operations.entries()) {
      const refusal = results[place];
      if (refusal) refused.set(operation, refusal);
      else this.#confirm(operation);
    }
    this.counters.operations += operations.length;
    if (refused.size > 0) this.#refuse(refused);
    return refused.size;
  }

  #confirm(operation: Planned): void {
    const { key, verb, object } = operation;
    this.#tools.view.applied(operation);
    this.troubles.settled(key);
    if (verb === 'delete' && object.kind === 'nexthop') this.#tools.ids?.freed(object.id);
  }

  #refuse(refused: ReadonlyMap<Planned, KernelRefusal>): void {
    this.counters.refusals += refused.size;
    const known = new Set([...refused.keys()].filter(({ key }) => this.troubles.isRefused(key)));
    this.troubles.refused(new Map(Array.from(refused, ([{ key }, refusal]) => [key, refusal])));
    for (const { object } of refused.keys()) this.#tools.doubts.about(object.kind);
    const all = [...refused];
    const first = all.find(([operation]) => !known.has(operation)) ?? all[0];
    if (!first) return;
    const fields = { operation: formatOperation(first[0]), ...first[1], count: refused.size };
    // One warning per object: `status` has what goes on.
    const level = known.size < refused.size ? 'warn' : 'debug';
    this.#tools.log[level]('the kernel refused operations: trying again', fields);
  }
}

function listed(operations: readonly Planned[]): { readonly count: number; readonly operations: string[] } {
  return { count: operations.length, operations: operations.slice(0, LOGGED).map(formatOperation) };
}

function isFooting({ kind }: KernelObject): boolean {
  return kind === 'link' || kind === 'address';
}

function isDeviceSet({ verb, object }: Operation): boolean {
  return object.kind === 'link' && verb !== 'delete';
}
