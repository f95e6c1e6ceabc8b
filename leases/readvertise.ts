/**
 * Another value for the lease that we hold: this host has got another public IP.
 *
 *   read leases and side keys ─▶ ask who else has the address ─▶ transaction: value, new side keys, old ones deleted
 *                                   │ answered: refused            └ lost: foiled, to be tried again
 *                                   └ answered, but leaves it: the two exchange their addresses in that transaction
 */
import { askHolders, type Sign } from './challenge.ts';
import { type Claim, claimResult, claimTxn, type OwnedAttributes } from './claim.ts';
import { decodeLease } from './codec.ts';
import { sameSubnets } from './coverage.ts';
import { type Offer, offerOf, traded, tradesOf } from './exchange.ts';
import { giveBack } from './grant.ts';
import type { AcquireContext } from './ground.ts';
import type { HeldLease } from './held-lease.ts';
import { type Addresses, isSameAddress } from './identity.ts';
import type { LeaseOwner, LeaseSubnets, StoredLease } from './lease.ts';
import { type ClusterView, isLeaseGone, keysUnder, readView } from './registry.ts';
import {
  formatSideRecord,
  identityKeys,
  readBeside,
  type SeenKey,
  type SideKey,
  type SideKeyName,
  sideKeysOf,
} from './side-keys.ts';
import type { KeyValue, StoreOp } from './store.ts';

export type Readvertised =
  | { readonly outcome: 'held'; readonly held: HeldLease }
  /** A live host has the address: the old value stays. */
  | { readonly outcome: 'refused'; readonly by: LeaseOwner }
  | { readonly outcome: 'foiled' };

const FOILED: Readvertised = { outcome: 'foiled' };

/** What stands beside the lease: what it is to have, and what of ours it leaves. */
interface Side {
  readonly kept: readonly SideKey[];
  readonly left: readonly SeenKey[];
}

/** One attempt; `held` as it stands in etcd now. Rejects with ETCD_UNAVAILABLE or ETCD_REFUSED. */
export async function readvertise(
  context: AcquireContext,
  held: HeldLease,
  attributes: OwnedAttributes,
): Promise<Readvertised> {
  const view = await readView(context.store, context.prefix);
  const side = await readSide(context, held, attributes);
  if ([...side.kept, ...side.left].some(({ modRevision }) => modRevision > view.revision)) return FOILED;
  const rivals = rivalsIn(view, held, attributes);
  const offer = offerOf(held.attributes, attributes);
  const asker = { owner: attributes.owner, holds: held, offer };
  const inquiry = await askHolders(context, asker, strangers(held, attributes.owner, rivals, side));
  try {
    const exchanges: Exchange[] = [];
    for (const sign of inquiry.answered) {
      const exchange = exchangeWith(context.prefix, sign, offer, { view, side });
      if (!exchange) return { outcome: 'refused', by: sign.holder };
      exchanges.push(exchange);
    }
    if (inquiry.isUnclear) return FOILED;
    return await put(context, held, attributes, { side, rivals, exchanges, unanswered: inquiry.unanswered });
  } catch (error) {
    if (isLeaseGone(error)) return FOILED;
    throw error;
  } finally {
    await inquiry.end();
  }
}

/** None where etcd forbids them: the lease held has none. */
async function readSide({ store, prefix }: AcquireContext, held: HeldLease, next: OwnedAttributes): Promise<Side> {
  if (held.sideLease === undefined) return { kept: [], left: [] };
  const keys = keysUnder(prefix);
  const { owner } = next;
  const wanted = sideKeysOf(keys, owner.node, next, held);
  const old = identityKeys(keys, owner.node, held.attributes).filter(
    ({ key }) => !wanted.some((one) => one.key === key),
  );
  const read = async (names: readonly SideKeyName[]): Promise<SideKey[]> => {
    return names.length === 0 ? [] : (await readBeside(store, prefix, names)).side;
  };
  const left = (await read(old)).filter(({ record }) => record?.claim === owner.claim);
  return { kept: await read(wanted), left };
}

/** Leases with the new address. Of those without an owner a flanneld of this address was one: ours, by flannel's rule. */
function rivalsIn({ leases }: ClusterView, held: HeldLease, attributes: OwnedAttributes): StoredLease[] {
  return leases.filter(
    (lease) => lease.key !== held.key && lease.etcdLease !== '0' && isSameAddress(lease, attributes),
  );
}

