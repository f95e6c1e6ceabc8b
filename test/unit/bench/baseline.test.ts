import test from 'ava';
import { type Baseline, formatRegression, regressions, toBaseline } from '../../bench/baseline.ts';
import type { Suite } from '../../bench/suite.ts';
import { readRepository } from '../../support/repository.ts';

const suite: Suite = { name: 'start', title: '', run: async () => [] };

function baseline(...ours: readonly number[]): Baseline {
  const series = [
    { who: 'tartan', samples: ours },
    { who: 'flanneld', samples: ours.map(() => 100) },
  ];
  return toBaseline([{ suite, runs: ours.length, figures: [{ name: 'restart', unit: 'ms', series, goals: [] }] }]);
}

test('a baseline has the ratios: their median, and between what half of them lie', (t) => {
  t.deepEqual(baseline(100, 200, 300, 400, 500), {
    'start: restart ÷ flanneld': { low: 2, median: 3, high: 4 },
  });
});

test('worse is what lies beyond the spread of both, and by a tenth at least', (t) => {
  const before = baseline(100, 110, 120, 130, 140);
  t.deepEqual(regressions(before, baseline(100, 110, 120, 130, 140)), []);
  t.deepEqual(regressions(before, baseline(60, 70, 80, 90, 100)), []);
  t.deepEqual(regressions(before, baseline(100, 120, 150, 200, 300)), [], 'the spreads overlap');
  const steady = baseline(100, 100, 100, 100, 100);
  t.deepEqual(regressions(steady, baseline(105, 105, 105, 105, 105)), [], 'too little to speak of');
  const [worse] = regressions(before, baseline(150, 150, 160, 170, 180));
  t.is(
    worse && formatRegression(worse),
    'worse: start: restart ÷ flanneld is 1.60 × (half of the runs 1.50 … 1.70), was 1.20 × (half of the runs 1.10 … 1.30)',
  );
});

test('of what is to be much the reference is divided by ours: more is worse in every ratio', (t) => {
  const series = [
    { who: 'tartan', samples: [5, 10] },
    { who: 'kernel', samples: [10, 10] },
  ];
  const figures = [{ name: 'stream', unit: 'Gb/s', series, goals: [] }] as const;
  t.deepEqual(toBaseline([{ suite, runs: 2, figures }]), {
    'start: kernel ÷ stream': { low: 1.25, median: 1.5, high: 1.75 },
  });
});

test('what the baseline does not have can not be worse', (t) => {
  t.deepEqual(regressions({}, baseline(1, 2, 3)), []);
});

test('the committed baseline is sorted, and each entry is in order', (t) => {
  const committed: Baseline = JSON.parse(readRepository('test/bench/baseline.json'));
  t.deepEqual(Object.keys(committed), [...Object.keys(committed)].sort());
  for (const [what, { low, median, high }] of Object.entries(committed)) t.true(low <= median && median <= high, what);
});
