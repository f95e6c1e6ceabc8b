/**
 * The keys of our own beside a lease, which say that an identity is in use. Every claim puts all of its own, and
 * compares each with what it had read there: so two hosts with one identity can't both win, whatever they saw before.
 *
 *   <prefix>/tartan/addresses/192.0.2.10      {"node":"9f2c…","name":"host-a","claim":"51d0…",
 *   <prefix>/tartan/nodes/9f2c…                "lease":"<prefix>/subnets/10.5.1.0-24"}
 *   <prefix>/tartan/subnets6/fd00:5:0:1::/64
 */
import { isJsonObject } from '../config/go-json.ts';
import type { Log } from '../config/log.ts';
import { leaseKey, parseLeaseKey, parseOwner } from './codec.ts';
import { type Addresses, knownAddresses } from './identity.ts';
import type { LeaseOwner, LeaseSubnets } from './lease.ts';
import type { Keys } from './registry.ts';
import type { KeyValue, Store, StoreVersion } from './store.ts';

/** Who stands behind a side key. */
export interface SideRecord extends LeaseOwner {
  readonly subnets: LeaseSubnets;
}

/** A key as it was read; mod_revision 0: absent. */
export interface SeenKey {
  readonly key: string;
  readonly modRevision: number;
}

export interface SideKey extends SeenKey {
  readonly about: 'address' | 'node' | 'subnet6';
  readonly etcdLease: string;
  /** undefined: nobody, or a value that is none of ours. */
  readonly record: SideRecord | undefined;
}

export type SideKeyName = Pick<SideKey, 'about' | 'key'>;

export function formatSideRecord(prefix: string, { node, name, claim }: LeaseOwner, subnets: LeaseSubnets): string {
  return JSON.stringify({ node, name, claim, lease: leaseKey(prefix, subnets) });
}

/** undefined for a value that is none of ours: it then counts as held by nobody. */
function parseSideRecord(prefix: string, text: string): SideRecord | undefined {
  try {
    const value: unknown = JSON.parse(text);
    const owner = parseOwner(value);
    const lease = isJsonObject(value) ? value['lease'] : undefined;
    const parsed = parseLeaseKey(prefix, typeof lease === 'string' ? lease : '');
    return owner && parsed.ok ? { ...owner, subnets: parsed.subnets } : undefined;
  } catch {
    return undefined;
  }
}

/** The side keys of a host; the 0.0.0.0 of a host without IPv4 is nobody's address. */
export function identityKeys(keys: Keys, node: string, addresses: Addresses): readonly SideKeyName[] {
  return [
    ...knownAddresses(addresses).map((ip) => ({ about: 'address' as const, key: keys.address(ip) })),
    { about: 'node', key: keys.node(node) },
  ];
}

/** Two hosts may pair one IPv6 subnet with different IPv4 ones, under different lease keys: this key forbids it. */
export function subnet6Keys(keys: Keys, subnets: LeaseSubnets | undefined): readonly SideKeyName[] {
  return subnets?.subnet6 === undefined ? [] : [{ about: 'subnet6', key: keys.subnet6(subnets.subnet6) }];
}

/** Those that a lease of these subnets has beside it, held by that node with these addresses. */
export function sideKeysOf(
  keys: Keys,
  node: string,
  addresses: Addresses,
  subnets: LeaseSubnets,
): readonly SideKeyName[] {
  return [...identityKeys(keys, node, addresses), ...subnet6Keys(keys, subnets)];
}

export function sideKey(prefix: string, name: SideKeyName, kv: KeyValue | undefined): SideKey {
  if (!kv) return { ...name, modRevision: 0, etcdLease: '0', record: undefined };
  return { ...name, modRevision: kv.modRevision, etcdLease: kv.lease, record: parseSideRecord(prefix, kv.value) };
}

/** What stands at the side keys of these names, and at other keys, all at one revision. */
export async function readBeside(
  store: Pick<Store, 'txn'>,
  prefix: string,
  names: readonly SideKeyName[],
  others: readonly string[] = [],
): Promise<{ readonly side: SideKey[]; readonly others: readonly (KeyValue | undefined)[] } & StoreVersion> {
  const keys = [...others, ...names.map(({ key }) => key)];
  const { responses, ...version } = await store.txn({
    compare: [],
    success: keys.map((get) => ({ get })),
    failure: [],
  });
  const found = responses.map(([kv]) => kv);
  const side = names.map((name, i) => sideKey(prefix, name, found[others.length + i]));
  return { ...version, side, others: found.slice(0, others.length) };
}

export function warnForbidden(log: Log, prefix: string, error: unknown): void {
  log.warn("etcd forbids tartan's own keys: hosts that share a public IP can't be told apart", {
    key: `${prefix}/tartan/`,
    error,
  });
}
