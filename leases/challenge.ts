/**
 * "Is the holder of this lease alive?": asked before a lease is taken over that may be somebody else's.
 *
 *   challenger                      etcd                          holder
 *   ── create challenges/<lease> ────▶  ── watch ──────────────────▶      {"by":{…}}
 *   ◀── poll, up to 3 s ───────────────  ◀── the same key, answered ─     {"by":{…},"answer":{…}}
 *   ── claim, if the key is still unanswered ──▶
 *
 * The question stays until the claim is made, and the claim compares it: an answer foils it however late it comes. A
 * question that is gone (its etcd lease ran out, the store was restored) says nothing: it is asked again.
 *
 * A holder that has another address itself may let the asker have the one that its lease still says, see exchange.ts. For
 * that the question says what is offered, and the answer what may then stand at the holder's key.
 */
import type { Clock } from '../config/clock.ts';
import { isJsonObject } from '../config/go-json.ts';
import type { Log } from '../config/log.ts';
import { parseOwner } from './codec.ts';
import { sameSubnets } from './coverage.ts';
import { type Offer, parseOffer } from './exchange.ts';
import type { LeaseOwner, LeaseSubnets } from './lease.ts';
import { isForbidden, keysUnder, oneKey } from './registry.ts';
import type { SeenKey } from './side-keys.ts';
import type { KeyValue, Store, StoreOp } from './store.ts';
import { followRange } from './watch.ts';

const ANSWER_WITHIN_MS = 3_000;
const POLL_MS = 200;
/** Time to be answered and, after that, to claim. */
const QUESTION_TTL_SECONDS = 10;
/** A right that is missing is rarely given while anybody waits for it. */
const FORBIDDEN_PAUSE_MS = 5 * 60_000;
const ANSWER_PAUSE_MS = { first: 100, most: 1_600 } as const;

export interface Asker {
  readonly owner: LeaseOwner;
  /** The lease that the asker holds, as far as it knows: of that its own answer would tell nothing. */
  readonly holds: LeaseSubnets | undefined;
  readonly offer?: Offer;
}

