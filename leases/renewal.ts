/** When our lease is to be looked at next. All pure but for chance. */
import { type Clock, jittered } from '../config/clock.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const RETRY_MS = { first: 1_000, most: 30_000, refused: 30_000 } as const;

/** How it stands with a lease. */
export interface Standing {
  readonly ttlSeconds: number;
  /** --subnet-lease-renew-margin. */
  readonly marginSeconds: number;
  /** Renewals that failed since the last that did not. */
  readonly failures: number;
  /** Whether another live host has the public IP that the lease is to have. */
  readonly isRefused: boolean;
}

/** How long after a renewal the next one is due at the latest, ms: hourly, sooner where the lease is short. */
export function renewalIntervalMs(ttlSeconds: number, marginSeconds: number): number {
  const spare = (ttlSeconds - marginSeconds) * 1000;
  return Math.min(HOUR_MS, spare > 0 ? spare : Number.POSITIVE_INFINITY, (ttlSeconds * 1000) / 3);
}

/** How long to rest before the lease is looked at again without any other reason, ms. */
export function pauseMs(clock: Clock, { ttlSeconds, marginSeconds, failures, isRefused }: Standing): number {
  if (failures > 0) return jittered(clock, Math.min(RETRY_MS.first * 2 ** (failures - 1), RETRY_MS.most), 0.3);
  // Earlier, never later: an outage that begins just before a renewal must leave the rest of the time.
  const renewalMs = renewalIntervalMs(ttlSeconds, marginSeconds) * (0.8 + 0.15 * clock.random());
  return isRefused ? Math.min(renewalMs, jittered(clock, RETRY_MS.refused, 0.2)) : renewalMs;
}

/** Monotonic clock, ms: when our value is to be put again where flannelds live, if it was put now. */
export function nextPutAt(clock: Clock): number {
  return clock.monotonic() + jittered(clock, DAY_MS);
}
