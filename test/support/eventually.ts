/** Waiting for what other processes do: polled, with a deadline that only a fault reaches. */
import { setTimeout as sleep } from 'node:timers/promises';

export interface Patience {
  /** Default 20 s: generous, because a slow machine is no fault. */
  readonly timeoutMs?: number;
  /** Default 50 ms. */
  readonly everyMs?: number;
  /** More for the message of a failure: the last log lines of whoever was waited for. */
  readonly context?: () => string;
  readonly signal?: AbortSignal;
}

type Answer<T> = T | undefined | false;

/**
 * Asks again until the answer is neither undefined nor false. What `probe` throws counts as "not yet".
 * @throws Error naming `what`, the last fault and the context, when the deadline passes
 */
export async function eventually<T>(
  what: string,
  probe: () => Promise<Answer<T>> | Answer<T>,
  patience: Patience = {},
): Promise<T> {
  const timeoutMs = patience.timeoutMs ?? 20_000;
  const deadline = performance.now() + timeoutMs;
  let fault: unknown;
  for (;;) {
    patience.signal?.throwIfAborted();
    try {
      const answer = await probe();
      if (answer !== undefined && answer !== false) return answer;
      fault = undefined;
    } catch (thrown: unknown) {
      fault = thrown;
    }
    if (performance.now() > deadline) throw new Error(complaint(what, timeoutMs, fault, patience.context));
    await sleep(patience.everyMs ?? 50, undefined, { signal: patience.signal });
  }
}

function complaint(what: string, timeoutMs: number, fault: unknown, context: (() => string) | undefined): string {
  const lines = [`waited ${timeoutMs / 1000} s in vain: ${what}`];
  if (fault !== undefined) lines.push(fault instanceof Error ? fault.message : String(fault));
  if (context !== undefined) lines.push(context());
  return lines.join('\n');
}
