/**
 * Getting the lease: find out whose the existing ones are, ask where that is not certain, then claim.
 *
 *   view ─▶ candidates ─▶ challenge (only strangers') ─▶ choose ─▶ transaction ─▶ held
 *    ▲                          │ answered: refused          │ lost: choose again from what it returned
 *    └──────────────────────────┴───── something moved ◀─────┘
 */
import { TartanError } from '../config/errors.ts';
import { askHolders, type Inquiry, type Sign } from './challenge.ts';
import { sameSubnets } from './coverage.ts';
import { type Grant, giveBack } from './grant.ts';
import { type AcquireContext, type AcquireRequest, type Ground, readSide, sideOfNewcomer } from './ground.ts';
import type { HeldLease } from './held-lease.ts';
import type { Relation } from './identity.ts';
import { type Intent, intend } from './intent.ts';
import type { LeaseOwner, LeaseSubnets } from './lease.ts';
import { type ClusterView, isForbidden, isLeaseGone, readView } from './registry.ts';
import { resume } from './resumption.ts';
import { type SideKey, warnForbidden } from './side-keys.ts';
import { type Taken, Taking } from './taking.ts';

/** Rounds in a row in which somebody else changed what the choice stood on. */
const MAX_ROUNDS = 50;

export type AcquiredBy = 'new' | 'resumed' | Relation;

export type Acquisition =
  | { readonly outcome: 'held'; readonly held: HeldLease; readonly by: AcquiredBy; readonly transactions: number }
  | { readonly outcome: 'refused'; readonly holder: LeaseOwner; readonly subnets: LeaseSubnets }
  | { readonly outcome: 'exhausted'; readonly transactions: number }
  /** The store was restored or wiped: those who hold leases claim them again before anybody takes a new one. */
  | { readonly outcome: 'unsettled' }
  | { readonly outcome: 'config-changed' };

class Attempt {
  readonly #context: AcquireContext;
  readonly #request: AcquireRequest;
  readonly #owner: LeaseOwner;
  #sideForbidden = false;
  #mayAssume = true;
  #grant: Grant | undefined;
  #transactions = 0;

  constructor(context: AcquireContext, request: AcquireRequest) {
    this.#context = context;
    this.#request = request;
    const { node, name, claim } = request.self;
    this.#owner = { node, name, claim };
  }

