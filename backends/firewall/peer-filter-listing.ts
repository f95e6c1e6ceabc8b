/** What `nft list table` and `nft list set` print of the peer filter's table, as plain data. */
import { type Family, type Ip, ipFromBigInt, parseIp } from '../../config/address.ts';

/** The text of an element without what is counted of it: packets, 0 where nothing is. */
export type Elements = ReadonlyMap<string, number>;

export interface Listing {
  readonly sets: ReadonlyMap<string, Elements>;
  /** Packets by name. */
  readonly counters: ReadonlyMap<string, number>;
  /** Their lines, with single spaces. */
  readonly chains: ReadonlyMap<string, readonly string[]>;
}

const BLOCK = /^\t(set|counter|chain) (\S+) \{\n(.*?)^\t\}$/gms;
const ELEMENTS = /elements = \{([^}]*)\}/;
const PACKETS = /packets (\d+)/;
const STATE = / (?:counter|timeout|expires) .*$/s;

/** What is no part of such a listing is passed over. */
export function readListing(text: string): Listing {
  const sets = new Map<string, Elements>();
  const counters = new Map<string, number>();
  const chains = new Map<string, readonly string[]>();
  for (const [, kind, name = '', body = ''] of text.matchAll(BLOCK)) {
    if (kind === 'set') sets.set(name, readElements(body));
    else if (kind === 'counter') counters.set(name, packetsOf(body));
    else chains.set(name, readLines(body));
  }
  return { sets, counters, chains };
}

function readElements(body: string): Elements {
  const found = new Map<string, number>();
  for (const part of ELEMENTS.exec(body)?.[1]?.split(',') ?? []) {
    const text = part.trim();
    if (text !== '') found.set(text.replace(STATE, ''), packetsOf(text));
  }
  return found;
}

function packetsOf(text: string): number {
  return Number(PACKETS.exec(text)?.[1] ?? 0);
}

function readLines(body: string): string[] {
  return body
    .split('\n')
    .map((line) => line.trim().replaceAll(/\s+/g, ' '))
    .filter((line) => line !== '');
}

/** Of `192.0.2.7 . 0xa050104`; undefined where it is no such text. */
export function readStranger(element: string, family: Family): { source: Ip; inner: Ip } | undefined {
  const [outer = '', second = ''] = element.split(' . ');
  const source = parseIp(outer);
  const inner = /^(?:0x[0-9a-f]{1,32}|\d{1,39})$/.test(second) ? numbered(BigInt(second), family) : parseIp(second);
  return source === undefined || inner === undefined ? undefined : { source, inner };
}

function numbered(value: bigint, family: Family): Ip | undefined {
  return value < 1n << (family === 4 ? 32n : 128n) ? ipFromBigInt(value, family) : undefined;
}
