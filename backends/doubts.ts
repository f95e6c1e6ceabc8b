/**
 * What has to be looked at again. Events never say more than that: IPv4 routes vanish without one when their device
 * goes down or their nexthop goes, and some of what we do ourselves is reported like what others do.
 *
 *   event about                        puts in doubt
 *   our device, its addresses          everything
 *   the underlay, its addresses        our devices, routes, who is a neighbour there
 *   one of our objects, unexpectedly   its table, and what it hangs on
 *   others' routes                     who is a neighbour; the same as ours, if at a key of ours; routes, if before ours
 *   lost events                        everything
 */
import { containsPrefix, type Prefix, parsePrefix } from '../config/address.ts';
import type { DesiredState } from './desired-state.ts';
import type { KernelEvent } from './kernel/kernel.ts';
import { type KernelView, KINDS } from './kernel-view.ts';
import { isOurs, type Ownership } from './ownership.ts';
import { sameObserved } from './same-object.ts';
import { leadsToOwn, shadowedPeer } from './shadows.ts';
import { keyOf, type ObjectKind, type Observed, TARTAN_PROTOCOL } from './state.ts';

/** Events of routes tell no metric: any may be the better one. */
const METRIC_OF_NONE = -1;

/** What events are judged by. */
export interface Judgement {
  readonly view: KernelView;
  readonly desired: DesiredState;
  /** Whether it matters which peers are neighbours on the underlay. */
  readonly directRouting: boolean;
  /** Called whenever something new is in doubt. */
  readonly onDoubt: () => void;
}

export interface InDoubt {
  readonly kinds: ReadonlySet<ObjectKind>;
  /** Which peers are neighbours on the underlay. */
  readonly onLink: boolean;
  /** A device or an address came or went: what the kernel refused without it, it may take now. */
  readonly footing: boolean;
}

export class Doubts {
  readonly #by: Judgement;
  #policy: Ownership;
  #kinds = new Set<ObjectKind>();
  #onLink = false;
  #footing = false;
  #underlay: string;
  /** Destinations in our networks, wanted by no peer, to which others have made routes since the last reading. */
  readonly #strangers = new Set<Prefix>();
  /** Events that came while the view was changing: judged when it is at rest, and our own are recognised. */
  #held: KernelEvent[] | undefined;

  /** `underlay`: name of the external interface. */
  constructor(by: Judgement, policy: Ownership, underlay: string) {
    this.#by = by;
    this.#policy = policy;
    this.#underlay = underlay;
  }

  set underlay(name: string) {
    this.#underlay = name;
  }

  set policy(policy: Ownership) {
    this.#policy = policy;
  }

  get exist(): boolean {
    return this.#onLink || this.#kinds.size > 0;
  }

  /** Hands over what is in doubt, to be looked at. */
  take(): InDoubt {
    if (this.#kinds.has('route')) this.#strangers.clear();
    const taken = { kinds: this.#kinds, onLink: this.#onLink, footing: this.#footing };
    this.#kinds = new Set();
    this.#onLink = false;
    this.#footing = false;
    return taken;
  }

  /** It could not be looked at. */
  giveBack({ kinds, onLink, footing }: InDoubt): void {
    this.#onLink ||= onLink;
    this.#footing ||= footing;
    for (const kind of kinds) this.#kinds.add(kind);
  }

  addAll(): void {
    this.#onLink = true;
    this.add(...KINDS);
  }

  add(...kinds: readonly ObjectKind[]): void {
    for (const kind of kinds) this.#kinds.add(kind);
    this.#by.onDoubt();
  }

  /**
   * An object of that kind is not as it was thought to be. What is on a device often goes because the device does, and
   * that event comes last; a route hangs on its nexthop.
   */
  about(kind: ObjectKind): void {
    if (kind === 'nexthop' || kind === 'route') this.add('link', 'nexthop', 'route');
    else this.add('link', kind);
  }

  /** From now on the view changes. */
  hold(): void {
    this.#held ??= [];
  }

  /** The view is at rest again. */
  release(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const event of held) this.hear(event);
  }

  hear(event: KernelEvent): void {
    if (event.verb === 'lost') this.addAll();
    else if ('sysctlsOf' in event) return;
    else if (this.#held) this.#held.push(event);
    else if ('link' in event) this.#onDevice(event.link);
    else if ('address' in event) this.#onDevice(event.address.dev);
    else if ('foreignRoute' in event) this.#onForeignRoute(event.foreignRoute, event.verb);
    else if (this.#isNews(event.verb, event.observed)) this.about(event.observed.object.kind);
    else if (event.observed.object.kind === 'route' && event.observed.protocol !== TARTAN_PROTOCOL) {
      this.#noteStranger(event.observed.object.dst, event.verb);
    }
  }

  #onDevice(name: string): void {
    if (this.#policy.devices.has(name)) this.addAll();
    else if (name === this.#underlay) {
      this.#onLink = true;
      this.#footing = true;
      this.add('link', 'route');
    }
  }

  /** `what`: a destination, or `nexthop 5`, one without a gateway. */
  #onForeignRoute(what: string, verb: 'set' | 'delete'): void {
    const { objects } = this.#by.desired;
    if (objects.has(what)) this.about('nexthop');
    else if (objects.has(`route ${what}`)) this.about('route');
    else this.#noteStranger(what, verb);
    if (!this.#by.directRouting) return;
    this.#onLink = true;
    this.#by.onDoubt();
  }

  #noteStranger(what: string, verb: 'set' | 'delete'): void {
    const dst = parsePrefix(what);
    if (dst === undefined || leadsToOwn(dst, this.#policy)) return;
    if (!this.#policy.networks.some((network) => containsPrefix(network, dst))) return;
    if (verb === 'set') this.#strangers.add(dst);
    else this.#strangers.delete(dst);
    const isShadow = shadowedPeer(dst, METRIC_OF_NONE, this.#by.desired.objects) !== undefined;
    const isKnown = this.#by.view.othersRoutes.some((route) => route.dst === dst);
    // Nothing of ours has changed, but what is said of it has.
    if (isShadow && (verb === 'set') !== isKnown) this.add('route');
  }

  /** Whether a route that is wanted now meets one that has not been read, at its place or before it: in doubt then. */
  meetStrangers(): boolean {
    const { objects } = this.#by.desired;
    const met = [...this.#strangers].filter((dst) => shadowedPeer(dst, METRIC_OF_NONE, objects) !== undefined);
    // Once is enough: the doubt stays until the routes are read, and each telling rings for another pass.
    for (const dst of met) this.#strangers.delete(dst);
    if (met.length > 0) this.about('route');
    return met.length > 0;
  }

  /** Whether the event tells of something that we did not do ourselves and that concerns us. */
  #isNews(verb: 'set' | 'delete', observed: Observed): boolean {
    const known = this.#by.view.objects.get(keyOf(observed.object));
    if (verb === 'delete') return known !== undefined;
    if (known && sameObserved(known, observed)) return false;
    return this.#by.desired.objects.has(keyOf(observed.object)) || isOurs(observed, this.#policy);
  }
}
