import { type Clock, monotonicMs } from '../config/clock.ts';

/** setTimeout fires at once for anything longer (2^31 − 1 ms, 24.8 days). */
const LONGEST_MS = 2_147_483_647;

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: monotonicMs,
  // Node's own promise of a timer makes an exception with its stack whenever a sleeper is woken, which is every event.
  sleep: (ms, signal) =>
    new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason);
      const abort = (): void => {
        clearTimeout(timer);
        reject(signal.reason);
      };
      const timer = setTimeout(
        () => {
          signal.removeEventListener('abort', abort);
          resolve();
        },
        Math.min(Math.max(ms, 0), LONGEST_MS),
      );
      signal.addEventListener('abort', abort, { once: true });
    }),
  random: () => Math.random(),
};
