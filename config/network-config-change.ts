/** What a new network config means for the leases that exist and for the agents that run. */
import { isDeepStrictEqual } from 'node:util';
import { containsPrefix, type Family, type Prefix, prefixLength } from './address.ts';
import type { JsonObject } from './go-json.ts';
import type { NetworkConfig } from './network-config.ts';
import { RANGE_FIELDS, type SubnetRange } from './subnet-range.ts';

/** A lease's subnets; an IPv6-only lease has `0.0.0.0/0` for the IPv4 part that its key must have. */
export interface LeaseSubnetsLike {
  readonly subnet: Prefix;
  readonly subnet6: Prefix | undefined;
}

/**
 * The leases that `next` no longer covers: one of their subnets lies outside the network, or its family is gone.
 * Another SubnetLen, SubnetMin or SubnetMax orphans nobody, and neither does a family that is new.
 */
export function orphans<T extends LeaseSubnetsLike>(next: NetworkConfig, leases: readonly T[]): readonly T[] {
  const covered = (family: Family, subnet: Prefix | undefined): boolean => {
    if (subnet === undefined) return true;
    const range = next.ranges[family];
    return range !== undefined && containsPrefix(range.network, subnet);
  };
  return leases.filter(({ subnet, subnet6 }) => {
    return !(covered(4, prefixLength(subnet) === 0 ? undefined : subnet) && covered(6, subnet6));
  });
}

/** Each entry names a field with its old and its new value. */
export interface NetworkConfigChange {
  /** A running agent follows. */
  readonly live: readonly string[];
  /** A running agent goes on as before until it is restarted. */
  readonly restart: readonly string[];
}

export function compareNetworkConfigs(running: NetworkConfig, next: NetworkConfig): NetworkConfigChange {
  const live: string[] = [];
  const restart: string[] = [];
  for (const family of [4, 6] as const) compareRanges(family, running, next, { live, restart });
  if (running.enableNftables !== next.enableNftables) {
    restart.push(change('EnableNFTables', running.enableNftables, next.enableNftables));
  }
  if (running.backendType !== next.backendType) {
    restart.push(change('Backend.Type', running.backendType, next.backendType));
  }
  restart.push(...backendChanges(running.backend, next.backend));
  return { live, restart };
}

function compareRanges(
  family: Family,
  running: NetworkConfig,
  next: NetworkConfig,
  found: { readonly live: string[]; readonly restart: string[] },
): void {
  const fields = RANGE_FIELDS[family];
  const before = running.ranges[family];
  const after = next.ranges[family];
  if (before === undefined || after === undefined) {
    if (before !== after) found.restart.push(change(fields.enable, before !== undefined, after !== undefined));
    return;
  }
  if (before.network !== after.network) {
    const widened = containsPrefix(after.network, before.network);
    (widened ? found.live : found.restart).push(change(fields.network, before.network, after.network));
  }
  found.live.push(...rangeChanges(fields, before, after));
}

function rangeChanges(fields: (typeof RANGE_FIELDS)[Family], before: SubnetRange, after: SubnetRange): string[] {
  return (['length', 'min', 'max'] as const)
    .filter((part) => before[part] !== after[part])
    .map((part) => change(fields[part], before[part], after[part]));
}

function backendChanges(running: JsonObject, next: JsonObject): string[] {
  const before = backendKeys(running);
  const after = backendKeys(next);
  return [...new Set([...before.keys(), ...after.keys()])]
    .filter((key) => !isDeepStrictEqual(before.get(key)?.value, after.get(key)?.value))
    .map((key) => {
      const name = (after.get(key) ?? before.get(key))?.name;
      return change(`Backend.${name}`, before.get(key)?.value, after.get(key)?.value);
    });
}

/** Keys but for Type, by lower-case name, since two that differ in case are one; the last wins. */
function backendKeys(backend: JsonObject): ReadonlyMap<string, { readonly name: string; readonly value: unknown }> {
  const keys = new Map<string, { readonly name: string; readonly value: unknown }>();
  for (const [name, value] of Object.entries(backend)) {
    if (name.toLowerCase() !== 'type') keys.set(name.toLowerCase(), { name, value });
  }
  return keys;
}

function change(field: string, before: unknown, after: unknown): string {
  return `${field}: ${shown(before)} -> ${shown(after)}`;
}

function shown(value: unknown): string {
  return value === undefined ? 'not set' : typeof value === 'string' ? value : JSON.stringify(value);
}
