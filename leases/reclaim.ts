/**
 * Claiming our own lease again, where its key is gone or is not what we put: the very same subnet and value.
 *
 *   read config and side keys ─▶ ask strangers that stand there ─▶ nothing overlaps? ─▶ transaction ─▶ held
 *                                   │ answered: lost                 │ lost                └ foiled: once more
 */
import { overlaps } from '../config/address.ts';
import { parseNetworkConfig } from '../config/network-config.ts';
import { askHolders } from './challenge.ts';
import { type Claim, claimResult, claimTxn, type Room, subnetsOf } from './claim.ts';
import { decodeLease, leaseKey } from './codec.ts';
import { coverage, sameSubnets } from './coverage.ts';
import { type Grant, giveBack } from './grant.ts';
import type { AcquireContext } from './ground.ts';
import type { HeldLease } from './held-lease.ts';
import { isSameAddress } from './identity.ts';
import { hasCurrentLengths } from './intent.ts';
import type { LeaseOwner, LeaseSubnets, StoredLease } from './lease.ts';
import { isForbidden, isLeaseGone, keysUnder } from './registry.ts';
import { readBeside, type SideKey, sideKeysOf, warnForbidden } from './side-keys.ts';
import type { KeyValue, StoreVersion } from './store.ts';
import { follows } from './store-trust.ts';

export type Reclaimed =
  | { readonly outcome: 'held'; readonly held: HeldLease }
  /** `by`: who has it, for people. */
  | { readonly outcome: 'lost'; readonly by: string }
  /** `byLease`: nothing that it stood on moved but the leases. */
  | { readonly outcome: 'foiled'; readonly byLease: boolean };

const FOILED: Reclaimed = { outcome: 'foiled', byLease: false };

/** Those who did not answer. */
interface Rivals {
  readonly removes: readonly StoredLease[];
  readonly unanswered: Claim['unanswered'];
}

interface Found extends StoreVersion {
  readonly config: KeyValue | undefined;
  readonly otherLengths: KeyValue | undefined;
  readonly side: readonly SideKey[];
}

/**
 * One attempt. Rejects with ETCD_UNAVAILABLE or ETCD_REFUSED.
 * @param stands what was read at our key, and is to be written over; undefined: nothing.
 */
export async function reclaim(
  context: AcquireContext,
  held: HeldLease,
  stands: KeyValue | undefined,
): Promise<Reclaimed> {
  // While the rest is read: every millisecond that our key is away, our peers are without their route.
  const renewal = renew(context, held);
  renewal.catch(() => undefined);
  try {
    return await new Reclaim(context, held, stands, await readFound(context, held), renewal).run();
  } catch (error) {
    if (isLeaseGone(error)) return FOILED;
    if (!isForbidden(error)) throw error;
    warnForbidden(context.log, context.prefix, error);
    return new Reclaim(context, held, stands, undefined, renewal).run();
  }
}

/** The etcd lease that we have, undefined where it is gone. */
async function renew({ store, clock }: AcquireContext, held: HeldLease): Promise<Grant | undefined> {
  const { etcdLease, sideLease, ttlSeconds } = held;
  const expiresAt = clock.now() + ttlSeconds * 1000;
  const id = etcdLease === '0' ? sideLease : etcdLease;
  return id !== undefined && (await store.keepAlive(id)) > 0 ? { id, expiresAt } : undefined;
}

async function readFound({ store, prefix }: AcquireContext, held: HeldLease): Promise<Found> {
  const keys = keysUnder(prefix);
  const names = sideKeysOf(keys, held.attributes.owner.node, held.attributes, held);
  const { others, side, clusterId, revision } = await readBeside(store, prefix, names, [
    keys.config,
    keys.otherLengths.key,
  ]);
  const [config, otherLengths] = others;
  return { config, otherLengths, side, clusterId, revision };
}

class Reclaim {
  readonly #context: AcquireContext;
  readonly #held: HeldLease;
  readonly #stands: KeyValue | undefined;
  /** undefined: etcd forbids our keys, and flannel's rule holds. */
  readonly #found: Found | undefined;
  readonly #renewal: Promise<Grant | undefined>;

