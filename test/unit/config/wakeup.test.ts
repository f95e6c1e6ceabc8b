import test from 'ava';
import { Wakeup } from '../../../config/wakeup.ts';
import { settle, VirtualClock } from '../../fakes/clock.ts';

const never = new AbortController().signal;

async function isDone(promise: Promise<unknown>): Promise<boolean> {
  let done = false;
  promise.then(
    () => (done = true),
    () => (done = true),
  );
  await settle();
  return done;
}

test('a ring ends the wait; the sleep goes on for the next one', async (t) => {
  const clock = new VirtualClock();
  const wakeup = new Wakeup();
  const waiting = wakeup.wait(1_000, clock, never);
  t.false(await isDone(waiting));
  wakeup.ring();
  t.true(await isDone(waiting));
  t.is(clock.sleeping, 1);
  const longer = wakeup.wait(2_000, clock, never);
  t.is(clock.sleeping, 1);
  await clock.advance(1_000);
  t.false(await isDone(longer), 'woken by the old sleep, and gone to sleep again');
  await clock.advance(1_000);
  t.true(await isDone(longer));
  t.is(clock.sleeping, 0);
});

test('a shorter wait, or one for another signal, has a sleep of its own', async (t) => {
  const clock = new VirtualClock();
  const wakeup = new Wakeup();
  const first = wakeup.wait(1_000, clock, never);
  wakeup.ring();
  await first;
  const shorter = wakeup.wait(500, clock, never);
  t.is(clock.sleeping, 1);
  await clock.advance(500);
  t.true(await isDone(shorter));
  const ending = new AbortController();
  const long = wakeup.wait(1_000, clock, never);
  wakeup.ring();
  await long;
  const other = wakeup.wait(1_000, clock, ending.signal);
  ending.abort(new TypeError('enough'));
  await t.throwsAsync(other, { instanceOf: TypeError });
  t.is(clock.sleeping, 0);
});

test('a ring while nobody waits is not lost, and several are one', async (t) => {
  const clock = new VirtualClock();
  const wakeup = new Wakeup();
  wakeup.ring();
  wakeup.ring();
  t.true(await isDone(wakeup.wait(1_000, clock, never)));
  t.false(await isDone(wakeup.wait(1_000, clock, never)));
});

test('the wait ends by itself, and a ring from before it does not end the next', async (t) => {
  const clock = new VirtualClock();
  const wakeup = new Wakeup();
  const first = wakeup.wait(1_000, clock, never);
  await clock.advance(999);
  t.false(await isDone(first));
  await clock.advance(1);
  t.true(await isDone(first));
  const second = wakeup.wait(1_000, clock, never);
  t.false(await isDone(second));
  wakeup.ring();
  await second;
});

test('an aborted signal rejects with its reason, before, during and together with a ring', async (t) => {
  const clock = new VirtualClock();
  const reason = new TypeError('enough');
  const gone = AbortSignal.abort(reason);
  t.is(await t.throwsAsync(new Wakeup().wait(1_000, clock, gone)), reason);
  const ending = new AbortController();
  const waiting = new Wakeup().wait(1_000, clock, ending.signal);
  ending.abort(reason);
  t.is(await t.throwsAsync(waiting), reason);
  const other = new AbortController();
  const wakeup = new Wakeup();
  const both = wakeup.wait(1_000, clock, other.signal);
  wakeup.ring();
  other.abort(reason);
  t.is(await t.throwsAsync(both), reason);
  t.is(clock.sleeping, 0);
});

test('what the clock itself throws comes through', async (t) => {
  const fault = new RangeError('broken clock');
  const clock = { now: () => 0, monotonic: () => 0, random: () => 0, sleep: () => Promise.reject(fault) };
  t.is(await t.throwsAsync(new Wakeup().wait(1, clock, never)), fault);
});
