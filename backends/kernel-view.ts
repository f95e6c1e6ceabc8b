/**
 * What we believe the kernel holds: as last read, plus what we programmed since. Only objects that can be told apart by
 * our keys are in it; everything else in the kernel's tables is other people's.
 */
import type { Family, Prefix } from '../config/address.ts';
import { turnOfLoop } from '../config/turn-of-loop.ts';
import type { Kernel } from './kernel/kernel.ts';
import { formatBareRoute } from './operation-text.ts';
import type { Planned } from './plan.ts';
import { isSatisfied, sameObserved } from './same-object.ts';
import type { KernelObject, LinkInfo, Nexthop, ObjectKind, Observed, RouteInfo } from './state.ts';
import {
  asLink,
  DEFAULT_METRIC,
  keyOf,
  metricIn,
  RTN_UNICAST,
  routeKey,
  TARTAN_PROTOCOL,
  YIELDING_METRIC,
} from './state.ts';

/** So many are compared in about half a millisecond; then others have their turn. */
const TAKEN_PER_TURN = 500;

/** In the order of reading. Nexthops before routes: a route may name its gateway by nexthop only. */
export const KINDS: ReadonlySet<ObjectKind> = new Set(['link', 'address', 'neighbour', 'fdb', 'nexthop', 'route']);

export class KernelView {
  readonly #kernel: Kernel;
  readonly #devices: readonly string[];
  readonly #families: readonly Family[];
  readonly #objects = new Map<string, Observed>();
  /** How many there are of each kind. */
  readonly #counts = { link: 0, address: 0, neighbour: 0, fdb: 0, nexthop: 0, route: 0 };
  /** By nexthop id: nearly always one. */
  readonly #routesOn = new Map<number, string | Set<string>>();
  /** What stands at a route's key and can't be ours, in words. */
  #bareRoutes = new Map<string, string>();
  /** Routes that are not by our protocol, of whatever metric and form. */
  #othersRoutes: RouteInfo[] = [];
  #networks: readonly Prefix[] | undefined;
  #hasNexthops = false;

  /**
   * @param devices whose tables are kept. @param families of the addresses, neighbours and routes that are kept.
   * @param networks whose routes are kept, and any that are on a nexthop object of our range; all where left out
   */
  constructor(kernel: Kernel, devices: readonly string[], families: readonly Family[], networks?: readonly Prefix[]) {
    this.#kernel = kernel;
    this.#devices = devices;
    this.#families = families;
    this.#networks = networks;
  }

  /** From the next reading on. */
  set networks(networks: readonly Prefix[]) {
    this.#networks = networks;
  }

  /** By `keyOf` of the object. */
  get objects(): ReadonlyMap<string, Observed> {
    return this.#objects;
  }

  /** Keys of the routes on a nexthop object. */
  routesOn(id: number): Iterable<string> {
    const routes = this.#routesOn.get(id) ?? [];
    return typeof routes === 'string' ? [routes] : routes;
  }

  /** The route at that key that is none of ours by its form, in words: `blackhole, protocol 3`. */
  bareRoute(key: string): string | undefined {
    return this.#bareRoutes.get(key);
  }

  get hasBareRoutes(): boolean {
    return this.#bareRoutes.size > 0;
  }

  /** Routes that others made inside of our networks, as last read. */
  get othersRoutes(): readonly RouteInfo[] {
    return this.#othersRoutes;
  }

  /** Whether the kernel has such objects at all, as last read. */
  get hasNexthops(): boolean {
    return this.#hasNexthops;
  }

  nexthops(): Observed<Nexthop>[] {
    const found: Observed<Nexthop>[] = [];
    for (const { object, ...marks } of this.#objects.values()) {
      if (object.kind === 'nexthop') found.push({ object, ...marks });
    }
    return found;
  }

