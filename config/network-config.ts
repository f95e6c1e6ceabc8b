/**
 * The network config under `<prefix>/config`, read as flannel reads it:
 *
 *     {"Network":"10.5.0.0/16","SubnetLen":24,"SubnetMin":"10.5.1.0","SubnetMax":"10.5.255.0",
 *      "EnableIPv4":true,"EnableIPv6":false,"IPv6Network":…,"IPv6SubnetLen":…,"IPv6SubnetMin":…,"IPv6SubnetMax":…,
 *      "EnableNFTables":false,"Backend":{"Type":"vxlan", …}}
 *
 * Keys match whatever their case, unknown keys are ignored, and a missing Backend means udp. Stricter than flannel:
 * every problem is reported, not the first one; SubnetMin after SubnetMax, a Backend without a Type, IPv4 text in an
 * IPv6 field and a config with neither family are refused here instead of failing later.
 */
import { type Family, familyOf, type Ip, type Prefix, parseIp, parsePrefix, prefixLength } from './address.ts';
import { toError } from './errors.ts';
import { goField, isJsonObject, type JsonObject } from './go-json.ts';
import { deriveRange, RANGE_FIELDS, type SubnetRange } from './subnet-range.ts';

export interface NetworkConfig {
  /** Per family that is switched on. At least one is. */
  readonly ranges: { readonly 4?: SubnetRange; readonly 6?: SubnetRange };
  readonly enableNftables: boolean;
  /** Lower case. Whether there is such a backend is for the backends to say. */
  readonly backendType: string;
  /** The `Backend` object as it stands, Type included; empty where the config has none. */
  readonly backend: JsonObject;
  /** The text as stored. */
  readonly text: string;
}

export type NetworkConfigResult =
  | { readonly ok: true; readonly config: NetworkConfig }
  | { readonly ok: false; readonly problems: readonly string[] };

/** Parses, validates and fills in the defaults. Each problem starts with the field that it is about. */
export function parseNetworkConfig(text: string): NetworkConfigResult {
  const json = readJson(text);
  if (typeof json === 'string') return { ok: false, problems: [json] };
  const fields = new Fields(json);
  const ranges = readRanges(fields);
  const enableNftables = fields.boolean('EnableNFTables', false);
  const { backendType, backend } = readBackend(fields);
  if (fields.problems.length > 0) return { ok: false, problems: fields.problems };
  return { ok: true, config: { ranges, enableNftables, backendType, backend, text } };
}

function readJson(text: string): JsonObject | string {
  try {
    const json: unknown = JSON.parse(text);
    return isJsonObject(json) ? json : 'config: must be a JSON object like {"Network":"10.5.0.0/16"}';
  } catch (error) {
    return `config: not JSON: ${toError(error).message}`;
  }
}

function readRanges(fields: Fields): NetworkConfig['ranges'] {
  const ranges: { 4?: SubnetRange; 6?: SubnetRange } = {};
  const enabled = { 4: fields.boolean('EnableIPv4', true), 6: fields.boolean('EnableIPv6', false) };
  for (const family of [4, 6] as const) {
    const range = readRange(fields, family, enabled[family]);
    if (range !== undefined) ranges[family] = range;
  }
  if (!enabled[4] && !enabled[6]) fields.problems.push('EnableIPv4, EnableIPv6: at least one of them must be true');
  return ranges;
}

/** Fields of a family that is switched off must still have the right type, as in flannel; no rule is applied then. */
function readRange(fields: Fields, family: Family, enabled: boolean): SubnetRange | undefined {
  const names = RANGE_FIELDS[family];
  const before = fields.problems.length;
  const network = fields.network(names.network, family);
  const given = {
    length: fields.length(names.length),
    min: fields.ip(names.min, family),
    max: fields.ip(names.max, family),
  };
  if (!enabled || fields.problems.length > before) return undefined;
  if (network === undefined) {
    const example = family === 4 ? '10.5.0.0/16' : 'fd00:5::/48';
    fields.problems.push(`${names.network}: missing; ${names.enable} needs a network such as ${example}`);
    return undefined;
  }
  const result = deriveRange({ network, ...given });
  if (result.ok) return result.range;
  fields.problems.push(...result.problems);
  return undefined;
}

function readBackend(fields: Fields): { readonly backendType: string; readonly backend: JsonObject } {
  const backend = fields.raw('Backend');
  if (backend === undefined) return { backendType: 'udp', backend: {} };
  if (isJsonObject(backend) || backend === null) {
    const type = backend === null ? undefined : goField(backend, 'Type');
    if (backend !== null && typeof type === 'string' && type !== '')
      return { backendType: type.toLowerCase(), backend };
    fields.problems.push('Backend.Type: missing or no text; name a backend such as "vxlan"');
  } else fields.problems.push('Backend: must be an object like {"Type":"vxlan"}');
  return { backendType: '', backend: {} };
}

/** Typed access to the fields; what has the wrong type becomes a problem and reads as absent. */
class Fields {
  readonly problems: string[] = [];
  readonly #json: JsonObject;

  constructor(json: JsonObject) {
    this.#json = json;
  }

  raw(name: string): unknown {
    return goField(this.#json, name);
  }

  /** null leaves a plain field as it is, in Go. */
  boolean(name: string, fallback: boolean): boolean {
    const value = this.raw(name) ?? fallback;
    if (typeof value === 'boolean') return value;
    this.problems.push(`${name}: must be true or false`);
    return fallback;
  }

  /** 0 counts as absent. */
  length(name: string): number | undefined {
    const value = this.raw(name) ?? 0;
    if (typeof value === 'number' && Number.isInteger(value) && value >= 0) return value === 0 ? undefined : value;
    this.problems.push(`${name}: must be a whole number, zero or more`);
    return undefined;
  }

  /** The unspecified address counts as absent; so does null, but for IPv6 only (flannel's decoders differ). */
  ip(name: string, family: Family): Ip | undefined {
    const value = this.raw(name);
    if (value === undefined || (value === null && family === 6)) return undefined;
    const ip = typeof value === 'string' ? parseIp(value) : undefined;
    if (ip !== undefined && familyOf(ip) === family) return ip === '0.0.0.0' || ip === '::' ? undefined : ip;
    this.problems.push(`${name}: must be an IPv${family} address`);
    return undefined;
  }

  /** `0.0.0.0/0` and `::/0` count as absent. */
  network(name: string, family: Family): Prefix | undefined {
    const value = this.raw(name);
    if (value === undefined) return undefined;
    const prefix = typeof value === 'string' ? parsePrefix(value) : undefined;
    if (prefix !== undefined && familyOf(prefix) === family) return prefixLength(prefix) === 0 ? undefined : prefix;
    this.problems.push(
      `${name}: must be an IPv${family} network such as ${family === 4 ? '10.5.0.0/16' : 'fd00:5::/48'}`,
    );
    return undefined;
  }
}
