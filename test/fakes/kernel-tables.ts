/**
 * The tables of one network namespace, with what Linux does by itself and what it refuses (measured on 6.18):
 *
 *   device deleted      all that is on it goes, without an event; a vxlan whose lower device it is, too
 *   device set down     its neighbours go; its nexthops and routes too, without an event
 *   other MAC           its neighbours go
 *   last address gone   its neighbours go; plain routes too, without an event
 *   nexthop deleted     the routes on it go, without an event
 *   tun or tap          one that goes with another process is not to be had; no nexthop stands on one that nobody holds
 *   IPv6 gateway        refused where a route, not to everywhere, sends it to another device, on-link or not
 */

import type { KernelEvent, KernelRefusal, RouteLookup } from '../../backends/kernel/kernel.ts';
import { linkStep } from '../../backends/kernel/link-step.ts';
import {
  type Address,
  type AddressInfo,
  type FdbEntry,
  type KernelObject,
  type Link,
  type LinkInfo,
  metricIn,
  type Neighbour,
  type Nexthop,
  type Observed,
  type Operation,
  type Route,
  type RouteInfo,
  TARTAN_PROTOCOL,
} from '../../backends/state.ts';
import { containsIp, familyOf, type Ip, prefixLength, prefixOf } from '../../config/address.ts';

const OK = undefined;
const METRIC = { 4: 0, 6: 1024 } as const;

export function refusal(errno: string, detail = ''): KernelRefusal {
  return { errno, detail };
}

type Result = KernelRefusal | undefined;
type Marks = Partial<Omit<Observed, 'object'>>;

export class KernelTables {
  readonly links = new Map<string, LinkInfo>();
  addresses: AddressInfo[] = [];
  neighbours: Observed<Neighbour>[] = [];
  fdb: Observed<FdbEntry>[] = [];
  /** undefined: one without a gateway, a blackhole. */
  readonly nexthops = new Map<number, Observed<Nexthop> | undefined>();
  /** In the kernel's order: of several with one destination and metric the first counts. */
  routes: RouteInfo[] = [];
  readonly #emit: (event: KernelEvent) => void;
  #lastIndex = 1;

  constructor(emit: (event: KernelEvent) => void) {
    this.#emit = emit;
  }

  /** A device of the host that is none of ours. */
  addDevice(name: string, fields: Partial<LinkInfo> = {}): void {
    const plain = { mac: undefined, mtuBytes: 1500, up: true, loopback: false, type: '', vxlan: undefined };
    this.#putLink({ ...plain, ...fields, name, index: this.#lastIndex + 1 });
    this.#lastIndex += 1;
  }

  /** Does what anybody may ask for; `marks` are what others' objects have. */
  set(verb: Operation['verb'], object: KernelObject, marks: Marks = {}): Result {
    switch (object.kind) {
      case 'link':
        return this.#setLink(verb, object);
      case 'address':
        return this.#setAddress(verb, object);
      case 'neighbour':
        return this.#setNeighbour(object, { protocol: 0, permanent: true, ...marks });
      case 'fdb':
        return this.#setFdb(object, { protocol: 0, permanent: true, ...marks });
      case 'nexthop':
        return this.#setNexthop(verb, object, { protocol: TARTAN_PROTOCOL, permanent: false, ...marks });
      case 'route':
        return this.#setRoute(verb, object, marks.protocol ?? TARTAN_PROTOCOL);
    }
  }

  delete(object: KernelObject, protocol = TARTAN_PROTOCOL): void {
    const { kind } = object;
    if (kind === 'link') this.deleteLink(object.name);
    else if (kind === 'address') this.#deleteAddress(object);
    else if (kind === 'neighbour') this.#dropNeighbours(({ dev, ip }) => dev === object.dev && ip === object.ip);
    else if (kind === 'fdb') this.#deleteFdb(object);
    else if (kind === 'nexthop') this.deleteNexthop(object.id);
    else this.#deleteRoute(object, protocol);
  }

