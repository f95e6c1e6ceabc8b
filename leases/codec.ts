/**
 * Lease keys and values as flannel writes them (Go's encoding/json, compact, this order of fields, no newline):
 *
 *   <prefix>/subnets/10.5.1.0-24                        IPv4
 *   <prefix>/subnets/10.5.1.0-24&fd00:5:0:1::-64        dual stack
 *   <prefix>/subnets/0.0.0.0-0&fd00:5:0:1::-64          IPv6 only: there is no key without an IPv4 part
 *
 *   {"PublicIP":"192.0.2.10",        always there; 0.0.0.0 where the host has no IPv4
 *    "PublicIPv6":null,              always there; null or "fd77::10"
 *    "BackendType":"vxlan",          left out if empty (udp, alloc)
 *    "BackendData":{"VNI":1,…},      left out if there is none; any JSON, "extension" has a string
 *    "BackendV6Data":{…},            left out if there is none
 *    "Tartan":{"node":"…","name":"…","claim":"…",      ours, last; flannel ignores it
 *              "sources":["10.0.0.7"]}}                 left out unless packets come from elsewhere than PublicIP
 *
 * Writing is exact. Reading follows Go (keys whatever their case, `{}` and `null` are values), and is stricter than
 * flannel about keys: one subnet has one spelling, so no two keys can mean the same lease. What comes in is untrusted:
 * every function here gives a value or a reason, and never throws on input.
 */
import { posix } from 'node:path';
import {
  type Family,
  familyOf,
  type Ip,
  ipFromBigInt,
  ipToBigInt,
  networkAddress,
  notUnicast,
  type Prefix,
  parseIp,
  prefixLength,
  prefixOf,
} from '../config/address.ts';
import { TartanError } from '../config/errors.ts';
import { goField, goFields, isJsonObject, type JsonObject } from '../config/go-json.ts';
import { excerpt } from './excerpt.ts';
import type { LeaseAttributes, LeaseOwner, LeaseSubnets, StoredLease } from './lease.ts';
import type { KeyRange, KeyValue } from './store.ts';

type Refused = { readonly ok: false; readonly reason: string };

/** flannel reads the lengths as numbers of 5 and 7 bits: a /32 or a /128 can't be leased. */
const MAX_LENGTH = { 4: 31, 6: 127 } as const;
const MAX_VALUE_BYTES = 65_536;
const MAX_NESTING = 64;
const MAX_OWNER_CHARACTERS = 256;
const NO_IP = ipFromBigInt(0n, 4);
const FIELDS = ['PublicIP', 'PublicIPv6', 'BackendType', 'BackendData', 'BackendV6Data', 'Tartan'] as const;
const OWNER_FIELDS = ['node', 'name', 'claim'] as const;
/** One for each family. */
const MAX_SOURCES = 2;

function refused(reason: string): Refused {
  return { ok: false, reason };
}

/** `<prefix>/subnets/`; slashes that are doubled or trailing in the prefix vanish, as flannel has it (Go's path.Join). */
export function subnetsFolder(prefix: string): string {
  return `${posix.join(prefix, 'subnets')}/`;
}

/** The range of all lease keys. `<prefix>/subnetsX`, which flannel lists too, is not in it. */
export function leaseRange(prefix: string): KeyRange {
  const folder = subnetsFolder(prefix);
  return { key: folder, end: `${folder.slice(0, -1)}0` };
}

function keyPart(subnet: Prefix): string {
  return `${networkAddress(subnet)}-${prefixLength(subnet)}`;
}

/** The key of a lease. Its lengths are at most 31 and 127: there is no key for a single address. */
export function leaseKey(prefix: string, subnets: LeaseSubnets): string {
  const { subnet, subnet6 } = subnets;
  return `${subnetsFolder(prefix)}${keyPart(subnet)}${subnet6 === undefined ? '' : `&${keyPart(subnet6)}`}`;
}

function parseKeyPart(ipText: string, lengthText: string, family: Family): { ok: true; prefix: Prefix } | Refused {
  const ip = parseIp(ipText);
  if (ip === undefined || familyOf(ip) !== family) return refused(`${excerpt(ipText)} is no IPv${family} address`);
  if (ip !== ipText) return refused(`${excerpt(ipText)} is not in canonical form (${ip})`);
  // Go prints such an address dotted, which its own parser of keys refuses.
  if (family === 6 && ipToBigInt(ip) >> 32n === 0n) return refused(`${ip} stands for an IPv4 address`);
  const length = Number(lengthText);
  if (length > MAX_LENGTH[family] || String(length) !== lengthText)
    return refused(`IPv${family} length ${excerpt(lengthText)} is not 0 to ${MAX_LENGTH[family]}`);
  const prefix = prefixOf(ip, length);
  if (networkAddress(prefix) !== ip) return refused(`${ip}/${lengthText} has host bits set`);
  return { ok: true, prefix };
}

