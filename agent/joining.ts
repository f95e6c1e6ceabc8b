/**
 * The way to the lease; each step says what it waits for, and begins anew when what it stood on changes.
 *
 *   etcd ─▶ network config ─▶ interface ─▶ backend ─▶ claim (makes the devices) ─▶ held
 *     ▲             planning.ts                         │ refused, exhausted, etcd away    claiming.ts
 *     └──────────────────── wait ◀──────────────────────┘
 *
 * Where etcd does not answer, recollection.ts may give config and lease from memory.
 */
import type { Backend } from '../backends/backend.ts';
import type { NetworkConfig } from '../config/network-config.ts';
import { type Claimed, Claiming, type ClaimingContext } from './claiming.ts';
import { JoinReport, type OnPhase } from './join-report.ts';
import { type Plan, Planning } from './planning.ts';
import { Recollection } from './recollection.ts';
import type { UnderlaySurvey } from './underlay-survey.ts';

export interface JoinContext extends ClaimingContext {
  readonly onPhase: OnPhase;
}

export interface Joined extends UnderlaySurvey, Claimed {
  readonly config: NetworkConfig;
  readonly backend: Backend;
  readonly transactions: number;
  /** Wall clock, ms: since when we run by a lease that is only remembered; undefined: it was read or claimed. */
  readonly fromMemorySince: number | undefined;
}

/**
 * Runs until this host holds a lease, if only from memory. Rejects where waiting can't help: no such interface, the
 * kernel refuses.
 */
export async function join(context: JoinContext): Promise<Joined> {
  const { cluster, clock, onPhase, log } = context;
  const report = new JoinReport(onPhase, log);
  const recollection = new Recollection(context);
  const planning = new Planning(context, recollection, report);
  const claiming = new Claiming(context, report);
  const joined = ({ config, backend, survey }: Plan, lease: Claimed, fromMemorySince?: number): Joined => {
    return { config, backend, ...lease, transactions: claiming.transactions, fromMemorySince, ...survey };
  };
  for (;;) {
    const plan = await planning.plan();
    const claim = cluster.version === undefined ? 'unanswered' : await claiming.claim(plan);
    if (claim === 'outdated') continue;
    if (typeof claim === 'object') return joined(plan, claim);
    const remembered = await recollection.goOn(plan.config, plan.backend);
    if (remembered) return joined(plan, remembered, clock.now());
    await (claim === 'unanswered' ? planning.waitForAnswer() : claiming.rest());
  }
}
