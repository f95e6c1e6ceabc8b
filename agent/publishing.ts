import { toError } from '../config/errors.ts';
import type { Log } from '../config/log.ts';
import type { Options } from '../config/options.ts';
import type { Holder } from '../leases/holder.ts';
import type { AgentStatus } from './agent-status.ts';
import { type Publication, publish } from './publisher.ts';

interface PublishingContext {
  readonly options: Options;
  readonly log: Log;
  readonly status: AgentStatus;
}

/** The published files while the agent runs: written again whenever what they say may be another, one time after the other. */
export class Publishing {
  readonly #context: PublishingContext;
  readonly #current: () => Publication;
  #last: Promise<void> = Promise.resolve();

  constructor(context: PublishingContext, current: () => Publication) {
    this.#context = context;
    this.#current = current;
  }

  /** Rejects with PERMISSION: an agent that can't publish is not to come up. */
  async first(): Promise<void> {
    const { options, log } = this.#context;
    const published = publish(this.#current(), options, log);
    this.#last = published.catch(() => undefined);
    await published;
  }

  /** As soon as the lease is good. */
  again(holder: Holder): void {
    const rewritten = this.#last.then(() => holder.good()).then(() => this.#rewrite());
    // The agent ends before the lease is good: the files stay.
    this.#last = rewritten.catch(() => undefined);
  }

  /** Once the agent ends, until nothing is being written any more. */
  async ended(signal: AbortSignal): Promise<void> {
    await new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      else signal.addEventListener('abort', () => resolve(), { once: true });
    });
    await this.#last;
  }

  async #rewrite(): Promise<void> {
    const { options, log, status } = this.#context;
    try {
      await publish(this.#current(), options, log);
      status.setProblem('files', undefined);
    } catch (error) {
      log.error('the files could not be rewritten', { error });
      status.setProblem('files', `${toError(error).message}; mend it and restart the agent`);
    }
  }
}