type KeyRead = { readonly ok: true; readonly subnets: LeaseSubnets } | Refused;

/**
 * What a key says. Refused, with a reason: a key elsewhere than directly under `<prefix>/subnets/`, host bits, leading
 * zeros, upper case, IPv6 text that is not RFC 5952's, addresses that stand for IPv4 ones. flannel reads some of them
 * (its pattern has no start), but writes none.
 */
export function parseLeaseKey(prefix: string, key: string): KeyRead {
  return parseKeyIn(subnetsFolder(prefix), key);
}

function parseKeyIn(folder: string, key: string): KeyRead {
  if (!key.startsWith(folder)) return refused(`not under ${excerpt(folder)}`);
  const name = key.slice(folder.length);
  const match = name.length > 64 ? null : /^(\d+\.\d+\.\d+\.\d+)-(\d+)(?:&([a-f\d:]+)-(\d+))?$/.exec(name);
  if (!match) return refused(`${excerpt(name)} is not <IPv4>-<length>[&<IPv6>-<length>]`);
  const [, ip = '', length = '', ip6, length6 = ''] = match;
  const v4 = parseKeyPart(ip, length, 4);
  if (!v4.ok) return v4;
  if (ip6 === undefined) return { ok: true, subnets: { subnet: v4.prefix, subnet6: undefined } };
  const v6 = parseKeyPart(ip6, length6, 6);
  return v6.ok ? { ok: true, subnets: { subnet: v4.prefix, subnet6: v6.prefix } } : v6;
}

