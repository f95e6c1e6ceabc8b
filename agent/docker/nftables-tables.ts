/** What `nft -j list ruleset` prints (libnftables-json(5)), as rules to follow packets through. Pure. */
import {
  containsIp,
  type Family,
  type Ip,
  ipToBigInt,
  type Prefix,
  parseIp,
  parsePrefix,
} from '../../config/address.ts';
import { isJsonObject } from '../../config/go-json.ts';
import { prefixIn } from './iptables-tables.ts';
import type { Action, Chain, FilterRule, Packet, RuleTable, Test } from './packet-path.ts';

export interface NftablesTables {
  readonly tables: readonly RuleTable[];
  /** `10.5.17.2:80`: where connections are sent on to. */
  readonly forwardedTo: ReadonlySet<string>;
}

type Json = Readonly<Record<string, unknown>>;

/**
 * Of the tables that concern one family. Never throws; undefined where the text is no such listing.
 * @param listed tables that iptables-nft keeps there, and has listed better itself: `filter`, `nat`.
 */
export function nftablesTables(text: string, family: Family, listed: ReadonlySet<string>): NftablesTables | undefined {
  const objects = objectsIn(text);
  if (!objects) return undefined;
  const tables = new Map<string, TableDraft>();
  const names = new Set(['inet', family === 4 ? 'ip' : 'ip6']);
  for (const object of objects) {
    for (const [kind, value] of Object.entries(object)) {
      if (!isJsonObject(value) || !names.has(String(value['family']))) continue;
      const name = String(value[kind === 'table' ? 'name' : 'table']);
      if (value['family'] !== 'inet' && listed.has(name)) continue;
      const table = `${String(value['family'])} ${name}`;
      const draft = tables.get(table) ?? new TableDraft(family);
      tables.set(table, draft);
      draft.add(kind, value);
    }
  }
  const forwardedTo = new Set([...tables.values()].flatMap((draft) => draft.forwardedTo));
  return { tables: [...tables].map(([name, { chains }]) => ({ name: `nftables ${name}`, chains })), forwardedTo };
}

function objectsIn(text: string): readonly Json[] | undefined {
  try {
    const value: unknown = JSON.parse(text);
    const list = isJsonObject(value) ? value['nftables'] : undefined;
    return Array.isArray(list) ? list.filter(isJsonObject) : undefined;
  } catch {
    return undefined;
  }
}

type ChainDraft = Chain & { readonly rules: FilterRule[] };

class TableDraft {
  readonly chains = new Map<string, ChainDraft>();
  readonly forwardedTo: string[] = [];
  readonly #sets = new Map<string, readonly unknown[]>();
  readonly #family: Family;

  constructor(family: Family) {
    this.#family = family;
  }

  add(kind: string, value: Json): void {
    const name = String(value['name']);
    if (kind === 'set' || kind === 'map') this.#sets.set(`@${name}`, listOf(value['elem']));
    else if (kind === 'chain') this.chains.set(name, chainOf(name, value));
    else if (kind === 'rule') this.#addRule(value);
  }

  /** A rule comes after all chains and sets of its table; what it names is looked up when a packet comes all the same. */
  #addRule(value: Json): void {
    const tests: Test[] = [];
    let action: Action = { kind: 'continue' };
    for (const expression of listOf(value['expr']).filter(isJsonObject)) {
      const [kind = '', inner] = Object.entries(expression)[0] ?? [];
      if (kind === 'dnat') this.forwardedTo.push(...targetOf(inner));
      const found = this.#actionOf(kind, inner);
      if (found) action = found;
      else if (!SILENT.has(kind) && !isComment(inner)) tests.push(this.#testOf(kind, inner));
    }
    this.chains.get(String(value['chain']))?.rules.push({ tests, action, text: ruleText(value) });
  }

  #actionOf(kind: string, inner: unknown): Action | undefined {
    if (kind === 'accept' || kind === 'drop' || kind === 'return') return { kind };
    if (kind === 'reject') return { kind: 'drop' };
    const target = isJsonObject(inner) ? inner['target'] : undefined;
    if (kind === 'jump' || kind === 'goto') return { kind, chain: String(target) };
    if (kind === 'mangle') return isJsonObject(inner) ? markingOf(inner) : undefined;
    if (kind === 'vmap' && isJsonObject(inner)) return { kind: 'map', choose: (packet) => this.#mapped(inner, packet) };
    return undefined;
  }

  #mapped({ key, data }: Json, packet: Packet): Action {
    const found = operand(key, packet, 0);
    const fits = this.#elements(data).find((pair) => Array.isArray(pair) && pair[0] === found);
    const verdict: unknown = Array.isArray(fits) ? fits[1] : undefined;
    const [kind = '', inner] = isJsonObject(verdict) ? (Object.entries(verdict)[0] ?? []) : [];
    return this.#actionOf(kind, inner) ?? { kind: 'continue' };
  }

  /** Of a named set or map, or of one that stands in the rule. */
  #elements(data: unknown): readonly unknown[] {
    if (typeof data === 'string') return this.#sets.get(data) ?? [];
    return isJsonObject(data) ? listOf(data['set']) : [];
  }

  #testOf(kind: string, inner: unknown): Test {
    if (kind !== 'match' || !isJsonObject(inner)) return () => undefined;
    const { op, left, right } = inner;
    return (packet, mark) => {
      const found = operand(left, packet, mark, this.#family);
      if (found === undefined) return undefined;
      const isSet = isJsonObject(right) && 'set' in right;
      const isNamed = typeof right === 'string' && right.startsWith('@');
      const wanted = isSet || isNamed ? this.#elements(right) : Array.isArray(right) ? right : [right];
      const isAmong = wanted.some((one) => isEqual(found, one));
      if (op === '==' || op === 'in') return isAmong;
      return op === '!=' ? !isAmong : undefined;
    };
  }
}

