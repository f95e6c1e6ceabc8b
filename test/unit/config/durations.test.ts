import test from 'ava';
import { DURATION_BOUNDS, Durations } from '../../../config/durations.ts';

test('what took up to a bound counts for it and for all beyond; what took longer only in the count', (t) => {
  const durations = new Durations();
  for (const ms of [0.2, 0.5, 3, 10_000]) durations.add(ms);
  t.deepEqual(
    durations.cumulated,
    DURATION_BOUNDS.map((bound) => (bound < 0.005 ? 2 : 3)),
  );
  t.is(durations.count, 4);
  t.is(durations.sumSeconds.toFixed(4), '10.0037');
});