  constructor(
    context: AcquireContext,
    held: HeldLease,
    stands: KeyValue | undefined,
    found: Found | undefined,
    renewal: Promise<Grant | undefined>,
  ) {
    this.#context = context;
    this.#held = held;
    this.#stands = stands;
    this.#found = found;
    this.#renewal = renewal;
  }

  async run(): Promise<Reclaimed> {
    const asker = { owner: this.#held.attributes.owner, holds: this.#held };
    const strangers = this.#strangers();
    const inquiry = await askHolders(this.#context, asker, strangers);
    try {
      const [answered] = inquiry.answered;
      if (answered) return { outcome: 'lost', by: nameOf(answered.holder) };
      if (inquiry.isUnclear) return FOILED;
      const removes = await this.#leasesOf(strangers);
      const reserved = removes.find(({ etcdLease }) => etcdLease === '0');
      if (reserved) return { outcome: 'lost', by: `the reservation of ${coverage(reserved).join(', ')}` };
      return await this.#take({ removes, unanswered: inquiry.unanswered });
    } finally {
      await inquiry.end();
    }
  }

  /** Who stands at our key from before our time, or took one of our identities while our lease was gone. */
  #strangers(): LeaseSubnets[] {
    if (!this.#found) return [];
    const { claim } = this.#held.attributes.owner;
    const decoded = this.#stands && decodeLease(this.#context.prefix, this.#stands);
    const there = decoded?.ok ? decoded.lease.owner : undefined;
    const beside = this.#found.side.flatMap(({ record }) =>
      record && !(record.claim === claim && sameSubnets(record.subnets, this.#held)) ? [record.subnets] : [],
    );
    const all = there && there.claim !== claim ? [this.#held, ...beside] : beside;
    return all.filter((one, i) => all.findIndex((other) => sameSubnets(one, other)) === i);
  }

  /** The leases that dead strangers still have: they go with our claim, or two would have one address. */
  async #leasesOf(strangers: readonly LeaseSubnets[]): Promise<StoredLease[]> {
    const { store, prefix } = this.#context;
    const keys = strangers.map((one) => leaseKey(prefix, one)).filter((key) => key !== this.#held.key);
    if (keys.length === 0) return [];
    const { responses } = await store.txn({ compare: [], success: keys.map((get) => ({ get })), failure: [] });
    return responses.flat().flatMap((kv) => {
      const decoded = decodeLease(prefix, kv);
      return decoded.ok && decoded.lease.owner ? [decoded.lease] : [];
    });
  }

  async #take(rivals: Rivals): Promise<Reclaimed> {
    if (this.#stands) return this.#claim({ read: 'key', since: 0 }, rivals);
    const here = rivals.removes.length > 0 ? undefined : this.#roomByKey();
    if (here) {
      // flanneld pairs IPv6 subnets without our side keys; in a store that all claim from anew that is too much to read.
      const over = this.#held.subnet6 && this.#isSameStore ? await this.#overlapping(rivals) : undefined;
      if (over === 'moved') return FOILED;
      if (over && 'taken' in over) return { outcome: 'lost', by: over.taken };
      const result = await this.#claim(here, rivals);
      if (result.outcome !== 'foiled' || !result.byLease) return result;
    }
    const room = await this.#overlapping(rivals);
    // Somebody stands at our very key since it was read: who, or only rubbish, says the next reading.
    if (room === 'moved') return FOILED;
    return 'taken' in room ? { outcome: 'lost', by: room.taken } : this.#claim(room, rivals);
  }

  get #isSameStore(): boolean {
    return this.#found !== undefined && follows(this.#found, { ...this.#held, revision: this.#held.modRevision });
  }

  /** Until our last put nothing overlapped us; since then only a claim of another length can have come to. */
  #roomByKey(): Room | undefined {
    if (!this.#found || !this.#hasCurrentLength(this.#found)) return undefined;
    const since = this.#isSameStore ? this.#held.modRevision : 0;
    return (this.#found.otherLengths?.modRevision ?? 0) <= since ? { read: 'key', since } : undefined;
  }

  async #overlapping({ removes }: Rivals): Promise<Room | { readonly taken: string } | 'moved'> {
    const { store, prefix } = this.#context;
    const { kvs, revision } = await store.list(keysUnder(prefix).subnets, { keysOnly: true });
    const ours = coverage(this.#held);
    const over = subnetsOf(prefix, kvs).find(
      (other) =>
        !removes.some((one) => sameSubnets(one, other)) &&
        coverage(other).some((one) => ours.some((own) => overlaps(one, own))),
    );
    if (over && sameSubnets(over, this.#held)) return 'moved';
    return over ? { taken: `the lease of ${coverage(over).join(', ')}` } : { read: 'all', since: revision };
  }

  #hasCurrentLength({ config }: Found): boolean {
    const parsed = config && parseNetworkConfig(config.value);
    return parsed?.ok === true && hasCurrentLengths(parsed.config, this.#held);
  }

  async #claim(room: Room, rivals: Rivals): Promise<Reclaimed> {
    const { store, prefix } = this.#context;
    const { subnet, subnet6, attributes } = this.#held;
    const found = this.#found;
    const keys = keysUnder(prefix);
    const grant = await this.#granted();
    const claim: Claim = {
      ...{ subnets: { subnet, subnet6 }, attributes, target: this.#stands, room, ...rivals, alternatives: [] },
      // Whether our length is the current one stands on the config that was read.
      configRevision: found && (found.config?.modRevision ?? 0),
      isOtherLength: found !== undefined && !this.#stands && !this.#hasCurrentLength(found),
      ...{ side: found?.side ?? [], needsSettled: false },
      ...{ etcdLease: this.#isReservation ? '0' : grant.id, sideLease: grant.id },
    };
    const answer = await store.txn(claimTxn(keys, claim));
    const result = claimResult(keys, claim, answer);
    if ('won' in result) {
      await giveBack(store, rivals.removes, grant.id);
      return { outcome: 'held', held: this.#become({ ...result.won, clusterId: answer.clusterId }, claim, grant) };
    }
    if (grant.isNew) await store.revoke(grant.id).catch(() => undefined);
    return { outcome: 'foiled', byLease: result.lost === 'taken' };
  }

  #become(
    won: Pick<HeldLease, 'key' | 'value' | 'modRevision' | 'clusterId'>,
    { etcdLease, side }: Claim,
    grant: Grant,
  ): HeldLease {
    const sideLease = side.length > 0 ? grant.id : undefined;
    const expiresAt = etcdLease === '0' ? Number.POSITIVE_INFINITY : grant.expiresAt;
    return { ...this.#held, ...won, etcdLease, sideLease, expiresAt };
  }

  /**
   * One that we held, or one that an operator wrote over our lease. Whoever deletes a reservation takes the exception
   * back, not the host's subnet: it is claimed as an ordinary one.
   */
  get #isReservation(): boolean {
    if (!this.#stands) return false;
    if (this.#held.etcdLease === '0') return true;
    const decoded = decodeLease(this.#context.prefix, this.#stands);
    if (!decoded.ok || decoded.lease.owner || this.#stands.lease !== '0') return false;
    return isSameAddress(decoded.lease, this.#held.attributes);
  }

  /** The etcd lease that we have, if it lives. */
  async #granted(): Promise<Grant & { readonly isNew: boolean }> {
    const { store, clock } = this.#context;
    const renewed = await this.#renewal;
    if (renewed) return { ...renewed, isNew: false };
    const { ttlSeconds } = this.#held;
    const expiresAt = clock.now() + ttlSeconds * 1000;
    return { id: await store.grant(ttlSeconds), isNew: true, expiresAt };
  }
}

function nameOf({ name, node }: LeaseOwner): string {
  return name === '' ? `node ${node}` : `${name} (node ${node})`;
}
