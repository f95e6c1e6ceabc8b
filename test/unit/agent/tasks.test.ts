import test from 'ava';
import { Tasks } from '../../../agent/tasks.ts';
import { settle, VirtualClock } from '../../fakes/clock.ts';

function forEver(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true }));
}

test('all end with the stop signal, and that is no failure', async (t) => {
  const stop = new AbortController();
  const tasks = new Tasks(stop.signal, new VirtualClock());
  tasks.start(forEver);
  tasks.start(forEver);
  const ended = tasks.ended();
  stop.abort('SIGTERM');
  await t.notThrowsAsync(ended);
});

test('a task that is done ends nobody', async (t) => {
  const stop = new AbortController();
  const tasks = new Tasks(stop.signal, new VirtualClock());
  tasks.start(() => Promise.resolve());
  await settle();
  t.false(tasks.signal.aborted);
});

test('the first failure ends the others and is what is told', async (t) => {
  const tasks = new Tasks(new AbortController().signal, new VirtualClock());
  const first = new Error('first');
  tasks.start(async (signal) => {
    await forEver(signal).catch(() => undefined);
    throw new Error('second');
  });
  tasks.start(() => Promise.reject(first));
  t.is(await t.throwsAsync(tasks.ended()), first);
});

test('stopped before it began', async (t) => {
  const tasks = new Tasks(AbortSignal.abort('SIGINT'), new VirtualClock());
  t.true(tasks.signal.aborted);
  await t.notThrowsAsync(tasks.ended());
});

test('who still waits for an answer is left behind, each in its time', async (t) => {
  const clock = new VirtualClock();
  const stop = new AbortController();
  const tasks = new Tasks(stop.signal, clock);
  tasks.start(() => new Promise(() => undefined));
  tasks.start(() => new Promise(() => undefined), 3_000);
  let isOver = false;
  const ended = tasks.ended().then(() => {
    isOver = true;
  });
  stop.abort('SIGTERM');
  await clock.advance(2_999);
  t.false(isOver);
  await clock.advance(1);
  await ended;
  t.true(isOver);
});
