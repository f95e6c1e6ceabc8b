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

/** `ms` spread uniformly over ±`share` of itself, so that a fleet does not act in step. */
export function jittered(clock: Clock, ms: number, share = 0.1): number {
  return ms * (1 - share + 2 * share * clock.random());
}