/** What says nothing of the packet. */
const SILENT = new Set(['counter', 'log', 'comment', 'masquerade', 'snat', 'dnat', 'redirect', 'notrack']);

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

/** iptables-nft's own match for a rule's comment. */
function isComment(inner: unknown): boolean {
  return isJsonObject(inner) && inner['type'] === 'match' && inner['name'] === 'comment';
}

function chainOf(name: string, { type, hook, prio, policy }: Json): ChainDraft {
  const known: 'prerouting' | 'forward' | undefined = hook === 'prerouting' || hook === 'forward' ? hook : undefined;
  const base = known && type !== 'nat' ? { hook: known, priority: Number(prio) } : undefined;
  return { name, base, policy: policy === 'drop' ? 'drop' : 'accept', rules: [] };
}

function targetOf(inner: unknown): readonly string[] {
  if (!isJsonObject(inner)) return [];
  const { addr, port } = inner;
  if (typeof addr !== 'string') return [];
  return [`${addr.includes(':') ? `[${addr}]` : addr}:${String(port)}`];
}

/** What the left side of a comparison is for this packet; undefined: not known. */
function operand(left: unknown, packet: Packet, mark: number, family?: Family): string | number | undefined {
  if (!isJsonObject(left)) return undefined;
  const { meta, payload, ct } = left;
  if (isJsonObject(meta)) return metaOf(String(meta['key']), packet, mark, family);
  if (isJsonObject(ct)) return ct['key'] === 'state' ? 'new' : undefined;
  if (isJsonObject(payload) && (payload['protocol'] === 'ip' || payload['protocol'] === 'ip6')) {
    if (payload['field'] === 'saddr') return packet.source;
    if (payload['field'] === 'daddr') return packet.destination;
  }
  const and = listOf(left['&']);
  const inner = and.length === 2 ? operand(and[0], packet, mark, family) : undefined;
  return typeof inner === 'number' && typeof and[1] === 'number' ? (inner & and[1]) >>> 0 : undefined;
}

function metaOf(key: string, { from, to }: Packet, mark: number, family: Family | undefined) {
  if (key === 'iifname' || key === 'iif') return from;
  if (key === 'oifname' || key === 'oif') return to;
  if (key === 'mark') return mark;
  if (key === 'nfproto' && family) return family === 4 ? 'ipv4' : 'ipv6';
  if (key === 'protocol' && family) return family === 4 ? 'ip' : 'ip6';
  return undefined;
}

/** @param wanted a value, a prefix, a range, or an element with a time limit. */
function isEqual(found: string | number, wanted: unknown): boolean {
  if (typeof wanted === 'string' && wanted.endsWith('*')) return String(found).startsWith(wanted.slice(0, -1));
  if (!isJsonObject(wanted)) return found === wanted;
  const { prefix, range, elem } = wanted;
  if (isJsonObject(elem)) return isEqual(found, elem['val']);
  const ip = parseIp(String(found));
  if (ip && isJsonObject(prefix)) return isIn(parsePrefix(`${String(prefix['addr'])}/${String(prefix['len'])}`), ip);
  const [first, last] = listOf(range).map((one) => prefixIn(String(one))?.replace(/\/.*/, ''));
  return ip !== undefined && isBetween(first, last, ip);
}

function isIn(prefix: Prefix | undefined, ip: Ip): boolean {
  return prefix !== undefined && containsIp(prefix, ip);
}

function isBetween(first: string | undefined, last: string | undefined, ip: Ip): boolean {
  const [low, high] = [parseIp(first ?? ''), parseIp(last ?? '')];
  return (
    low !== undefined && high !== undefined && ipToBigInt(low) <= ipToBigInt(ip) && ipToBigInt(ip) <= ipToBigInt(high)
  );
}

/** `meta mark set 0x54`, `meta mark set meta mark | 0x1000`. */
function markingOf({ key, value }: Json): Action | undefined {
  if (!isJsonObject(key) || !isJsonObject(key['meta']) || key['meta']['key'] !== 'mark') return undefined;
  if (typeof value === 'number') return { kind: 'mark', change: () => value };
  const or = isJsonObject(value) ? listOf(value['|']) : [];
  const bits = or.find((one) => typeof one === 'number');
  return typeof bits === 'number' ? { kind: 'mark', change: (mark) => (mark | bits) >>> 0 } : undefined;
}

/** Not nft's own words, which its JSON does not have, but near enough to find the rule by. */
function ruleText({ comment, handle, expr }: Json): string {
  const last = listOf(expr).findLast(isJsonObject);
  const verdict = last ? Object.keys(last)[0] : '';
  const name = typeof comment === 'string' ? ` "${comment}"` : '';
  return `${verdict}${name} (handle ${String(handle)})`;
}
