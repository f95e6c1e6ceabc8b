import test from 'ava';
import { COUNTERS } from '../../../../backends/data-path/counters.ts';
import { LoopCounts, PATH_COUNTERS } from '../../../../backends/data-path/loop-counts.ts';
import { PathTotals } from '../../../../backends/data-path/path-totals.ts';

test('refusals are counted, and told by call and error', (t) => {
  const counts = new LoopCounts();
  counts.refusal('send', 101);
  counts.refusal('send', 101);
  counts.refusal('write', 5);
  t.deepEqual(counts.refusals(), { 'send ENETUNREACH': 2, 'write EIO': 1 });
  t.is(counts.refused, 3);
});

test('what a worker counted is not lost with it', (t) => {
  const totals = new PathTotals();
  const counts = new LoopCounts();
  counts.refusal('send', 1);
  counts.splitUp(40);
  counts.waited('write');
  const ofWorker = new Float64Array(PATH_COUNTERS.length);
  ofWorker.fill(5, 0, COUNTERS.length);
  ofWorker.set(counts.values, COUNTERS.length);
  t.like(totals.with(ofWorker), { 'tx-packets': 5, 'tx-refused': 1, 'tx-split': 40, 'rx-waits': 1, 'rx-refused': 0 });
  totals.add(ofWorker);
  t.like(totals.with(undefined), { 'tx-packets': 5, 'tx-split': 40 });
  t.like(totals.with(ofWorker), { 'tx-packets': 10, 'tx-split': 80 });
});

test('no two counters share a name', (t) => {
  t.is(new Set(PATH_COUNTERS.map(({ name }) => name)).size, PATH_COUNTERS.length);
});
