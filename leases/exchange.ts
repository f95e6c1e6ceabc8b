/**
 * Hosts that swap public IPs (pure). Each one's lease still has what another one wants, no lease can be without an
 * address, and no two may share one. So the leases of the one who asks and of the one who leaves exchange theirs, in one
 * transaction:
 *
 *   A: lease a, wants b ── "I want b, and give a" ──▶ B: lease b, wants c       a pair where c is a
 *   A: lease b          ◀──── one transaction ────▶   B: lease a, wants c       a is no truer of B than b was
 *
 * The asker's lease is true from then on, and no true one is touched: so a ring of any length comes to an end.
 */
import { familyOf, type Ip, notUnicast, parseIp } from '../config/address.ts';
import { isJsonObject } from '../config/go-json.ts';
import type { Addresses } from './identity.ts';

/** What the asker's lease is to have, and what it has and leaves. */
export interface Offer {
  readonly wants: Addresses;
  readonly gives: Addresses;
}

/** An address that goes one way, and the one that comes for it. */
export interface Trade {
  readonly taken: Ip;
  readonly given: Ip;
}

const FAMILIES = ['publicIp', 'publicIp6'] as const;

export function offerOf(held: Addresses, wants: Addresses): Offer {
  const left = (family: (typeof FAMILIES)[number]): Ip | undefined =>
    held[family] === wants[family] ? undefined : held[family];
  return { wants, gives: { publicIp: left('publicIp'), publicIp6: left('publicIp6') } };
}

/** What the offer takes of a lease's addresses and gives for them; undefined: nothing, or nothing for it. */
export function tradesOf(held: Addresses, { wants, gives }: Offer): readonly Trade[] | undefined {
  const trades: Trade[] = [];
  for (const family of FAMILIES) {
    const taken = held[family];
    const given = gives[family];
    if (taken === undefined || notUnicast(taken) !== undefined || taken !== wants[family]) continue;
    if (given === undefined || notUnicast(given) !== undefined) return undefined;
    trades.push({ taken, given });
  }
  return trades.length === 0 ? undefined : trades;
}

/** Whether whoever wants `wanted` for its lease leaves all that is taken. */
export function leaves(wanted: Addresses, trades: readonly Trade[]): boolean {
  return trades.every(({ taken }) => FAMILIES.every((family) => wanted[family] !== taken));
}

/** The addresses of a lease after the trades. */
export function traded<T extends Addresses>(held: T, trades: readonly Trade[]): Pick<T, keyof Addresses> {
  const after = <U extends Ip | undefined>(ip: U): U | Ip => trades.find(({ taken }) => taken === ip)?.given ?? ip;
  return { publicIp: after(held.publicIp), publicIp6: after(held.publicIp6) };
}

/** undefined: none, or one that makes no sense. */
export function parseOffer(value: unknown): Offer | undefined {
  const wants = isJsonObject(value) ? parseAddresses(value['wants']) : undefined;
  const gives = isJsonObject(value) ? parseAddresses(value['gives']) : undefined;
  return wants && gives && { wants, gives };
}

function parseAddresses(value: unknown): Addresses | undefined {
  if (!isJsonObject(value)) return undefined;
  const of = (text: unknown, family: 4 | 6): Ip | undefined => {
    const ip = typeof text === 'string' ? parseIp(text) : undefined;
    return ip !== undefined && familyOf(ip) === family ? ip : undefined;
  };
  return { publicIp: of(value['publicIp'], 4), publicIp6: of(value['publicIp6'], 6) };
}