  deleteLink(name: string): void {
    if (!this.links.delete(name)) return;
    const others = <T extends { readonly dev: string | undefined }>({ dev }: T): boolean => dev !== name;
    this.addresses = this.addresses.filter(others);
    this.neighbours = this.neighbours.filter(({ object }) => others(object));
    this.fdb = this.fdb.filter(({ object }) => others(object));
    for (const [id, found] of this.nexthops) if (found?.object.dev === name) this.nexthops.delete(id);
    this.routes = this.routes.filter(others);
    this.#emit({ verb: 'delete', link: name });
    for (const { name: upper, vxlan } of [...this.links.values()]) if (vxlan?.lower === name) this.deleteLink(upper);
  }

  /** `ip link set NAME name OTHER`: what is on it stays, told by its new name. */
  renameLink(name: string, other: string): void {
    const link = this.links.get(name);
    if (!link) return;
    this.links.delete(name);
    const moved = <T extends { readonly dev: string | undefined }>(one: T): T =>
      one.dev === name ? { ...one, dev: other } : one;
    this.addresses = this.addresses.map(moved);
    this.routes = this.routes.map(moved);
    for (const [upper, { vxlan, ...rest }] of this.links) {
      if (vxlan?.lower === name) this.links.set(upper, { ...rest, vxlan: { ...vxlan, lower: other } });
    }
    this.#emit({ verb: 'delete', link: name });
    this.#putLink({ ...link, name: other });
  }

  changeLink(name: string, change: Partial<Omit<LinkInfo, 'index' | 'name'>>): void {
    const link = this.links.get(name);
    if (!link) return;
    this.#putLink({ ...link, ...change });
    const goesDown = link.up && change.up === false;
    if (goesDown) {
      for (const [id, found] of this.nexthops) if (found?.object.dev === name) this.nexthops.delete(id);
      this.routes = this.routes.filter(({ dev }) => dev !== name);
    }
    if (goesDown || (change.mac !== undefined && change.mac !== link.mac))
      this.#dropNeighbours(({ dev }) => dev === name);
  }

  deleteNexthop(id: number): void {
    const found = this.nexthops.get(id);
    if (!this.nexthops.delete(id)) return;
    this.routes = this.routes.filter(({ nexthopId }) => nexthopId !== id);
    this.#emit(found ? { verb: 'delete', observed: found } : { verb: 'delete', foreignRoute: `nexthop ${id}` });
  }

  /** `ip nexthop replace id ID blackhole`: routes on it discard from then on. */
  blackholeNexthop(id: number): void {
    this.nexthops.set(id, undefined);
    this.routes = this.routes.map((route) =>
      route.nexthopId === id ? { ...route, type: 6, dev: undefined, gateway: undefined } : route,
    );
    this.#emit({ verb: 'set', foreignRoute: `nexthop ${id}` });
  }

  /** Somebody's route of any kind; `first`: before others of the same key. */
  addRoute(info: Omit<RouteInfo, 'family'>, first = false): void {
    const whole = { ...info, family: familyOf(info.dst) };
    this.routes = first ? [whole, ...this.routes] : [...this.routes, whole];
    this.#emit({ verb: 'set', foreignRoute: info.dst });
  }

  removeRoutes(isGone: (route: RouteInfo) => boolean): void {
    const gone = this.routes.filter(isGone);
    this.routes = this.routes.filter((route) => !isGone(route));
    for (const route of gone) this.#emitRoute('delete', route);
  }

  lookup(ip: Ip): (RouteLookup & { readonly length: number }) | undefined {
    const connected = this.addresses
      .filter(({ dev, ip: own, length }) => this.links.get(dev)?.up && containsIp(prefixOf(own, length), ip))
      .map(({ dev, ip: source, length }) => ({ length, dev, gateway: undefined, source }));
    const routed = this.routes.flatMap(({ dst, dev, gateway }) =>
      dev !== undefined && containsIp(dst, ip) ? [{ length: prefixLength(dst), dev, gateway, source: undefined }] : [],
    );
    const [best] = [...connected, ...routed].sort((a, b) => b.length - a.length);
    return best;
  }

