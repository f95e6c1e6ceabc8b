/** What a lease is claimed for: a network config that makes sense, on this host as it is. Waited for until there is. */
import type { Backend } from '../backends/backend.ts';
import type { Families } from '../backends/backend-config.ts';
import { createBackendHere } from '../backends/backends.ts';
import { TartanError } from '../config/errors.ts';
import { silentLog } from '../config/log.ts';
import type { NetworkConfig } from '../config/network-config.ts';
import { parseNetworkConfig } from '../config/network-config.ts';
import { keysUnder } from '../leases/registry.ts';
import { familiesOf } from './config-families.ts';
import type { JoinReport } from './join-report.ts';
import type { Recollection, RecollectionContext } from './recollection.ts';
import type { UnderlaySurvey } from './underlay-survey.ts';
import { surveyUnderlay } from './underlay-survey.ts';

/** Changes that are waited for are told by a watch; looked at all the same. */
const LOOK_MS = 60_000;

export interface Plan {
  readonly config: NetworkConfig;
  /** mod_revision of its key. */
  readonly revision: number;
  readonly backend: Backend;
  readonly survey: UnderlaySurvey;
}

interface PlanningContext extends RecollectionContext {
  readonly signal: AbortSignal;
}

export class Planning {
  readonly #context: PlanningContext;
  readonly #recollection: Recollection;
  readonly #report: JoinReport;
  #surveyed = false;

  constructor(context: PlanningContext, recollection: Recollection, report: JoinReport) {
    this.#context = context;
    this.#recollection = recollection;
    this.#report = report;
  }

  /** Resolves when there is one. Rejects where waiting can't help: no such interface, the kernel refuses. */
  async plan(): Promise<Plan> {
    for (;;) {
      const { value, revision } = await this.#storedConfig();
      const parsed = parseNetworkConfig(value);
      if (!parsed.ok) {
        await this.#waitForAnother(revision, parsed.problems);
        continue;
      }
      const { config } = parsed;
      const families = familiesOf(config);
      const survey = await this.#survey(families);
      if (!survey) continue;
      const { backendType: type, backend } = config;
      const created = await createBackendHere(this.#context.kernel, type, backend, families, survey.underlay);
      if (created.ok) return { config, revision, backend: created.backend, survey };
      // What is wrong may be the host's part of it, an MTU or a NAT, which nobody tells about.
      await this.#waitForAnother(revision, created.problems, LOOK_MS);
    }
  }

  /** Says that etcd is away, and rests until it answers or the memory is to be looked at again. */
  async waitForAnswer(): Promise<void> {
    const { cluster, signal } = this.#context;
    const { reason, error } = cluster.state;
    const { why, waitMs } = this.#recollection;
    const problem = [reason, why && `not running from memory: ${why}`].filter(Boolean).join('; ');
    this.#report.waiting('waiting for etcd', problem || undefined, error?.code ?? 'ETCD_UNAVAILABLE');
    await cluster.change(waitMs, signal);
  }

  #isUnanswered(): boolean {
    return this.#context.cluster.version === undefined;
  }

  /** undefined: there is no interface yet, and etcd, which decides whether that matters, has not answered. */
  async #survey(families: Families): Promise<UnderlaySurvey | undefined> {
    const { kernel, options, log } = this.#context;
    // While etcd is waited for the same is surveyed again and again.
    const isFirst = !this.#surveyed || !this.#isUnanswered();
    this.#surveyed = true;
    try {
      return await surveyUnderlay(kernel, options, families, isFirst ? log : silentLog);
    } catch (error) {
      if (!this.#isUnanswered() || !(error instanceof TartanError) || error.code !== 'INTERFACE_NOT_FOUND') throw error;
      this.#recollection.forgo(error.message);
      await this.waitForAnswer();
      return undefined;
    }
  }

  /** Waits for etcd, and until it has a config. */
  async #storedConfig(): Promise<{ readonly value: string; readonly revision: number }> {
    const { cluster, options, signal } = this.#context;
    const key = keysUnder(options.etcdPrefix).config;
    for (;;) {
      if (this.#isUnanswered()) await this.#recollection.recall();
      const { config } = cluster;
      if (config !== undefined) return { value: config.value, revision: config.modRevision };
      if (this.#isUnanswered()) {
        await this.waitForAnswer();
        continue;
      }
      const problem = `etcd has no ${key}; store one: tartan config set FILE`;
      const code = 'CONFIG_MISSING';
      this.#report.tell('there is no network config: waiting for one', { code, key }, problem);
      this.#report.waiting('waiting for the network config', problem, code);
      await cluster.change(LOOK_MS, signal);
    }
  }

  /** Resolves when etcd has another config, or after `ms`. */
  async #waitForAnother(revision: number, problems: readonly string[], ms = Number.POSITIVE_INFINITY): Promise<void> {
    const { clock, cluster, options, signal } = this.#context;
    const code = 'CONFIG_INVALID';
    const key = keysUnder(options.etcdPrefix).config;
    const problem = `${key}: ${problems.join('; ')}`;
    this.#report.tell('the network config is unusable: waiting for another one', { code, key, problems }, problem);
    this.#report.waiting('waiting for a usable network config', problem, code);
    const until = clock.monotonic() + ms;
    while (cluster.config?.modRevision === revision && clock.monotonic() < until) {
      await cluster.change(Math.min(until - clock.monotonic(), LOOK_MS), signal);
    }
  }
}
