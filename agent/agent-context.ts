import type { Clock } from '../config/clock.ts';
import type { Log } from '../config/log.ts';
import type { Options } from '../config/options.ts';

/** What an agent is given from outside. */
export interface AgentContext {
  readonly options: Options;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly version: string;
  readonly clock: Clock;
  readonly log: Log;
}
