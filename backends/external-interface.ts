/**
 * Which interface the hosts reach each other by, chosen as flannel chooses it:
 *
 *   --iface …, then --iface-regex …, then --iface-can-reach …: the first that leads to an interface with an address
 *   of every enabled family; none of them given: the interface that has --public-ip, then --public-ipv6; else the
 *   interface of the default route
 *
 * Where flannel crashes or gives up without need, this goes on: a public IP that no interface has (NAT) leaves the
 * choice to the default route, and is advertised all the same.
 */
import { type Family, familyOf, type Ip, notUnicast, parseIp, prefixLength } from '../config/address.ts';
import type { Underlay } from './backend.ts';
import type { Families } from './backend-config.ts';
import { usableAddresses } from './interface-addresses.ts';
import type { RouteLookup } from './kernel/kernel.ts';
import { enabledFamilies } from './lease-part.ts';
import type { AddressInfo, LinkInfo, RouteInfo } from './state.ts';

/** What the operator asked for. */
export interface UnderlayWish {
  /** Names or addresses, in order. */
  readonly iface: readonly string[];
  /** Expressions for addresses or names. */
  readonly ifaceRegex: readonly RegExp[];
  readonly ifaceCanReach: Ip | undefined;
  readonly publicIp: Ip | undefined;
  readonly publicIp6: Ip | undefined;
  readonly families: Families;
}

/** What the host has, in the kernel's order. */
export interface HostFacts {
  readonly links: readonly LinkInfo[];
  readonly addresses: readonly AddressInfo[];
  /** The default routes of the main table, both families; others may be among them. */
  readonly routes: readonly RouteInfo[];
  /** The kernel's answer for `ifaceCanReach`. */
  readonly reach?: RouteLookup | undefined;
}

export type UnderlayResult =
  /** `notes`: what was asked for and passed over, for the log. */
  | { readonly ok: true; readonly underlay: Underlay; readonly notes: readonly string[] }
  | { readonly ok: false; readonly reason: string };

/** An interface, with the addresses of it that were asked for. */
interface Choice {
  readonly link: LinkInfo;
  readonly pinned: readonly Ip[];
}
type Step<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly reason: string };

const UNICAST = 1;
/** Our own overlay devices: after a restart they must not be taken for the underlay. */
const OVERLAY = /^flannel(\d+|(-v6)?\.\d+)$/;

export function selectUnderlay(wish: UnderlayWish, facts: HostFacts): UnderlayResult {
  const bad = badPublicIp(wish.publicIp, 4) ?? badPublicIp(wish.publicIp6, 6);
  if (bad !== undefined) return { ok: false, reason: bad };
  return new Selection(wish, facts).run();
}

function badPublicIp(ip: Ip | undefined, family: Family): string | undefined {
  if (ip === undefined) return undefined;
  const option = family === 4 ? '--public-ip' : '--public-ipv6';
  if (familyOf(ip) !== family) return `${option} ${ip} is not an IPv${family} address`;
  const fault = notUnicast(ip);
  return fault === undefined ? undefined : `${option} ${ip} is ${fault}`;
}

class Selection {
  readonly #wish: UnderlayWish;
  readonly #facts: HostFacts;
  readonly #families: readonly Family[];
  readonly #notes: string[] = [];

  constructor(wish: UnderlayWish, facts: HostFacts) {
    this.#wish = wish;
    this.#facts = facts;
    this.#families = enabledFamilies(wish.families);
  }

