import { setTimeout as sleep } from 'node:timers/promises';
import type { Clock } from '../config/clock.ts';

/** setTimeout fires at once for anything longer (2^31 − 1 ms, 24.8 days). */
const LONGEST_MS = 2_147_483_647;

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  sleep: async (ms, signal) => {
    signal.throwIfAborted();
    try {
      await sleep(Math.min(ms, LONGEST_MS), undefined, { signal });
    } catch (error) {
      signal.throwIfAborted();
      throw error;
    }
  },
  random: () => Math.random(),
};
