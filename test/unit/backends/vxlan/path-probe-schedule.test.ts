import test from 'ava';
import fc from 'fast-check';
import { ProbeSchedule } from '../../../../backends/vxlan/path-probe-schedule.ts';

function takeAll(schedule: ProbeSchedule, now: number): (string | undefined)[] {
  const taken: (string | undefined)[] = [];
  while (schedule.peek(now) !== undefined) taken.push(schedule.take(now));
  return taken;
}

test('who is due comes by the time that it is due, and nobody before', (t) => {
  const schedule = new ProbeSchedule();
  t.is(schedule.next, undefined);
  for (const [key, at] of [
    ['c', 30],
    ['a', 10],
    ['b', 20],
  ] as const)
    schedule.set(key, at, false);
  t.is(schedule.next, 10);
  t.is(schedule.peek(9), undefined);
  t.is(schedule.take(9), undefined);
  t.deepEqual(takeAll(schedule, 20), ['a', 'b']);
  t.is(schedule.next, 30);
});

test('what is said anew counts, and who leaves is not asked', (t) => {
  const schedule = new ProbeSchedule();
  schedule.set('a', 10, true);
  schedule.set('b', 20, true);
  schedule.set('a', 30, false);
  schedule.set('b', 5, true);
  schedule.set('c', 1, false);
  schedule.delete('c');
  t.is(schedule.next, 5);
  t.deepEqual(takeAll(schedule, 100), ['b', 'a']);
  t.is(schedule.next, undefined);
});

test('the two lines take turns', (t) => {
  const schedule = new ProbeSchedule();
  for (let i = 0; i < 3; i += 1) schedule.set(`hasty${i}`, i, true);
  for (let i = 0; i < 5; i += 1) schedule.set(`calm${i}`, i, false);
  t.deepEqual(takeAll(schedule, 9), ['hasty0', 'calm0', 'hasty1', 'calm1', 'hasty2', 'calm2', 'calm3', 'calm4']);
});

test('property: as a sorted list does it', (t) => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant('set'), key: fc.nat(20), at: fc.nat(100) }),
    fc.record({ kind: fc.constant('delete'), key: fc.nat(20), at: fc.constant(0) }),
    fc.record({ kind: fc.constant('take'), key: fc.constant(0), at: fc.nat(100) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
      const schedule = new ProbeSchedule();
      const list = new Map<string, number>();
      for (const { kind, key, at } of steps) {
        if (kind === 'set') {
          schedule.set(String(key), at, false);
          list.set(String(key), at);
        } else if (kind === 'delete') {
          schedule.delete(String(key));
          list.delete(String(key));
        } else {
          const taken = schedule.take(at);
          const first = Math.min(...list.values());
          t.is(taken === undefined, list.size === 0 || first > at);
          if (taken !== undefined) t.is(list.get(taken), first);
          list.delete(taken ?? '');
        }
        t.is(schedule.next, list.size === 0 ? undefined : Math.min(...list.values()));
      }
    }),
  );
});
