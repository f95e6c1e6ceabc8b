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
 */
import type { Clock } from '../config/clock.ts';
import { isJsonObject } from '../config/go-json.ts';
import type { Log } from '../config/log.ts';
import { parseOwner } from './codec.ts';
import { sameSubnets } from './coverage.ts';
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
  readonly answer: LeaseOwner | undefined;
}

type Answer =
  | { readonly outcome: 'answered'; readonly holder: LeaseOwner; readonly subnets: LeaseSubnets }
  | { readonly outcome: 'silence'; readonly question: SeenKey }
  /** Another host is asking the same, or the question is gone: look at the leases again. */
  | { readonly outcome: 'unclear' };

/** What asking the holders of some leases brought. */
export interface Inquiry {
  /** The first who answered, and for which lease. */
  readonly answered: { readonly holder: LeaseOwner; readonly subnets: LeaseSubnets } | undefined;
  readonly isUnclear: boolean;
  /** The claim has to compare with these. */
  readonly unanswered: readonly SeenKey[];
  /** Takes the questions back: after the claim. */
  end(): Promise<void>;
}

const NOBODY_ASKED: Inquiry = { answered: undefined, isUnclear: false, unanswered: [], end: async () => undefined };

function parse(text: string): Asked | undefined {
  try {
    const value: unknown = JSON.parse(text);
    const by = isJsonObject(value) ? parseOwner(value['by']) : undefined;
    if (!by || !isJsonObject(value)) return undefined;
    return { by, holdsIt: value['holdsIt'] === true, answer: parseOwner(value['answer']) };
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
      answered: answers.find((one) => one.outcome === 'answered'),
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
  const value = JSON.stringify({ by: asker.owner, ...(holdsIt && { holdsIt }) });
  const asked = await putQuestion(store, key, value, etcdLease);
  const deadline = clock.monotonic() + ANSWER_WITHIN_MS;
  for (;;) {
    // Read once more after the last pause: this process may have been suspended in it.
    const isOver = clock.monotonic() >= deadline;
    const { kv } = await store.get(key);
    const answer = kv && parse(kv.value)?.answer;
    if (answer) return { outcome: 'answered', holder: answer, subnets };
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
    log.warn('another host asked for our lease: telling it that we live', { by: asked.by, subnet: subnets.subnet });
    const value = JSON.stringify({ by: asked.by, answer: holder });
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
