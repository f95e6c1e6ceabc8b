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

const HEAD = /^\t(set|counter|chain) (\S+) \{\n/m;
const BLOCK_ENDS = '\n\t}\n';
const ELEMENTS = /elements = \{ ([^}]*)\}/;
const ELEMENT = /([^\s,]+(?: \. [^\s,]+)?)([^,]*)(?:,\s*|$)/gy;
const PACKETS = 'packets ';

/** What is no part of such a listing is passed over. With thousands of elements it is long: it is read once. */
export function readListing(text: string): Listing {
  const sets = new Map<string, Elements>();
  const counters = new Map<string, number>();
  const chains = new Map<string, readonly string[]>();
  for (const block of text.split(BLOCK_ENDS).slice(0, -1)) {
    const head = HEAD.exec(block);
    if (head === null) continue;
    const [all, kind, name = ''] = head;
    const body = block.slice(head.index + all.length);
    if (kind === 'set') sets.set(name, readElements(body));
    else if (kind === 'counter') counters.set(name, packetsOf(body));
    else chains.set(name, readLines(body));
  }
  return { sets, counters, chains };
}

function readElements(body: string): Elements {
  const found = new Map<string, number>();
  const text = ELEMENTS.exec(body)?.[1]?.trimEnd() ?? '';
  for (const [, key = '', state = ''] of text.matchAll(ELEMENT)) found.set(key, packetsOf(state));
  return found;
}

function packetsOf(text: string): number {
  const at = text.indexOf(PACKETS);
  return at < 0 ? 0 : Number.parseInt(text.slice(at + PACKETS.length), 10);
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