  /** Takes over what an operation that the kernel confirmed has changed. */
  applied({ key, verb, object }: Planned): void {
    if (verb === 'delete') this.#remove(key);
    else this.#put(key, { object, protocol: TARTAN_PROTOCOL, permanent: true });
  }

  /** Holds what is as it is wanted by the object that is wanted: each is held once, and known at a glance. */
  adopt(desired: ReadonlyMap<string, KernelObject>): void {
    for (const [key, observed] of this.#objects) {
      const wanted = desired.get(key);
      if (wanted === undefined || wanted === observed.object || !isSatisfied(wanted, observed)) continue;
      this.#objects.set(key, { ...observed, object: wanted });
    }
  }

  /** Reads the tables again, in turns with whoever else has something to do. */
  async read(kinds: ReadonlySet<ObjectKind>): Promise<void> {
    for (const kind of KINDS) if (kinds.has(kind)) await this.#take(kind, await this.#observe(kind));
  }

  async #take(kind: ObjectKind, found: readonly Observed[]): Promise<void> {
    const known = this.#counts[kind];
    const standing = new Set<string>();
    let fresh = 0;
    for (const [place, observed] of found.entries()) {
      if (place % TAKEN_PER_TURN === TAKEN_PER_TURN - 1) await turnOfLoop();
      const key = keyOf(observed.object);
      standing.add(key);
      if (this.#put(key, observed)) fresh++;
    }
    // To look for what is gone takes as long as everything else.
    if (standing.size - fresh < known) this.#removeAllBut(kind, standing);
  }

  #removeAllBut(kind: ObjectKind, standing: ReadonlySet<string>): void {
    for (const [key, { object }] of this.#objects) if (object.kind === kind && !standing.has(key)) this.#remove(key);
  }

  /** @returns whether nothing stood there. */
  #put(key: string, observed: Observed): boolean {
    const { object } = observed;
    const before = this.#objects.get(key);
    if (this.#bareRoutes.size > 0) this.#bareRoutes.delete(key);
    // What we programmed is held once, be it read again or not.
    if (before && sameObserved(before, observed)) return false;
    if (before) this.#leave(key, before.object);
    else this.#counts[object.kind]++;
    this.#objects.set(key, observed);
    this.#enter(key, object);
    return before === undefined;
  }

