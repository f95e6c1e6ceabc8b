/** Time and chance as parameters, so that a test decides both. */
export interface Clock {
  /** Wall clock, milliseconds since the epoch. Jumps when the host's clock is set. */
  now(): number;
  /** Milliseconds since an arbitrary start; never jumps back. */
  monotonic(): number;
  /** Resolves after `ms`; rejects with the signal's reason as soon as it is aborted. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
  /** Uniform in [0, 1). */
  random(): number;
}

/** A clock that nobody sets, in milliseconds. Node loads more for `performance` than an agent needs to be up. */
export function monotonicMs(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1_000 + nanoseconds / 1_000_000;
}

/**
 * What `work` comes to, undefined where it takes longer than `ms`: it then goes on unheeded.
 * @param signal rejects with its reason as soon as it is aborted; left out: only time ends the wait.
 */
export async function within<T>(
  clock: Clock,
  ms: number,
  work: Promise<T>,
  signal?: AbortSignal,
): Promise<T | undefined> {
  const patience = new AbortController();
  const ended = signal ? AbortSignal.any([signal, patience.signal]) : patience.signal;
  const late = clock.sleep(ms, ended).then(() => undefined);
  late.catch(() => undefined);
  return await Promise.race([work, late]).finally(() => patience.abort());
}

/** `ms` spread uniformly over ±`share` of itself, so that a fleet does not act in step. */
export function jittered(clock: Clock, ms: number, share = 0.1): number {
  return ms * (1 - share + 2 * share * clock.random());
}
