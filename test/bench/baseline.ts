/**
 * What the ratios were, by `SUITE: FIGURE ÷ REFERENCE`, and whether those of now are worse by more than noise. Only
 * ratios: figures belong to a machine. More is worse in all of them: where a figure is to be great, the reference is
 * divided by it, `SUITE: REFERENCE ÷ FIGURE`.
 */
import type { SuiteResult } from './report.ts';
import { quantile, ratios } from './statistics.ts';
import { isYield, type Series, type Unit } from './suite.ts';

/** Half of the runs lay between `low` and `high`. */
export interface Spread {
  readonly low: number;
  readonly median: number;
  readonly high: number;
}

export type Baseline = Readonly<Record<string, Spread>>;

export interface Regression {
  readonly what: string;
  readonly before: Spread;
  readonly now: Spread;
}

/** Less than so much is no regression, however little the runs differ. */
const WORTH_A_WORD = 1.1;

function spreadOf(samples: readonly number[]): Spread {
  const [low = Number.NaN, median = Number.NaN, high = Number.NaN] = [0.25, 0.5, 0.75].map(
    (part) => Math.round(quantile(samples, part) * 1000) / 1000,
  );
  return { low, median, high };
}

/** What the baseline calls the ratio of a figure to its reference. */
export function ratioName(suite: string, figure: { readonly name: string; readonly unit: Unit }, of: string): string {
  return isYield(figure.unit) ? `${suite}: ${of} ÷ ${figure.name}` : `${suite}: ${figure.name} ÷ ${of}`;
}

export function toBaseline(results: readonly SuiteResult[]): Baseline {
  const all = results.flatMap(({ suite, figures }) =>
    figures.flatMap((figure) => {
      const [ours, ...others] = figure.series;
      return others.flatMap((other): [string, Spread][] => {
        const found = ours === undefined ? [] : costRatios(figure.unit, ours, other);
        return found.length === 0 ? [] : [[ratioName(suite.name, figure, other.who), spreadOf(found)]];
      });
    }),
  );
  return Object.fromEntries(all);
}

function costRatios(unit: Unit, ours: Series, other: Series): readonly number[] {
  return isYield(unit) ? ratios(other, ours) : ratios(ours, other);
}

/** What of now is worse: the better half of its runs lies above the better half of those before, and by a tenth. */
export function regressions(before: Baseline, now: Baseline): readonly Regression[] {
  return Object.entries(now).flatMap(([what, spread]) => {
    const old = before[what];
    if (old === undefined) return [];
    const isBeyondNoise = spread.low > old.high && spread.median > WORTH_A_WORD * old.median;
    return isBeyondNoise ? [{ what, before: old, now: spread }] : [];
  });
}

export function formatRegression({ what, before, now }: Regression): string {
  const range = ({ low, median, high }: Spread) =>
    `${median.toFixed(2)} × (half of the runs ${low.toFixed(2)} … ${high.toFixed(2)})`;
  return `worse: ${what} is ${range(now)}, was ${range(before)}`;
}
