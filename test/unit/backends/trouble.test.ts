import test from 'ava';
import { Troubles } from '../../../backends/trouble.ts';
import { VirtualClock } from '../../fakes/clock.ts';

const FULL = { errno: 'ENOSPC', detail: 'table full' };
const BARE = { errno: 'EPERM', detail: '' };

test('a refusal waits longer each time, up to half a minute, and keeps its beginning', async (t) => {
  const clock = new VirtualClock(1_000);
  const troubles = new Troubles(clock);
  let longest = 0;
  for (let attempt = 1; attempt <= 14; attempt++) {
    troubles.refused(new Map([['route a', attempt % 2 === 0 ? FULL : BARE]]));
    const wait = troubles.nextMs();
    const nominal = Math.min(200 * 2 ** (attempt - 1), 30_000);
    t.true(wait >= nominal * 0.7 && wait <= nominal * 1.3, `${attempt}: ${wait}`);
    t.true(troubles.isWaiting('route a'));
    t.deepEqual(troubles.due(), []);
    longest = Math.max(longest, wait);
    await clock.advance(Math.ceil(wait));
    t.false(troubles.isWaiting('route a'));
    t.deepEqual(troubles.due(), ['route a']);
    t.is(troubles.nextMs(), 0);
  }
  t.true(longest > 20_000);
  const error = 'ENOSPC: table full';
  t.deepEqual(troubles.list(), [{ object: 'route a', since: 1_000, attempts: 14, error }]);
  t.true(troubles.isRefused('route a'));
});

test('one batch is tried again together, another one at its own time', async (t) => {
  const clock = new VirtualClock();
  const troubles = new Troubles(clock);
  for (const batch of ['a', 'b', 'c']) {
    troubles.refused(new Map(Array.from({ length: 50 }, (_, i) => [`route ${batch}${i}`, BARE])));
  }
  t.is(troubles.size, 150);
  const sizes: number[] = [];
  while (troubles.size > 0) {
    await clock.advance(troubles.nextMs());
    sizes.push(troubles.due().length);
    for (const key of troubles.due()) troubles.settled(key);
  }
  t.deepEqual(sizes, [50, 50, 50]);
});

test('what is settled is forgotten, its attempts too', (t) => {
  const troubles = new Troubles(new VirtualClock());
  troubles.refused(new Map([['a', BARE]]));
  troubles.refused(new Map([['a', BARE]]));
  troubles.settled('a');
  troubles.settled('never heard of');
  t.is(troubles.size, 0);
  t.is(troubles.nextMs(), Number.POSITIVE_INFINITY);
  troubles.refused(new Map([['a', BARE]]));
  t.is(troubles.list()[0]?.attempts, 1);
  t.is(troubles.list()[0]?.error, 'EPERM');
});

test('who is in a hurry is due at once', (t) => {
  const troubles = new Troubles(new VirtualClock());
  troubles.refused(new Map([['a', BARE]]));
  troubles.hurry('a');
  troubles.hurry('b');
  t.deepEqual(troubles.due(), ['a']);
  t.deepEqual([...troubles.keys()], ['a']);
});

test('five repairs a minute are made at once, of each object', (t) => {
  const troubles = new Troubles(new VirtualClock());
  for (const key of ['a', 'b']) {
    for (let i = 0; i < 5; i++) t.true(troubles.mayRepair(key, 'missing'));
    t.is(troubles.size, 0);
  }
  for (const key of ['a', 'b']) t.false(troubles.mayRepair(key, 'was via 192.0.2.1'));
  t.is(troubles.size, 2);
  t.true(troubles.isWaiting('a'));
  t.false(troubles.isRefused('a'));
});

test('a fight is answered ever more slowly, from its beginning on', async (t) => {
  const clock = new VirtualClock(5_000);
  const troubles = new Troubles(clock);
  const waits: number[] = [];
  for (let i = 0; i < 9; i++) {
    if (troubles.mayRepair('a', 'missing')) {
      await clock.advance(10);
      continue;
    }
    waits.push(troubles.nextMs());
    t.is(troubles.list()[0]?.since, 5_000);
    await clock.advance(Math.ceil(troubles.nextMs()));
    t.true(troubles.mayRepair('a', 'missing'), 'its time has come');
    troubles.settled('a');
  }
  t.is(waits.length, 4);
  t.deepEqual(
    waits,
    [...waits].sort((a, b) => a - b),
  );
});

test('after a minute of peace a fight is forgotten', async (t) => {
  const clock = new VirtualClock();
  const troubles = new Troubles(clock);
  for (let i = 0; i < 5; i++) troubles.mayRepair('a', 'missing');
  await clock.advance(60_000);
  for (let i = 0; i < 5; i++) t.true(troubles.mayRepair('a', 'missing'));
});