  #putLink(link: LinkInfo): void {
    this.links.set(link.name, link);
    this.#emit({ verb: 'set', link: link.name });
  }

  #setLink(verb: Operation['verb'], { kind: _, ...wanted }: Link): Result {
    const found = this.links.get(wanted.name);
    if (found && verb === 'create') return refusal('EEXIST');
    if (wanted.vxlan && !this.links.has(wanted.vxlan.lower)) return refusal('ENODEV');
    const { step } = linkStep({ ...wanted, kind: 'link' }, found);
    if (step === 'none') return OK;
    if (step === 'change') {
      const { mac, mtuBytes, up, vxlan } = wanted;
      this.changeLink(wanted.name, { mac, mtuBytes, up, vxlan });
      return OK;
    }
    if (wanted.vxlan === undefined) return this.#makeTun(wanted, step === 'make' && found !== undefined);
    this.deleteLink(wanted.name);
    const { vni, port } = wanted.vxlan;
    for (const { vxlan } of this.links.values()) {
      if (vxlan?.vni === vni && vxlan.port === port)
        return refusal('EEXIST', 'A VXLAN device with the specified VNI already exists');
    }
    this.addDevice(wanted.name, { ...wanted, type: 'vxlan' });
    return OK;
  }

  /** One in the hand of another process is not to be had, until that lets go; it goes with it. */
  #makeTun({ mac, ...wanted }: Omit<Link, 'kind'>, isHeld: boolean): Result {
    if (isHeld) return refusal('EBUSY', `${wanted.name} is held by another process: stop it`);
    this.deleteLink(wanted.name);
    const tun = { isTap: mac !== undefined, isPersistent: true, isMultiQueue: false };
    this.addDevice(wanted.name, { ...wanted, mac, type: 'tun', tun });
    return OK;
  }

  #setAddress(verb: Operation['verb'], { dev, ip, length }: Address): Result {
    if (!this.links.has(dev)) return refusal('ENODEV');
    const exists = this.addresses.some((one) => one.dev === dev && one.ip === ip && one.length === length);
    if (exists) return verb === 'create' ? refusal('EEXIST') : OK;
    this.addresses.push({ dev, ip, length, permanent: true, temporary: false, deprecated: false });
    this.#emit({ verb: 'set', address: { dev, ip } });
    return OK;
  }

  #deleteAddress({ dev, ip, length }: Address): void {
    const before = this.addresses.length;
    this.addresses = this.addresses.filter((one) => one.dev !== dev || one.ip !== ip || one.length !== length);
    if (this.addresses.length === before) return;
    this.#emit({ verb: 'delete', address: { dev, ip } });
    const family = familyOf(ip);
    if (this.addresses.some((one) => one.dev === dev && familyOf(one.ip) === family)) return;
    this.routes = this.routes.filter((one) => one.dev !== dev || one.family !== family || one.nexthopId !== undefined);
    this.#dropNeighbours((one) => one.dev === dev && familyOf(one.ip) === family);
  }

  #setNeighbour(object: Neighbour, marks: Omit<Observed, 'object'>): Result {
    if (!this.links.has(object.dev)) return refusal('ENODEV');
    const observed = { object, ...marks };
    const isOther = (one: Neighbour): boolean => one.dev !== object.dev || one.ip !== object.ip;
    this.neighbours = [...this.neighbours.filter((one) => isOther(one.object)), observed];
    this.#emit({ verb: 'set', observed });
    return OK;
  }

  #dropNeighbours(isGone: (neighbour: Neighbour) => boolean): void {
    const gone = this.neighbours.filter(({ object }) => isGone(object));
    this.neighbours = this.neighbours.filter(({ object }) => !isGone(object));
    for (const observed of gone) this.#emit({ verb: 'delete', observed });
  }

  #setFdb(object: FdbEntry, marks: Omit<Observed, 'object'>): Result {
    if (!this.links.has(object.dev)) return refusal('ENODEV');
    const observed = { object, ...marks };
    const isOther = (one: FdbEntry): boolean => one.dev !== object.dev || one.mac !== object.mac;
    this.fdb = [...this.fdb.filter((one) => isOther(one.object)), observed];
    this.#emit({ verb: 'set', observed });
    return OK;
  }

  #deleteFdb({ dev, mac }: FdbEntry): void {
    const gone = this.fdb.find(({ object }) => object.dev === dev && object.mac === mac);
    this.fdb = this.fdb.filter((one) => one !== gone);
    if (gone) this.#emit({ verb: 'delete', observed: gone });
  }

  #setNexthop(verb: Operation['verb'], object: Nexthop, marks: Omit<Observed, 'object'>): Result {
    if (verb === 'create' && this.nexthops.has(object.id)) return refusal('EEXIST');
    if (this.links.get(object.dev)?.tun) return refusal('ENETDOWN', 'Carrier for nexthop device is down');
    const fault = this.#hopFault(object);
    if (fault) return fault;
    const observed = { object, ...marks };
    this.nexthops.set(object.id, observed);
    const { dev, gateway, onlink } = object;
    const moved = { dev, gateway, onlink, type: 1 };
    this.routes = this.routes.map((route) => (route.nexthopId === object.id ? { ...route, ...moved } : route));
    this.#emit({ verb: 'set', observed });
    return OK;
  }

  #hopFault({ dev, gateway, onlink }: Pick<Route, 'dev' | 'gateway' | 'onlink'>): Result {
    const link = this.links.get(dev);
    if (!link) return refusal('ENODEV');
    if (!link.up) return refusal('ENETDOWN', 'Nexthop device is not up');
    if (gateway === undefined || gateway.startsWith('fe80:')) return OK;
    const way = this.lookup(gateway);
    const isAstray = way !== undefined && way.length > 0 && way.dev !== dev;
    if (onlink && isAstray && familyOf(gateway) === 6) return refusal('EINVAL', 'Nexthop has invalid gateway');
    const isReached = onlink || (way?.dev === dev && way.gateway === undefined);
    return isReached ? OK : refusal('ENETUNREACH', 'Nexthop has invalid gateway');
  }

  #setRoute(verb: Operation['verb'], route: Route, protocol: number): Result {
    const { dst, nexthopId } = route;
    if (nexthopId !== undefined && !this.nexthops.has(nexthopId)) return refusal('EINVAL', 'Nexthop id does not exist');
    const fault = nexthopId === undefined ? this.#hopFault(route) : OK;
    if (fault) return fault;
    const family = familyOf(dst);
    const metric = route.metric ?? METRIC[family];
    const at = this.routes.findIndex((one) => one.dst === dst && one.metric === metric);
    if (verb === 'create' && at >= 0) return refusal('EEXIST');
    const hop = nexthopId === undefined ? route : this.nexthops.get(nexthopId)?.object;
    const via = { dev: hop?.dev, gateway: hop?.gateway, onlink: hop?.onlink ?? false };
    const info: RouteInfo = { family, dst, metric, protocol, ...via, nexthopId, type: hop ? 1 : 6 };
    const isSame = (one: RouteInfo): boolean => JSON.stringify(one) === JSON.stringify(info);
    if (this.routes.findIndex(isSame) > at && at >= 0) return refusal('EEXIST');
    if (at < 0) this.routes.push(info);
    else this.routes[at] = info;
    this.#emitRoute('set', info);
    return OK;
  }

  #deleteRoute({ dst, metric }: Route, protocol: number): void {
    const gone = this.routes.find(
      (one) => one.dst === dst && one.protocol === protocol && one.metric === (metric ?? METRIC[one.family]),
    );
    if (gone) this.removeRoutes((route) => route === gone);
  }

  #emitRoute(verb: 'set' | 'delete', info: RouteInfo): void {
    const { dst, dev, gateway, onlink, nexthopId, protocol, type } = info;
    const maybeOurs = (protocol === TARTAN_PROTOCOL || (protocol === 3 && gateway !== undefined)) && type === 1;
    if (!maybeOurs || dev === undefined) {
      this.#emit({ verb, foreignRoute: dst });
      return;
    }
    const metric = metricIn(info);
    const via = { dev, gateway, onlink, nexthopId };
    const object = { kind: 'route', dst, ...via, ...(metric !== undefined && { metric }) } as const;
    this.#emit({ verb, observed: { object, protocol, permanent: false } });
  }
}
