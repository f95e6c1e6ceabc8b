import test from 'ava';
import fc from 'fast-check';
import { Notebook, quantile, summarize, summarizeFigure } from '../../bench/statistics.ts';

test('quantiles lie on samples or between two', (t) => {
  t.is(quantile([3, 1, 2], 0.5), 2);
  t.is(quantile([4, 1, 2, 3], 0.5), 2.5);
  t.is(quantile([7], 0.99), 7);
  t.true(Number.isNaN(quantile([], 0.5)));
});

test('a summary is in order and within the samples', (t) => {
  const samples = fc.array(fc.double({ min: 0, max: 1e6, noNaN: true }), { minLength: 1 });
  fc.assert(
    fc.property(samples, (values) => {
      const { min, median, max } = summarize(values);
      return min === Math.min(...values) && max === Math.max(...values) && min <= median && median <= max;
    }),
  );
  t.pass();
});

test('ratios are taken run by run: a slow spell of the machine does not show in them', (t) => {
  const notes = new Notebook();
  for (const slowness of [1, 1, 5, 1]) {
    notes.add('start', 'ms', 'ours', 200 * slowness);
    notes.add('start', 'ms', 'reference', 100 * slowness);
  }
  const [figure] = notes.figures;
  if (figure === undefined) return t.fail();
  const [ours, reference] = summarizeFigure(figure);
  t.is(ours?.ratio, undefined);
  t.is(ours?.max, 1000);
  t.deepEqual(reference?.ratio, { min: 2, median: 2, max: 2 });
});

test('figures keep the order in which they were first seen', (t) => {
  const notes = new Notebook();
  for (const name of ['b', 'a', 'b']) notes.add(name, 'MB', 'ours', 1);
  t.deepEqual(
    notes.figures.map(({ name, series }) => [name, series[0]?.samples.length]),
    [
      ['b', 2],
      ['a', 1],
    ],
  );
});
