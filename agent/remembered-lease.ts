/** Whether a lease that an earlier run held may be gone on with while etcd does not answer (pure). */
import type { Backend } from '../backends/backend.ts';
import type { Mac } from '../config/address.ts';
import type { NetworkConfig } from '../config/network-config.ts';
import { decodeLease, formatLeaseValue } from '../leases/codec.ts';
import { sameSubnets } from '../leases/coverage.ts';
import type { HeldLease } from '../leases/held-lease.ts';
import { knownAddresses } from '../leases/identity.ts';
import { mayKeep } from '../leases/intent.ts';
import type { LeaseAttributes, LeaseOwner } from '../leases/lease.ts';
import type { HeldState } from './state-file.ts';

/** A lease that runs out later than one granted now would comes from the future: a clock was set wrong. */
const CLOCK_MARGIN_MS = 60_000;

export type Remembered =
  | { readonly ok: true; readonly held: HeldLease }
  /** For the operator. */
  | { readonly ok: false; readonly reason: string };

export interface Rememberer {
  readonly prefix: string;
  readonly owner: LeaseOwner;
  /** Wall clock, ms. */
  readonly now: number;
}

function no(reason: string): Remembered {
  return { ok: false, reason };
}

function when(ms: number): string {
  return Math.abs(ms) <= 8.64e15 ? new Date(ms).toISOString() : `${ms}`;
}

function timeProblem({ etcdLease, expiresAt, ttlSeconds }: HeldState, now: number): string | undefined {
  if (etcdLease === '0') return undefined;
  if (expiresAt <= now) return `the lease remembered ran out at ${when(expiresAt)}`;
  if (expiresAt <= now + ttlSeconds * 1000 + CLOCK_MARGIN_MS) return undefined;
  return `the lease remembered is from the future (it was granted for ${ttlSeconds} s, until ${when(expiresAt)}): this host's clock is wrong, or was`;
}

/** What the memory alone says: that it makes sense, is this host's and has not run out. */
export function rememberedLease(state: HeldState | undefined, { prefix, owner, now }: Rememberer): Remembered {
  if (!state) return no('no lease is remembered');
  const { key, value, modRevision, etcdLease, publicIp: _, seen: __, ...rest } = state;
  const decoded = decodeLease(prefix, { key, value, createRevision: 0, modRevision, lease: etcdLease });
  if (!decoded.ok) return no(`the lease remembered makes no sense under ${prefix}: ${decoded.reason}`);
  const { lease } = decoded;
  if (!sameSubnets(lease, state)) return no(`the lease remembered contradicts itself: ${key} is not ${state.subnet}`);
  if (lease.owner?.node !== owner.node || lease.owner.claim !== owner.claim)
    return no(`the lease remembered is of another host (node ${lease.owner?.node ?? 'unknown'})`);
  const late = timeProblem(state, now);
  if (late) return no(late);
  const { publicIp, publicIp6, backendType, backendData, backendV6Data, sources } = lease;
  const said = { publicIp, publicIp6, backendType, backendData, backendV6Data, ...(sources && { sources }) };
  const attributes = { ...said, owner: lease.owner };
  return { ok: true, held: { ...rest, key, value, modRevision, etcdLease, attributes } };
}

/** Why this host, as it is, can't go on with the lease; undefined: it can. */
export function unfit(held: HeldLease, config: NetworkConfig, backend: Backend): string | undefined {
  if (!mayKeep(config, held)) return `the lease remembered (${held.subnet}) is not in the network remembered`;
  const macs = new Map<string, Mac | undefined>();
  for (const device of backend.devices) {
    const mac = backend.publishedMac(held.attributes, device);
    if (!mac && backend.hasMacs) return `the lease remembered names no MAC for ${device}`;
    macs.set(device, mac);
  }
  const now = backend.advertise(macs);
  const [ours, theirs] = [now, held.attributes].map((one) => knownAddresses(one).join(' '));
  if (ours !== theirs) return `the lease remembered is of the public IP ${theirs}, this host has ${ours}`;
  return isAsPublished(held, now) ? undefined : `the lease remembered is not what this host would publish now`;
}

/** Whether the lease says what this host would publish now; the host's name, which is for people, may have changed. */
export function isAsPublished(
  { value, attributes: { owner } }: HeldLease,
  now: Omit<LeaseAttributes, 'owner'>,
): boolean {
  return formatLeaseValue({ ...now, owner }) === value;
}
