import test from 'ava';
import { formatNumber, formatTable, toJson } from '../../bench/report.ts';
import type { Suite } from '../../bench/suite.ts';

const suite: Suite = { name: 'start', title: 'exec → subnet.env', run: async () => [] };
const figures = [
  {
    name: 'first start',
    unit: 'ms',
    series: [
      { who: 'tartan', samples: [300, 200, 250] },
      { who: 'flanneld', samples: [100, 100, 50.5] },
    ],
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
