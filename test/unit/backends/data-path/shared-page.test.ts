import test from 'ava';
import { SharedPage } from '../../../../backends/data-path/shared-page.ts';

test('either side sees what the other one writes', (t) => {
  const here = new SharedPage(3);
  const there = new SharedPage(3, here.buffer);
  there.publish(Float64Array.of(1, 2 ** 53, 3));
  t.deepEqual([...here.counters()], [1, 2 ** 53, 3]);
  there.beat();
  there.beat();
  t.is(here.beats(), 2);
});

test('mail is announced until it is taken, once', (t) => {
  const here = new SharedPage(0);
  const there = new SharedPage(0, here.buffer);
  t.false(there.takeMail());
  here.announceMail();
  here.announceMail();
  t.true(there.takeMail());
  t.false(there.takeMail());
});

test('counters that were read do not change any more', (t) => {
  const page = new SharedPage(1);
  const before = page.counters();
  page.publish(Float64Array.of(7));
  t.is(before[0], 0);
});
