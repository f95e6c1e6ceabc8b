import { setTimeout as pause } from 'node:timers/promises';
import type { Clock } from '../../config/clock.ts';

/** The host's own time and chance. */
export const realClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  sleep: (ms, signal) => pause(ms, undefined, { signal }),
  random: () => Math.random(),
};