function strangers(
  held: HeldLease,
  { claim }: LeaseOwner,
  rivals: readonly StoredLease[],
  { kept }: Side,
): LeaseSubnets[] {
  const beside = kept.flatMap(({ record }) =>
    record && !(record.claim === claim && sameSubnets(record.subnets, held)) ? [record.subnets] : [],
  );
  const all = [...beside, ...rivals.filter(({ owner }) => owner !== undefined)];
  return all.filter((one, i) => all.findIndex((other) => sameSubnets(one, other)) === i);
}

/** What is put for another host, as it agreed, and what that stands on. */
interface Exchange {
  readonly stands: readonly SeenKey[];
  readonly puts: readonly StoreOp[];
}

/**
 * With a holder that leaves what we want. undefined: it does not, or it is not clear that all is as it says: its lease
 * and its side keys say what we take, ours what we give.
 */
function exchangeWith(
  prefix: string,
  { holder, subnets, cedes, question }: Sign,
  offer: Offer,
  { view, side }: { readonly view: ClusterView; readonly side: Side },
): Exchange | undefined {
  const keys = keysUnder(prefix);
  const lease = view.leases.find((one) => sameSubnets(one, subnets));
  const trades = lease && tradesOf(lease, offer);
  if (!trades || cedes === undefined || lease.owner?.claim !== holder.claim) return undefined;
  if (!isTraded(prefix, { ...lease, value: cedes, lease: lease.etcdLease }, traded(lease, trades), holder)) {
    return undefined;
  }
  const stands: SeenKey[] = [lease, question];
  const puts: StoreOp[] = [{ put: lease.key, value: cedes, keepLease: true }];
  for (const { taken, given } of trades) {
    const theirs = side.kept.find(({ key }) => key === keys.address(taken));
    const ours = side.left.find(({ key }) => key === keys.address(given));
    const beside = theirs?.record;
    if (!ours || !theirs || beside?.claim !== holder.claim || !sameSubnets(beside.subnets, lease)) return undefined;
    stands.push(ours);
    puts.push({ put: ours.key, value: formatSideRecord(prefix, holder, lease), lease: theirs.etcdLease });
  }
  return { stands, puts };
}

function isTraded(prefix: string, kv: KeyValue, addresses: Addresses, holder: LeaseOwner): boolean {
  const decoded = decodeLease(prefix, kv);
  if (!decoded.ok || decoded.lease.owner?.claim !== holder.claim) return false;
  return decoded.lease.publicIp === addresses.publicIp && decoded.lease.publicIp6 === addresses.publicIp6;
}

async function put(
  { store, prefix }: AcquireContext,
  held: HeldLease,
  attributes: OwnedAttributes,
  {
    side,
    rivals,
    exchanges,
    unanswered,
  }: {
    readonly side: Side;
    readonly rivals: readonly StoredLease[];
    readonly exchanges: readonly Exchange[];
    readonly unanswered: readonly SeenKey[];
  },
): Promise<Readvertised> {
  const keys = keysUnder(prefix);
  const stands = exchanges.flatMap((one) => one.stands);
  const isLeft = ({ key }: SeenKey): boolean => !stands.some((one) => one.key === key);
  const gone = rivals.filter(isLeft);
  const { subnet, subnet6, modRevision, etcdLease, sideLease } = held;
  const claim: Claim = {
    ...{ subnets: { subnet, subnet6 }, attributes, target: { modRevision }, unanswered },
    ...{ removes: [...gone, ...side.left.filter(isLeft)], alternatives: [] },
    ...{ side: side.kept, etcdLease, sideLease: sideLease ?? etcdLease },
    // Of a target nothing is asked, whatever the config says now.
    ...{ configRevision: undefined, isOtherLength: false, needsSettled: false, room: { read: 'key', since: 0 } },
  };
  const own = claimTxn(keys, claim);
  const answer = await store.txn({
    compare: [...own.compare, ...stands.map(({ key, modRevision: seen }) => ({ key, modRevision: seen }))],
    success: [...own.success, ...exchanges.flatMap(({ puts }) => puts)],
    failure: own.failure,
  });
  const result = claimResult(keys, claim, answer);
  if (!('won' in result)) return FOILED;
  await giveBack(store, gone, etcdLease);
  return { outcome: 'held', held: { ...held, ...result.won, attributes, clusterId: answer.clusterId } };
}
