import test from 'ava';
import { Revival } from '../../../../backends/data-path/revival.ts';
import { VirtualClock } from '../../../fakes/clock.ts';

test('the first death is followed at once, others in a row ever later', async (t) => {
  const clock = new VirtualClock();
  const revival = new Revival(clock);
  const pauses: number[] = [];
  for (let i = 0; i < 10; i++) {
    revival.started();
    await clock.advance(10);
    revival.ended(new Error('broken'));
    pauses.push(revival.restMs());
    await clock.advance(revival.restMs());
  }
  t.deepEqual(pauses, [0, 100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000]);
  t.is(revival.restarts, 10);
});

test('who dies three times in a row is spoken of until one has lived for a while', async (t) => {
  const clock = new VirtualClock();
  const revival = new Revival(clock);
  const die = (): void => {
    revival.started();
    revival.ended(new Error('out of memory'));
  };
  die();
  die();
  t.is(revival.problem(), undefined);
  die();
  t.is(revival.problem(), 'the worker died 3 times: out of memory; it is started again, report it');
  revival.started();
  await clock.advance(60_001);
  t.is(revival.problem(), undefined);
  revival.ended(new Error('once more'));
  t.is(revival.restMs(), 0, 'that was another story');
});
