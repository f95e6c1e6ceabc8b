/** `npm run bench` in small: that it measures at all, and that no ratio is broken. What is a little slower is no failure. */
import test from 'ava';
import { type Baseline, ratioName } from '../bench/baseline.ts';
import type { Goal, Unit } from '../bench/suite.ts';
import { execute } from '../support/process.ts';
import { inRepository, readRepository } from '../support/repository.ts';
import { missing, needs } from '../support/require.ts';

const SUITES = ['start', 'program', 'burst', 'resync', 'claims'];
/** Of what it is to be or was when the baseline was saved, whichever is more: another machine, and a busy one. */
const MARGIN = 3;
/** Half a minute on a machine that does nothing else. */
const LIMIT_MS = 240_000;

/** A few milliseconds of a C program: whether the machine was busy just then says more than we do. Its processor time holds. */
function isFickle(suite: string, figure: string): boolean {
  return suite === 'program' && !figure.startsWith('on a processor');
}

interface Report {
  readonly suites: readonly {
    readonly name: string;
    readonly figures: readonly {
      readonly name: string;
      readonly unit: Unit;
      readonly goals: readonly Goal[];
      readonly summary: readonly {
        readonly who: string;
        readonly median: number;
        readonly ratio?: { readonly median: number };
      }[];
    }[];
  }[];
}

test('the reduced benchmark runs, and no ratio is beyond three times what it is to be', async (t) => {
  if (!needs(t, 'lab', 'cc')) return;
  t.timeout(LIMIT_MS);
  const argv = [
    process.execPath,
    inRepository('dist/test/bench/bench.js'),
    '--reduced',
    '--json',
    '--runs',
    '2',
  ] as const;
  const env = process.env['FLANNELD'] === undefined ? {} : { FLANNELD: process.env['FLANNELD'] };
  const { status, stdout, stderr } = await execute([...argv, ...SUITES], { env, timeoutMs: LIMIT_MS });
  t.is(status, 0, stderr);
  const report: Report = JSON.parse(stdout);
  const baseline: Baseline = JSON.parse(readRepository('test/bench/baseline.json'));
  t.deepEqual(
    report.suites.map(({ name }) => name),
    SUITES,
  );
  for (const { name: suite, figures } of report.suites) {
    for (const { name, unit, goals, summary } of figures) {
      for (const goal of goals) {
        const reference = summary.find(({ who }) => who === goal.of);
        const ratio = reference?.ratio?.median;
        if (goal.of === undefined || ratio === undefined || isFickle(suite, name)) continue;
        const what = ratioName(suite, { name, unit }, goal.of);
        // More is worse, as in the baseline.
        const [cost, bound] = 'atMost' in goal ? [ratio, goal.atMost] : [1 / ratio, 1 / goal.atLeast];
        const limit = MARGIN * Math.max(bound, baseline[what]?.high ?? 0);
        const medians = [summary[0]?.median, reference?.median].map((median) => median?.toFixed(1)).join(', ');
        t.log(`${what}: ${medians}, ${cost.toFixed(2)} ×, at most ${limit.toFixed(2)} ×`);
        t.true(cost <= limit, what);
      }
    }
  }
  if (missing('flanneld').length > 0) t.log('without flanneld: nothing is compared with it');
});