  run(): UnderlayResult {
    for (const candidate of this.#candidates()) {
      const choice = candidate();
      const result = choice.ok ? this.#underlay(choice.value) : choice;
      if (result.ok) return { ok: true, underlay: result.value, notes: this.#notes };
      this.#notes.push(result.reason);
    }
    return { ok: false, reason: `no external interface: ${this.#notes.join('; ')} (there are ${this.#listing()})` };
  }

  #candidates(): (() => Step<Choice>)[] {
    const { iface, ifaceRegex, ifaceCanReach } = this.#wish;
    const asked = [
      ...iface.map((value) => () => this.#byNameOrIp(value)),
      ...ifaceRegex.map((regexp) => () => this.#byRegex(regexp)),
    ];
    if (ifaceCanReach !== undefined) asked.push(() => this.#byReach(ifaceCanReach));
    if (asked.length > 0) return asked;
    const own = this.#publicIps().filter((ip) => this.#ownerOf(ip) !== undefined);
    this.#noteNat(own);
    const [selector] = own;
    return [selector === undefined ? () => this.#byDefaultRoute() : () => this.#byIp(selector)];
  }

  /** The public IPs asked for, of enabled families. */
  #publicIps(): Ip[] {
    const { publicIp, publicIp6 } = this.#wish;
    return [publicIp, publicIp6].filter((ip) => ip !== undefined).filter((ip) => this.#families.includes(familyOf(ip)));
  }

  #noteNat(own: readonly Ip[]): void {
    for (const ip of this.#publicIps().filter((candidate) => !own.includes(candidate))) {
      this.#notes.push(`the public IP ${ip} is on no interface: it is advertised, and not used to choose one`);
    }
  }

  #byNameOrIp(value: string): Step<Choice> {
    const ip = parseIp(value);
    if (ip !== undefined) return this.#byIp(ip);
    const link = this.#link(value);
    return link === undefined ? failed(`no interface is named ${value}`) : found({ link, pinned: [] });
  }

  /** The interface that has the address; in dual stack the other family's public IP, if local, must be there too. */
  #byIp(ip: Ip): Step<Choice> {
    const link = this.#ownerOf(ip);
    if (link === undefined) return failed(`no interface has the address ${ip}`);
    const other = this.#publicIps().find((candidate) => familyOf(candidate) !== familyOf(ip));
    const owner = other === undefined ? undefined : this.#ownerOf(other);
    if (other === undefined || owner === undefined) return found({ link, pinned: [ip] });
    if (owner.name === link.name || this.#has(link, other)) return found({ link, pinned: [ip, other] });
    return failed(`${ip} is on ${link.name}, but the public IP ${other} is on ${owner.name}`);
  }

  /** By addresses of every family at once, then by name, then (where flannel gives up) by an address of any family. */
  #byRegex(regexp: RegExp): Step<Choice> {
    const links = this.#facts.links.filter((link) => !OVERLAY.test(link.name));
    const matches = links.map((link) => ({ link, pinned: this.#matching(link, regexp) }));
    const choice =
      matches.find(({ pinned }) => pinned.length === this.#families.length) ??
      matches.find(({ link }) => regexp.test(link.name)) ??
      matches.find(({ pinned }) => pinned.length > 0);
    return choice === undefined ? failed(`no interface matches ${regexp.source}`) : found(choice);
  }

  #matching(link: LinkInfo, regexp: RegExp): Ip[] {
    return this.#families.flatMap((family) => this.#usable(link, family).find((ip) => regexp.test(ip)) ?? []);
  }

  #byReach(target: Ip): Step<Choice> {
    const { reach } = this.#facts;
    const link = reach === undefined ? undefined : this.#link(reach.dev);
    if (reach === undefined || link === undefined) return failed(`there is no route to ${target}`);
    return found({ link, pinned: reach.source === undefined ? [] : [reach.source] });
  }

  /** In dual stack both default routes, where there are both, must agree. */
  #byDefaultRoute(): Step<Choice> {
    const devices = this.#families.map((family) => this.#defaultDevice(family));
    const names = [...new Set(devices.filter((dev) => dev !== undefined))];
    const [name] = names;
    const link = name === undefined ? undefined : this.#link(name);
    if (link === undefined) return failed('there is no default route with a device');
    if (names.length > 1) return failed(`the default routes lead to ${names.join(' and ')}: choose one by --iface`);
    for (const [i, family] of this.#families.entries()) {
      if (devices[i] === undefined) this.#notes.push(`no IPv${family} default route: taking ${link.name} as well`);
    }
    return found({ link, pinned: [] });
  }

  #defaultDevice(family: Family): string | undefined {
    const routes = this.#facts.routes.filter((route) => route.family === family && prefixLength(route.dst) === 0);
    return routes.find((route) => route.type === UNICAST && route.dev !== undefined)?.dev;
  }

  #underlay({ link, pinned }: Choice): Step<Underlay> {
    if (link.mtuBytes === 0) return failed(`the MTU of ${link.name} is 0`);
    const ips = new Map<Family, Ip>();
    for (const family of this.#families) {
      const ip = pinned.find((candidate) => familyOf(candidate) === family) ?? this.#usable(link, family)[0];
      if (ip === undefined) return failed(`${link.name} has no usable IPv${family} address`);
      const fault = notUnicast(ip);
      if (fault !== undefined) return failed(`the address ${ip} of ${link.name} is ${fault}`);
      ips.set(family, ip);
    }
    const ip = ips.get(4);
    const ip6 = ips.get(6);
    return found({
      index: link.index,
      dev: link.name,
      mtuBytes: link.mtuBytes,
      ip,
      ip6,
      publicIp: ip && (this.#wish.publicIp ?? ip),
      publicIp6: ip6 && (this.#wish.publicIp6 ?? ip6),
      hostAddresses: new Set(this.#facts.addresses.map((address) => address.ip)),
    });
  }

  #usable(link: LinkInfo, family: Family): Ip[] {
    return usableAddresses(this.#facts.addresses, link.name, family);
  }

  #link(name: string): LinkInfo | undefined {
    return this.#facts.links.find((link) => link.name === name);
  }

  #ownerOf(ip: Ip): LinkInfo | undefined {
    return this.#facts.links.find((link) => this.#has(link, ip));
  }

  #has(link: LinkInfo, ip: Ip): boolean {
    return this.#facts.addresses.some((address) => address.dev === link.name && address.ip === ip);
  }

  #listing(): string {
    const { links, addresses } = this.#facts;
    const texts = links.map(({ name }) => {
      const own = addresses.filter((address) => address.dev === name).map((address) => address.ip);
      return `${name}:[${own.join(' ')}]`;
    });
    return texts.length === 0 ? 'no interfaces' : texts.join(' ');
  }
}

function found<T>(value: T): Step<T> {
  return { ok: true, value };
}

function failed(reason: string): { readonly ok: false; readonly reason: string } {
  return { ok: false, reason };
}
