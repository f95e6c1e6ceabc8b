import type { ErrorCode } from '../config/errors.ts';
import type { Log } from '../config/log.ts';

/** Tells what is waited for; `problem`: something for the operator to mend, and by which code it is known. */
export type OnPhase = (phase: string, problem?: string, code?: ErrorCode) => void;

/** What the operator is told of a host that joins: in `status` all the time, in the log when it is news. */
export class JoinReport {
  readonly #onPhase: OnPhase;
  readonly #log: Log;
  /** What the log said last: what fails the same way again is not told again. */
  #said: string | undefined;
  /** Whether the last claim failed. */
  #failed = false;

  constructor(onPhase: OnPhase, log: Log) {
    this.#onPhase = onPhase;
    this.#log = log;
  }

  /** Something is waited for before a lease can be claimed. */
  waiting(phase: string, problem?: string, code?: ErrorCode): void {
    this.#failed = false;
    this.#onPhase(phase, problem, code);
  }

  /** What the last claim ran into stays in sight while it is tried again. */
  claiming(): void {
    if (!this.#failed) this.#onPhase('claiming a lease');
  }

  /** A claim failed. */
  failed(phase: string, problem: string, code: ErrorCode): void {
    this.#failed = true;
    this.#onPhase(phase, problem, code);
  }

  /** Once, as long as `problem` is the same. */
  tell(message: string, fields: Readonly<Record<string, unknown>>, problem: string): void {
    if (this.#said === problem) return;
    this.#said = problem;
    this.#log.error(message, fields);
  }
}
