/** The claim of a new lease or of an existing one, again and again as long as only the subnet was lost to another. */
import { type Claim, claimResult, claimTxn, type Room, subnetsOf } from './claim.ts';
import { sameSubnets } from './coverage.ts';
import type { Grant } from './grant.ts';
import { type AcquireContext, type AcquireRequest, type Ground, sideOf } from './ground.ts';
import type { HeldLease } from './held-lease.ts';
import { type Choice, choose } from './intent.ts';
import type { LeaseSubnets } from './lease.ts';
import { type Keys, keysUnder } from './registry.ts';
import type { SeenKey } from './side-keys.ts';
import { follows, mayAllocate } from './store-trust.ts';

export type Taken = HeldLease | 'again' | 'exhausted' | 'unsettled' | 'config-changed';

export class Taking {
  readonly #context: AcquireContext;
  readonly #request: AcquireRequest;
  readonly #ground: Ground;
  readonly #unanswered: readonly SeenKey[];
  readonly #keys: Keys;
  /** Those that are taken, as all leases of the store's revision `since` and lost claims after it tell. */
  #taken: readonly LeaseSubnets[];
  #since: number;
  /** Of the next ones to try, those that the last lost claim saw free; undefined: none was lost since all leases were read. */
  #told: readonly LeaseSubnets[] | undefined;
  /** What was lost. */
  readonly #avoid: LeaseSubnets[] = [];
  /** Transactions made. */
  transactions = 0;

  constructor(context: AcquireContext, request: AcquireRequest, ground: Ground, unanswered: readonly SeenKey[]) {
    const { view, intent } = ground;
    this.#context = context;
    this.#request = request;
    this.#ground = ground;
    this.#unanswered = unanswered;
    this.#keys = keysUnder(context.prefix);
    this.#taken = view.taken.filter((one) => !intent.removes.some((ours) => sameSubnets(ours, one)));
    this.#since = view.revision;
  }

  async run(grant: Grant): Promise<Taken> {
    const { store, signal, log, clock } = this.#context;
    const { trust } = this.#request;
    const { view, intent } = this.#ground;
    for (;;) {
      signal.throwIfAborted();
      const choice = await this.#next();
      if (typeof choice === 'string') return choice;
      const needsSettled = !intent.target && !this.#isStillOurs(choice.subnets);
      if (needsSettled && !mayAllocate(trust, view, clock.monotonic())) return 'unsettled';
      const claim = this.#claimOf(choice, grant, needsSettled);
      this.transactions++;
      const answer = await store.txn(claimTxn(this.#keys, claim));
      const result = claimResult(this.#keys, claim, answer);
      if ('won' in result) return this.#held(claim, grant, { ...result.won, clusterId: answer.clusterId });
      if (!follows(answer, view)) return 'again';
      if (result.lost !== 'taken') return result.lost === 'moved' ? 'again' : result.lost;
      log.debug('another host was faster: choosing again', { subnet: choice.subnets.subnet });
      this.#avoid.push(...result.avoid);
      this.#taken = [...this.#taken, ...result.taken];
      this.#told = result.free;
    }
  }

  /** By what the lost claim told, where that is enough; else by all leases as they are now. */
  async #next(): Promise<Choice | 'again' | 'exhausted'> {
    const target = this.#ground.intent.target?.lease;
    if (target) return { subnets: target, alternatives: [] };
    const choice = this.#choose();
    if (!this.#told || isAmong(this.#told, choice)) return choice ?? 'exhausted';
    const listing = await this.#context.store.list(this.#keys.subnets, { keysOnly: true });
    if (!follows(listing, this.#ground.view)) return 'again';
    this.#taken = subnetsOf(this.#keys.prefix, listing.kvs);
    this.#since = listing.revision;
    return this.#choose() ?? 'exhausted';
  }

  /** A lease that does not fit the config any more may still say which subnet of one family was ours. */
  #choose(): Choice | undefined {
    const { self, config, previous, avoid } = this.#request;
    const basis = { node: self.node, config, previous: previous ?? this.#ground.intent.removes[0], avoid };
    return choose(basis, [...this.#taken, ...this.#avoid]);
  }

  /** What this host held to the last it may claim whatever became of the store meanwhile. */
  #isStillOurs(subnets: LeaseSubnets): boolean {
    const { previous } = this.#request;
    if (previous?.expiresAt === undefined || previous.expiresAt <= this.#context.clock.now()) return false;
    return sameSubnets(previous, subnets);
  }

  #claimOf({ subnets, alternatives }: Choice, { id }: Grant, needsSettled: boolean): Claim {
    const { intent, attributes, side } = this.#ground;
    const target = intent.target?.lease;
    const { claim } = this.#request.self;
    return {
      ...{ subnets, alternatives, attributes, target, removes: intent.removes, unanswered: this.#unanswered },
      configRevision: this.#request.configRevision,
      side: side ? sideOf(this.#keys, claim, side, subnets, target !== undefined) : [],
      room: this.#roomFor(subnets),
      needsSettled: needsSettled && side !== undefined,
      isOtherLength: false,
      etcdLease: target?.etcdLease === '0' ? '0' : id,
      sideLease: id,
    };
  }

  /** Without our keys nothing but the leases themselves tells of an IPv6 subnet that another host paired otherwise. */
  #roomFor({ subnet6 }: LeaseSubnets): Room {
    return { read: subnet6 && !this.#ground.side ? 'all' : 'key', since: this.#since };
  }

  #held(
    { subnets: { subnet, subnet6 }, attributes, side, etcdLease, sideLease }: Claim,
    { expiresAt }: Grant,
    won: Pick<HeldLease, 'key' | 'value' | 'modRevision' | 'clusterId'>,
  ): HeldLease {
    const { ttlSeconds } = this.#request;
    return {
      ...{ ...won, subnet, subnet6, attributes, etcdLease, ttlSeconds },
      sideLease: side.length > 0 ? sideLease : undefined,
      expiresAt: etcdLease === '0' ? Number.POSITIVE_INFINITY : expiresAt,
    };
  }
}

/** Whether the subnet that is chosen next is one of those; of two families that is the IPv4 one. */
function isAmong(told: readonly LeaseSubnets[], choice: Choice | undefined): boolean {
  if (!choice) return false;
  const { subnet, subnet6 } = choice.subnets;
  return told.some((one) => one.subnet === subnet && (one.subnet6 ?? subnet6) === subnet6);
}