  /** One round from a fresh view; 'again' where something moved under it. */
  async round(view: ClusterView): Promise<Acquisition | 'again'> {
    try {
      return await this.#round(view);
    } catch (error) {
      if (isLeaseGone(error)) {
        this.#grant = undefined;
        return 'again';
      }
      // Whichever of our calls it was: without those keys it either works, or the leases themselves are forbidden.
      if (!isForbidden(error) || this.#sideForbidden) throw error;
      this.#sideForbidden = true;
      warnForbidden(this.#context.log, this.#context.prefix, error);
      return 'again';
    }
  }

  /** Gives back an etcd lease that the lease held does not hang on. */
  async abandon(held: HeldLease | undefined): Promise<void> {
    const id = this.#grant?.id;
    if (id === undefined || id === held?.etcdLease || id === held?.sideLease) return;
    await this.#context.store.revoke(id).catch(() => undefined);
  }

  async #round(view: ClusterView): Promise<Acquisition | 'again'> {
    const request = this.#request;
    if (view.config?.modRevision !== request.configRevision) return { outcome: 'config-changed' };
    const side = await this.#side(view);
    // What stands beside the leases must not be newer than they are known here: they may have moved with it.
    if (side?.some(({ modRevision }) => modRevision > view.revision)) return 'again';
    const intent = intend(request, view.leases, side);
    const inquiry = await this.#ask(intent);
    try {
      const [answered] = inquiry.answered;
      if (answered && !isWhomWeAsked(intent, answered)) return 'again';
      if (answered) return { outcome: 'refused', holder: answered.holder, subnets: answered.subnets };
      if (inquiry.isUnclear) return 'again';
      const attributes = { ...(await request.attributes(intent.target?.lease)), owner: this.#owner };
      const ground = { view, side, intent, attributes };
      const resumed = await resume(this.#context, request, ground);
      if (resumed === 'again') return 'again';
      if (resumed) return { outcome: 'held', held: resumed, by: 'resumed', transactions: this.#transactions };
      return await this.#take(ground, inquiry);
    } finally {
      await inquiry.end();
    }
  }

  /** A newcomer's are thought to be absent, once: the claim compares that, and is foiled where it is not so. */
  async #side({ leases }: ClusterView): Promise<SideKey[] | undefined> {
    if (this.#sideForbidden) return undefined;
    const assumed = this.#mayAssume ? sideOfNewcomer(this.#context, this.#request, leases) : undefined;
    this.#mayAssume = false;
    return assumed ?? (await readSide(this.#context, this.#request, leases));
  }

  #ask({ questions }: Intent): Promise<Inquiry> {
    const { log } = this.#context;
    for (const { subnets, owner } of questions) {
      log.info('a lease with our public IP or node id stands: asking its holder', { subnet: subnets.subnet, owner });
    }
    const leases = questions.map(({ subnets }) => subnets);
    return askHolders(this.#context, { owner: this.#owner, holds: undefined }, leases);
  }

  async #take(ground: Ground, { unanswered }: Inquiry): Promise<Acquisition | 'again'> {
    const grant = await this.#granted();
    const taking = new Taking(this.#context, this.#request, ground, unanswered);
    const taken: Taken = await taking.run(grant).finally(() => {
      this.#transactions += taking.transactions;
    });
    const transactions = this.#transactions;
    if (taken === 'again') return taken;
    if (taken === 'exhausted') return { outcome: taken, transactions };
    if (typeof taken === 'string') return { outcome: taken };
    const { target, removes } = ground.intent;
    await giveBack(this.#context.store, [...(target ? [target.lease] : []), ...removes], grant.id);
    return { outcome: 'held', held: taken, by: target?.relation ?? 'new', transactions };
  }

  /** An etcd lease with most of its time left: asking may have taken long. */
  async #granted(): Promise<Grant> {
    const { store, clock } = this.#context;
    const { ttlSeconds } = this.#request;
    const before = clock.now();
    const old = this.#grant;
    if (old && old.expiresAt - before > ttlSeconds * 500) return old;
    const isAlive = old !== undefined && (await store.keepAlive(old.id)) > 0;
    const id = isAlive ? old.id : await store.grant(ttlSeconds);
    this.#grant = { id, expiresAt: before + ttlSeconds * 1000 };
    return this.#grant;
  }
}

/** Or somebody has taken the lease meanwhile who stands in nobody's way. */
function isWhomWeAsked({ questions }: Intent, { subnets, holder }: Sign): boolean {
  return questions.some((one) => sameSubnets(one.subnets, subnets) && one.owner?.claim === holder.claim);
}

/**
 * Makes this host hold a lease, or says why it can't now: every outcome but `held` is for the caller to wait on before
 * it calls again. Rejects with ETCD_UNAVAILABLE or ETCD_REFUSED.
 */
export async function acquire(context: AcquireContext, request: AcquireRequest): Promise<Acquisition> {
  const attempt = new Attempt(context, request);
  const { clock, signal, store, prefix } = context;
  let result: Acquisition | 'again' = 'again';
  try {
    for (let round = 0; result === 'again'; round++) {
      if (round === MAX_ROUNDS) {
        const message = 'the leases changed under every attempt to claim one; trying again later';
        throw new TartanError('ETCD_UNAVAILABLE', message);
      }
      if (round > 0) await clock.sleep(Math.min(50 * round, 500) * clock.random(), signal);
      const view: ClusterView = (round === 0 ? request.view : undefined) ?? (await readView(store, prefix));
      result = await attempt.round(view);
    }
    return result;
  } finally {
    await attempt.abandon(result !== 'again' && result.outcome === 'held' ? result.held : undefined);
  }
}
