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
  /** Transactions made. */
  transactions = 0;

  constructor(context: AcquireContext, request: AcquireRequest, ground: Ground, unanswered: readonly SeenKey[]) {
    this.#context = context;
    this.#request = request;
    this.#ground = ground;
    this.#unanswered = unanswered;
    this.#keys = keysUnder(context.prefix);
  }

  async run(grant: Grant): Promise<Taken> {
    const { store, signal, log, clock } = this.#context;
    const { trust } = this.#request;
    const { view, intent } = this.#ground;
    const target = intent.target?.lease;
    const avoid: LeaseSubnets[] = [];
    let taken = view.taken.filter((one) => !intent.removes.some((ours) => sameSubnets(ours, one)));
    let { revision } = view;
    let told: readonly LeaseSubnets[] | undefined;
    for (;;) {
      signal.throwIfAborted();
      const choice = target ? { subnets: target, alternatives: [] } : this.#choose([...taken, ...avoid]);
      if (told && !isAmong(told, choice)) {
        const listing = await store.list(this.#keys.subnets, { keysOnly: true });
        if (!follows(listing, view)) return 'again';
        taken = subnetsOf(this.#keys.prefix, listing.kvs);
        ({ revision } = listing);
        told = undefined;
        continue;
      }
      if (!choice) return 'exhausted';
      const needsSettled = !target && !this.#isStillOurs(choice.subnets);
      if (needsSettled && !mayAllocate(trust, view, clock.monotonic())) return 'unsettled';
      const claim = this.#claimOf(choice, revision, grant, needsSettled);
      this.transactions++;
      const answer = await store.txn(claimTxn(this.#keys, claim));
      const result = claimResult(this.#keys, claim, answer);
      if ('won' in result) return this.#held(claim, grant, { ...result.won, clusterId: answer.clusterId });
      if (!follows(answer, view)) return 'again';
      if (result.lost !== 'taken') return result.lost === 'moved' ? 'again' : result.lost;
      log.debug('another host was faster: choosing again', { subnet: choice.subnets.subnet });
      avoid.push(...result.avoid);
      taken = [...taken, ...result.taken];
      told = result.free;
    }
  }

  /** A lease that does not fit the config any more may still say which subnet of one family was ours. */
  #choose(taken: readonly LeaseSubnets[]): Choice | undefined {
    const { self, config, previous, avoid } = this.#request;
    return choose({ node: self.node, config, previous: previous ?? this.#ground.intent.removes[0], avoid }, taken);
  }

  /** What this host held to the last it may claim whatever became of the store meanwhile. */
  #isStillOurs(subnets: LeaseSubnets): boolean {
    const { previous } = this.#request;
    if (previous?.expiresAt === undefined || previous.expiresAt <= this.#context.clock.now()) return false;
    return sameSubnets(previous, subnets);
  }

  #claimOf({ subnets, alternatives }: Choice, revision: number, { id }: Grant, needsSettled: boolean): Claim {
    const { intent, attributes, side } = this.#ground;
    const target = intent.target?.lease;
    const { claim } = this.#request.self;
    return {
      ...{ subnets, alternatives, attributes, target, removes: intent.removes, unanswered: this.#unanswered },
      configRevision: this.#request.configRevision,
      side: side ? sideOf(this.#keys, claim, side, subnets, target !== undefined) : [],
      room: this.#roomFor(subnets, revision),
      needsSettled: needsSettled && side !== undefined,
      isOtherLength: false,
      etcdLease: target?.etcdLease === '0' ? '0' : id,
      sideLease: id,
    };
  }

  /** Without our keys nothing but the leases themselves tells of an IPv6 subnet that another host paired otherwise. */
  #roomFor({ subnet6 }: LeaseSubnets, since: number): Room {
    return { read: subnet6 && !this.#ground.side ? 'all' : 'key', since };
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