  /** A route comes to its nexthop. */
  #enter(key: string, object: KernelObject): void {
    if (object.kind !== 'route' || object.nexthopId === undefined) return;
    const routes = this.#routesOn.get(object.nexthopId);
    if (routes === undefined) this.#routesOn.set(object.nexthopId, key);
    else if (typeof routes === 'string') this.#routesOn.set(object.nexthopId, new Set([routes, key]));
    else routes.add(key);
  }

  #remove(key: string): void {
    const object = this.#objects.get(key)?.object;
    if (!object) return;
    this.#objects.delete(key);
    this.#counts[object.kind]--;
    this.#leave(key, object);
  }

  /** A route leaves its nexthop. */
  #leave(key: string, object: KernelObject): void {
    if (object.kind !== 'route' || object.nexthopId === undefined) return;
    const routes = this.#routesOn.get(object.nexthopId);
    if (typeof routes === 'object') routes.delete(key);
    if (routes === key || (typeof routes === 'object' && routes.size === 0)) this.#routesOn.delete(object.nexthopId);
  }

  async #observe(kind: ObjectKind): Promise<readonly Observed[]> {
    switch (kind) {
      case 'link':
        return (await this.#kernel.links()).flatMap((info) => this.#observeLink(info));
      case 'address':
        return this.#ofEach(this.#families, (family) => this.#observeAddresses(family));
      case 'neighbour':
        return this.#ofEach(this.#families, (family) => this.#observeNeighbours(family));
      case 'fdb':
        return this.#ofEach(this.#devices, (dev) => this.#kernel.fdb(dev));
      case 'nexthop':
        return this.#observeNexthops();
      case 'route':
        return this.#observeAllRoutes();
    }
  }

  /** One after the other: the kernel's dumps share a socket. */
  async #ofEach<T>(all: readonly T[], read: (one: T) => Promise<readonly Observed[]>): Promise<Observed[]> {
    const found: Observed[] = [];
    for (const one of all) for (const observed of await read(one)) found.push(observed);
    return found;
  }

  #observeLink(info: LinkInfo): Observed[] {
    const object = this.#devices.includes(info.name) ? asLink(info) : undefined;
    return object ? [{ object, protocol: 0, permanent: true }] : [];
  }

  async #observeAddresses(family: Family): Promise<Observed[]> {
    const found = (await this.#kernel.addresses(family)).filter(({ dev }) => this.#devices.includes(dev));
    return found.map(({ dev, ip, length }) => {
      return { object: { kind: 'address', dev, ip, length } as const, protocol: 0, permanent: true };
    });
  }

  /** Learnt neighbours come and go by themselves. */
  async #observeNeighbours(family: Family): Promise<Observed[]> {
    const found = await this.#ofEach(this.#devices, (dev) => this.#kernel.neighbours(dev, family));
    return found.filter(({ permanent }) => permanent);
  }

  async #observeNexthops(): Promise<Observed[]> {
    const found = await this.#kernel.nexthops();
    this.#hasNexthops = found !== undefined;
    return found ?? [];
  }

  /** Until all is read, what was read before stands: whoever asks meanwhile must not hear that there is nothing. */
  async #observeAllRoutes(): Promise<Observed[]> {
    const others: RouteInfo[] = [];
    const bare = new Map<string, string>();
    const found = await this.#ofEach(this.#families, (family) => this.#observeRoutes(family, others, bare));
    this.#othersRoutes = others;
    this.#bareRoutes = bare;
    return found;
  }

  /** IPv4 may have several routes of one key: the kernel uses the first one, and a REPLACE replaces that. */
  async #observeRoutes(family: Family, others: RouteInfo[], bare: Map<string, string>): Promise<Observed[]> {
    const found = await this.#kernel.routes(family, this.#networks);
    const firsts = new Map<string, RouteInfo>();
    for (const info of found) {
      if (info.protocol !== TARTAN_PROTOCOL) others.push(info);
      if (info.metric !== DEFAULT_METRIC[family] && info.metric !== YIELDING_METRIC) continue;
      const key = routeKey(info.dst, metricIn(info));
      if (!firsts.has(key)) firsts.set(key, info);
    }
    const observed: Observed[] = [];
    for (const [key, info] of firsts) {
      const one = this.#unicastRoute(info);
      if (one) observed.push(one);
      else bare.set(key, formatBareRoute(info));
    }
    return observed;
  }

  /**
   * What is no unicast route with a gateway, or on a device of ours, can't be ours: its key is seen as empty, so that it is
   * replaced if needed.
   */
  #unicastRoute(info: RouteInfo): Observed | undefined {
    const { type, dst, nexthopId, protocol, extras, ...hop } = info;
    if (type !== RTN_UNICAST) return undefined;
    const via = nexthopId === undefined ? undefined : this.#nexthop(nexthopId);
    const dev = hop.dev ?? via?.dev;
    const gateway = hop.gateway ?? via?.gateway;
    if (dev === undefined || (gateway === undefined && !this.#devices.includes(dev))) return undefined;
    const onlink = via?.onlink ?? hop.onlink;
    const metric = metricIn(info);
    const rest = { ...(metric !== undefined && { metric }), ...(extras && { extras }) };
    return { object: { kind: 'route', dst, dev, gateway, onlink, nexthopId, ...rest }, protocol, permanent: true };
  }

  #nexthop(id: number): Nexthop | undefined {
    const object = this.#objects.get(`nexthop ${id}`)?.object;
    return object?.kind === 'nexthop' ? object : undefined;
  }
}