/** Go's encoder writes what could end a script element, and two line separators, as escapes. */
function escapeAsGo(json: string): string {
  return json.replace(/[<>&\u2028\u2029]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

function goString(text: string): string {
  return escapeAsGo(JSON.stringify(text));
}

/** JSON text as Go embeds it: no space between tokens, numbers and escapes as they were. */
function goRaw(json: string): string {
  try {
    JSON.parse(json);
  } catch (cause) {
    throw new TartanError('INTERNAL', 'Backend data is not JSON: flannel would drop such a lease', { cause });
  }
  return escapeAsGo(json.replace(/("[^"\\]*(?:\\.[^"\\]*)*")|\s+/g, (_, text: string | undefined) => text ?? ''));
}

/**
 * The value of a lease, byte for byte as flannel would write it, plus the owner where there is one.
 * @throws TartanError INTERNAL where the backend's data is not JSON.
 */
export function formatLeaseValue(attributes: LeaseAttributes): string {
  const { publicIp, publicIp6, backendType, backendData, backendV6Data, owner, sources = [] } = attributes;
  let json = `{"PublicIP":${goString(publicIp)},"PublicIPv6":${publicIp6 === undefined ? 'null' : goString(publicIp6)}`;
  if (backendType !== '') json += `,"BackendType":${goString(backendType)}`;
  if (backendData) json += `,"BackendData":${goRaw(backendData)}`;
  if (backendV6Data) json += `,"BackendV6Data":${goRaw(backendV6Data)}`;
  if (owner) {
    const { node, name, claim } = owner;
    const from = sources.length > 0 ? `,"sources":[${sources.map(goString).join(',')}]` : '';
    json += `,"Tartan":{"node":${goString(node)},"name":${goString(name)},"claim":${goString(claim)}${from}}`;
  }
  return `${json}}`;
}

function count(text: string, wanted: string): number {
  let found = 0;
  for (let at = text.indexOf(wanted); at >= 0; at = text.indexOf(wanted, at + 1)) found++;
  return found;
}

/** Whether brackets nest deeper than we follow: JSON.parse would, JSON.stringify overflows the stack. */
function nestsTooDeep(json: string): boolean {
  // Few values have so many brackets at all.
  if (count(json, '{') + count(json, '[') <= MAX_NESTING) return false;
  let depth = 0;
  for (const [token] of json.matchAll(/"[^"\\]*(?:\\.[^"\\]*)*"|[[\]{}]/gs)) {
    if (token === '[' || token === '{') depth++;
    else if (token === ']' || token === '}') depth--;
    if (depth > MAX_NESTING) return true;
  }
  return false;
}

function parseObject(text: string): { readonly ok: true; object: JsonObject } | Refused {
  if (Buffer.byteLength(text) > MAX_VALUE_BYTES) return refused(`the value is longer than ${MAX_VALUE_BYTES} bytes`);
  if (nestsTooDeep(text)) return refused(`the value nests deeper than ${MAX_NESTING} levels`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return refused('the value is not JSON');
  }
  // Go leaves a struct as it is on null: the empty lease.
  if (value === null) return { ok: true, object: {} };
  return isJsonObject(value) ? { ok: true, object: value } : refused('the value is not a JSON object');
}

/** flannel refuses null, "" and the other family; an absent field is the zero address. */
function parsePublicIp(value: unknown): Ip | undefined {
  if (value === undefined) return NO_IP;
  const ip = typeof value === 'string' && !value.includes(':') ? parseIp(value) : undefined;
  return ip;
}

/** flannel's pointer: null and absent are none. Stricter: IPv4 text, which Go's parser lets pass, is refused. */
function parsePublicIp6(value: unknown): { readonly ok: true; ip: Ip | undefined } | Refused {
  if (value === undefined || value === null) return { ok: true, ip: undefined };
  const ip = typeof value === 'string' ? parseIp(value) : undefined;
  if (ip !== undefined && familyOf(ip) === 6) return { ok: true, ip };
  return refused(`PublicIPv6 ${shown(value)} is no IPv6 address`);
}

function shown(value: unknown): string {
  return excerpt(JSON.stringify(value) ?? 'undefined');
}

function isOwnerText(value: unknown): value is string {
  return typeof value === 'string' && value.length <= MAX_OWNER_CHARACTERS && !/\p{Cc}/u.test(value);
}

/** Who somebody says to be. A Tartan key that makes no sense counts as none: the lease is good without it. */
export function parseOwner(value: unknown): LeaseOwner | undefined {
  if (!isJsonObject(value)) return undefined;
  const { node, name: given, claim } = goFields(value, OWNER_FIELDS);
  const name = given ?? '';
  if (!isOwnerText(node) || !isOwnerText(name) || !isOwnerText(claim) || node === '' || claim === '') return undefined;
  return { node, name, claim };
}

/** Addresses that make no sense count as none, as with the owner. */
function parseSources(value: unknown): readonly Ip[] | undefined {
  const given = isJsonObject(value) ? goField(value, 'sources') : undefined;
  if (!Array.isArray(given) || given.length > MAX_SOURCES) return undefined;
  const sources = given.flatMap((one) => (typeof one === 'string' ? (parseIp(one) ?? []) : []));
  return sources.length > 0 && !sources.some(notUnicast) ? sources : undefined;
}

function dataText(value: unknown): string | undefined {
  return value === undefined ? undefined : JSON.stringify(value);
}

/** What a value says. `BackendData` comes back compact, as JSON.stringify writes it. */
export function parseLeaseValue(text: string): { readonly ok: true; attributes: LeaseAttributes } | Refused {
  const parsed = parseObject(text);
  if (!parsed.ok) return parsed;
  const { PublicIP, PublicIPv6, BackendType, BackendData, BackendV6Data, Tartan } = goFields(parsed.object, FIELDS);
  const publicIp = parsePublicIp(PublicIP);
  if (publicIp === undefined) return refused(`PublicIP ${shown(PublicIP)} is no IPv4 address`);
  const publicIp6 = parsePublicIp6(PublicIPv6);
  if (!publicIp6.ok) return publicIp6;
  const backendType = BackendType ?? '';
  if (typeof backendType !== 'string') return refused(`BackendType ${shown(backendType)} is no string`);
  const attributes = {
    publicIp,
    publicIp6: publicIp6.ip,
    backendType,
    backendData: dataText(BackendData),
    backendV6Data: dataText(BackendV6Data),
    owner: parseOwner(Tartan),
  };
  const sources = attributes.owner && parseSources(Tartan);
  return { ok: true, attributes: sources ? { ...attributes, sources } : attributes };
}

type LeaseRead = { readonly ok: true; readonly lease: StoredLease } | Refused;

/** A key and its value as a lease. */
export function decodeLease(prefix: string, kv: KeyValue): LeaseRead {
  return decodeLeaseIn(subnetsFolder(prefix), kv);
}

/** As `decodeLease`, for many: with their folder (`subnetsFolder`) instead of the prefix. */
export function decodeLeaseIn(folder: string, kv: KeyValue): LeaseRead {
  const key = parseKeyIn(folder, kv.key);
  if (!key.ok) return key;
  const value = parseLeaseValue(kv.value);
  if (!value.ok) return value;
  const { subnets } = key;
  const { attributes } = value;
  // Field by field: ten thousand objects made by spreading take four times as long, and more memory.
  const lease = {
    subnet: subnets.subnet,
    subnet6: subnets.subnet6,
    publicIp: attributes.publicIp,
    publicIp6: attributes.publicIp6,
    backendType: attributes.backendType,
    backendData: attributes.backendData,
    backendV6Data: attributes.backendV6Data,
    owner: attributes.owner,
    key: kv.key,
    createRevision: kv.createRevision,
    modRevision: kv.modRevision,
    etcdLease: kv.lease,
    value: kv.value,
  };
  const { sources } = attributes;
  return { ok: true, lease: sources ? { ...lease, sources } : lease };
}