interface ChallengeContext {
  readonly store: Store;
  readonly prefix: string;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

interface Asked {
  readonly by: LeaseOwner;
  readonly holdsIt: boolean;
  readonly offer: Offer | undefined;
  readonly answer: LeaseOwner | undefined;
  readonly cedes: string | undefined;
}

/** A holder lives. */
export interface Sign {
  readonly outcome: 'answered';
  readonly holder: LeaseOwner;
  readonly subnets: LeaseSubnets;
  /** The value that it agrees to have at its key, in exchange; undefined: it keeps what it has. */
  readonly cedes: string | undefined;
  /** With its answer: the agreement is good while that stands. */
  readonly question: SeenKey;
}

type Answer =
  | Sign
  | { readonly outcome: 'silence'; readonly question: SeenKey }
  /** Another host is asking the same, or the question is gone: look at the leases again. */
  | { readonly outcome: 'unclear' };

/** What asking the holders of some leases brought. */
export interface Inquiry {
  /** Those who answered. */
  readonly answered: readonly Sign[];
  readonly isUnclear: boolean;
  /** The claim has to compare with these. */
  readonly unanswered: readonly SeenKey[];
  /** Takes the questions back: after the claim. */
  end(): Promise<void>;
}

const NOBODY_ASKED: Inquiry = { answered: [], isUnclear: false, unanswered: [], end: async () => undefined };

function parse(text: string): Asked | undefined {
  try {
    const value: unknown = JSON.parse(text);
    const by = isJsonObject(value) ? parseOwner(value['by']) : undefined;
    if (!by || !isJsonObject(value)) return undefined;
    const cedes = typeof value['cedes'] === 'string' ? value['cedes'] : undefined;
    const offer = parseOffer(value['offer']);
    return { by, holdsIt: value['holdsIt'] === true, offer, answer: parseOwner(value['answer']), cedes };
  } catch {
    return undefined;
  }
}

/** Asks the holders of all these leases at once to show themselves; takes up to 3 s. */
export async function askHolders(
  context: ChallengeContext,
  asker: Asker,
  leases: readonly LeaseSubnets[],
): Promise<Inquiry> {
  if (leases.length === 0) return NOBODY_ASKED;
  const { store } = context;
  const etcdLease = await store.grant(QUESTION_TTL_SECONDS);
  const end = (): Promise<void> => store.revoke(etcdLease).catch(() => undefined);
  try {
    const answers = await Promise.all(leases.map((subnets) => ask(context, asker, subnets, etcdLease)));
    return {
      answered: answers.flatMap((one) => (one.outcome === 'answered' ? [one] : [])),
      isUnclear: answers.some(({ outcome }) => outcome === 'unclear'),
      unanswered: answers.flatMap((one) => (one.outcome === 'silence' ? [one.question] : [])),
      end,
    };
  } catch (error) {
    await end();
    throw error;
  }
}

async function ask(context: ChallengeContext, asker: Asker, subnets: LeaseSubnets, etcdLease: string): Promise<Answer> {
  const { store, clock, signal } = context;
  const key = keysUnder(context.prefix).challenge(subnets);
  const holdsIt = asker.holds !== undefined && sameSubnets(asker.holds, subnets);
  const { owner: by, offer } = asker;
  const value = JSON.stringify({ by, ...(holdsIt && { holdsIt }), ...(offer && { offer }) });
  const asked = await putQuestion(store, key, value, etcdLease);
  const deadline = clock.monotonic() + ANSWER_WITHIN_MS;
  for (;;) {
    // Read once more after the last pause: this process may have been suspended in it.
    const isOver = clock.monotonic() >= deadline;
    const { kv } = await store.get(key);
    const said = kv && parse(kv.value);
    // What was answered to another one's offer is nothing to go by.
    if (kv && said?.answer && (asked !== undefined || !offer)) {
      return { outcome: 'answered', holder: said.answer, subnets, cedes: said.cedes, question: kv };
    }
    if (!kv || (asked !== undefined && kv.modRevision !== asked)) return { outcome: 'unclear' };
    if (isOver) return asked === undefined ? { outcome: 'unclear' } : { outcome: 'silence', question: kv };
    await clock.sleep(Math.min(POLL_MS, deadline - clock.monotonic()), signal);
  }
}

/** @returns the question's mod_revision, undefined where another host's stands. */
async function putQuestion(store: Store, key: string, value: string, lease: string): Promise<number | undefined> {
  const put: StoreOp = { put: key, value, lease };
  const over = (modRevision: number) =>
    store.txn({ compare: [{ key, modRevision }], success: [put], failure: [{ get: key }] });
  const first = await over(0);
  if (first.succeeded) return first.revision;
  const there = first.responses[0]?.[0];
  // Rubbish, or what would stay for ever, was put by hand. Our own from before a crash is waited for like any other: it
  // may be that of a clone, and two that replace each other's never come to an end.
  const isByHand = there && (there.lease === '0' || !parse(there.value));
  if (!isByHand) return undefined;
  const second = await over(there.modRevision);
  return second.succeeded ? second.revision : undefined;
}

interface AnswerContext {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly log: Log;
  /** Resolves when the lease is known to be held: a host that slept must look before it speaks. */
  sure(): Promise<void>;
  /** What may stand at our key in exchange; undefined: what stands there. */
  cede(offer: Offer): string | undefined;
}

/** Answers challenges to the lease that this host holds, until the signal is aborted. */
export async function answerChallenges(
  store: Store,
  prefix: string,
  subnets: LeaseSubnets,
  holder: LeaseOwner,
  context: AnswerContext,
): Promise<void> {
  const key = keysUnder(prefix).challenge(subnets);
  const { log } = context;
  const answer = async (kv: KeyValue | undefined): Promise<void> => {
    const asked = kv && parse(kv.value);
    if (!kv || !asked || asked.answer || (asked.holdsIt && asked.by.claim === holder.claim)) return;
    await context.sure();
    const cedes = asked.offer && context.cede(asked.offer);
    const fields = { by: asked.by, subnet: subnets.subnet };
    if (cedes === undefined) log.warn('another host asked for our lease: telling it that we live', fields);
    else log.info('another host has the public IP that we left: exchanging it for the one it left', fields);
    const value = JSON.stringify({ by: asked.by, answer: holder, ...(cedes !== undefined && { cedes }) });
    await putAnswer(store, key, kv.modRevision, value, context);
  };
  const failed = (error: unknown): void => {
    if (!context.signal.aborted) log.warn('could not answer a challenge', { error });
  };
  let wasForbidden = false;
  await followRange({
    ...{ store, ...context, range: oneKey(key), forbiddenPauseMs: FORBIDDEN_PAUSE_MS },
    onState: ({ error }) => {
      if (wasForbidden || !isForbidden(error)) return;
      wasForbidden = true;
      log.warn('etcd forbids our own keys: nobody who asks whether we live is answered', { key, error });
    },
    onSnapshot: (snapshot) => void answer(snapshot.kvs[0]).catch(failed),
    onEvents: (events) => {
      const last = events.at(-1);
      if (last?.type === 'put') void answer(last.kv).catch(failed);
    },
  });
}

/** Tries as long as the question may stand: an unanswered one costs us the lease. */
async function putAnswer(
  store: Store,
  key: string,
  modRevision: number,
  value: string,
  { clock, signal, sure }: AnswerContext,
): Promise<void> {
  const put: StoreOp = { put: key, value, keepLease: true };
  for (let pause: number = ANSWER_PAUSE_MS.first; ; pause *= 2) {
    try {
      await store.txn({ compare: [{ key, modRevision }], success: [put], failure: [] });
      return;
    } catch (error) {
      if (isForbidden(error) || pause > ANSWER_PAUSE_MS.most) throw error;
      await clock.sleep(pause, signal);
      await sure();
    }
  }
}
