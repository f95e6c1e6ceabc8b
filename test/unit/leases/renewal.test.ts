import test from 'ava';
import type { Clock } from '../../../config/clock.ts';
import { nextPutAt, pauseMs, renewalIntervalMs, type Standing } from '../../../leases/renewal.ts';
import { VirtualClock } from '../../fakes/clock.ts';

const HOUR = 3_600_000;
const LAST_CHANCE = 1 - Number.EPSILON;

/** A clock by which chance is decided. */
function chance(random: number): Clock {
  const clock = new VirtualClock();
  clock.random = () => random;
  return clock;
}

for (const [ttlSeconds, marginSeconds, intervalMs, why] of [
  [86_400, 3_600, HOUR, 'hourly'],
  [86_400, 85_000, 1_400_000, 'sooner where the margin is wide'],
  [3_600, 3_600, 1_200_000, 'thrice where the margin is all of the lease'],
  [3_600, 7_200, 1_200_000, '… or more than it'],
  [30, 10, 10_000, 'thrice where the lease is short'],
] as const) {
  test(`renewals of a lease of ${ttlSeconds} s with ${marginSeconds} s to spare: ${why}`, (t) => {
    t.is(renewalIntervalMs(ttlSeconds, marginSeconds), intervalMs);
  });
}

const WELL: Standing = { ttlSeconds: 86_400, marginSeconds: 3_600, failures: 0, isRefused: false };

for (const [title, standing, least, most] of [
  ['renewed: earlier than the hour, never later', WELL, 0.8 * HOUR, 0.95 * HOUR],
  ['failed once: in a second', { ...WELL, failures: 1 }, 700, 1_300],
  ['failed thrice: ever more rarely', { ...WELL, failures: 3 }, 2_800, 5_200],
  ['failed for long: twice a minute', { ...WELL, failures: 1_000 }, 21_000, 39_000],
  ['refused: twice a minute', { ...WELL, isRefused: true }, 24_000, 36_000],
  [
    'refused, with a short lease: in time for that',
    { ...WELL, ttlSeconds: 30, marginSeconds: 10, isRefused: true },
    8_000,
    9_500,
  ],
  ['refused, and etcd is away: as after a failure', { ...WELL, isRefused: true, failures: 1 }, 700, 1_300],
] as const) {
  test(`the pause after it was ${title}`, (t) => {
    t.is(Math.round(pauseMs(chance(0), standing)), least);
    t.is(Math.round(pauseMs(chance(LAST_CHANCE), standing)), most);
  });
}

test('for flannelds our value is put again once a day, give or take', (t) => {
  t.is(Math.round(nextPutAt(chance(0)) / HOUR), 22);
  t.is(Math.round(nextPutAt(chance(LAST_CHANCE)) / HOUR), 26);
});
