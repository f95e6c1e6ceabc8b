import test from 'ava';
import { formatVerdicts, judge } from '../../bench/goal.ts';
import { formatMarkdown } from '../../bench/markdown.ts';
import { formatNumber } from '../../bench/number.ts';
import { formatTable, toJson } from '../../bench/report.ts';
import type { Goal, Suite } from '../../bench/suite.ts';

const suite: Suite = { name: 'start', title: 'exec → subnet.env', run: async () => [] };
const figures = [
  {
    name: 'first start',
    unit: 'ms',
    series: [
      { who: 'tartan', samples: [300, 200, 250] },
      { who: 'flanneld', samples: [100, 100, 50.5] },
    ],
    goals: [],
  },
] as const;

test('the table: a row for each of the figure, the ratio beside the reference', (t) => {
  t.deepEqual(formatTable({ suite, runs: 3, figures }).split('\n'), [
    'start: exec → subnet.env (3 runs)',
    '                             min   median      max      tartan ÷ it (min … max)',
    '  first start  tartan      200.0    250.0    300.0 ms',
    '               flanneld    50.50    100.0    100.0 ms   3.00 × (2.00 … 4.95)',
    '',
  ]);
});

test('the goal stands in the row of whom ours is held against, or in ours', (t) => {
  const [figure] = figures;
  const table = (goal: Goal) => formatTable({ suite, runs: 3, figures: [{ ...figure, goals: [goal] }] }).split('\n');
  t.true(table({ atMost: 3, of: 'flanneld' })[3]?.endsWith('3.00 × (2.00 … 4.95)   goal ≤ 3.00 × met'));
  t.true(table({ atMost: 1.75, of: 'flanneld' })[3]?.endsWith('goal ≤ 1.75 × not met'));
  t.true(table({ atMost: 250 })[2]?.endsWith('300.0 ms   goal ≤ 250 ms met'));
  t.true(table({ atMost: 0 })[2]?.endsWith('goal none not met'));
});

test('what is to be much has a goal from below, and one figure may have several', (t) => {
  const goals: Goal[] = [{ atLeast: 2, of: 'flanneld' }, { atLeast: 300 }, { atMost: 2, of: 'flanneld' }];
  const lines = formatTable({ suite, runs: 3, figures: [{ ...figures[0], goals }] }).split('\n');
  t.true(lines[2]?.endsWith('goal ≥ 300 ms not met'));
  t.true(lines[3]?.endsWith('goal ≥ 2.00 × met, goal ≤ 2.00 × not met'));
});

test('what was not measured beside its reference is not judged', (t) => {
  const goal = { atMost: 1.2, of: 'etcd alone' };
  t.is(judge(figures[0], goal), undefined);
  t.is(formatVerdicts({ ...figures[0], goals: [goal] }, goal.of), '');
});

test('Markdown: a row for each figure that has a goal', (t) => {
  const [figure] = figures;
  const goals: Goal[] = [{ atMost: 1.75, of: 'flanneld' }, { atMost: 250 }, { atMost: 2, of: 'C sender' }];
  const result = { suite, runs: 3, figures: [figure, { ...figure, goals }] };
  t.deepEqual(formatMarkdown([result]).split('\n').slice(2), [
    '| start: first start | ≤ 1.75 × flanneld | 250.0 ms | 100.0 ms (flanneld) | 3.00 | **no** |',
    '| start: first start | ≤ 250 ms | 250.0 ms | 100.0 ms (flanneld) | 3.00 | yes |',
    '| start: first start | ≤ 2.00 × C sender | 250.0 ms | 100.0 ms (flanneld) | 3.00 | not measured |',
  ]);
});

test('the table without a reference has no ratios', (t) => {
  const alone = figures.map((figure) => ({ ...figure, series: figure.series.slice(0, 1) }));
  t.false(formatTable({ suite, runs: 3, figures: alone }).includes('÷'));
});

test('the table of a suite without figures', (t) => {
  t.true(formatTable({ suite, runs: 1, figures: [] }).startsWith('start: '));
});

test('a figure that could not be had is a dash', (t) => {
  t.is(formatNumber(Number.NaN), '-');
});

test('JSON holds every sample', (t) => {
  const value: { readonly figures?: readonly { readonly series?: unknown }[] } = JSON.parse(
    JSON.stringify(toJson({ suite, runs: 3, figures })),
  );
  t.deepEqual(value.figures?.[0]?.series, figures[0].series);
});
