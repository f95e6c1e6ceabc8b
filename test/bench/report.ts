/**
 * The figures for a reader:
 *
 *     start: exec → subnet.env, etcd at hand, no peers
 *                               min   median      max   tartan ÷ it (min … max)
 *       first start    tartan   199.8    201.2    210.0 ms
 *                      flanneld  98.9     99.1    104.3 ms   2.03 × (1.98 … 2.11)   goal ≤ 1.75 × not met
 */
import { formatVerdicts, judge } from './goal.ts';
import { formatNumber } from './number.ts';
import { type SeriesSummary, type Summary, summarizeFigure } from './statistics.ts';
import type { Figure, Suite } from './suite.ts';

export interface SuiteResult {
  readonly suite: Suite;
  readonly runs: number;
  readonly figures: readonly Figure[];
}

const NUMBER_WIDTH = 9;

function formatRatio(ratio: Summary | undefined): string {
  if (ratio === undefined) return '';
  const [median, min, max] = [ratio.median, ratio.min, ratio.max].map((value) => value.toFixed(2));
  return `   ${median} × (${min} … ${max})`;
}

function cells({ min, median, max }: Summary): string {
  return [min, median, max].map((value) => formatNumber(value).padStart(NUMBER_WIDTH)).join('');
}

interface Row {
  readonly figure: string;
  readonly unit: string;
  readonly summary: SeriesSummary;
  readonly verdict: string;
}

/** The verdict stands in the row of whom it is about. */
function rowsOf(figure: Figure): readonly Row[] {
  return summarizeFigure(figure).map((summary, i) => ({
    ...{ figure: i === 0 ? figure.name : '', unit: figure.unit, summary },
    verdict: formatVerdicts(figure, i === 0 ? undefined : summary.who),
  }));
}

function widest(texts: readonly string[]): number {
  return Math.max(0, ...texts.map((text) => text.length));
}

export function formatTable({ suite, runs, figures }: SuiteResult): string {
  const rows = figures.flatMap(rowsOf);
  const nameWidth = widest(rows.map((row) => row.figure));
  const whoWidth = widest(rows.map((row) => row.summary.who));
  const ours = rows[0]?.summary.who ?? '';
  const compared = rows.some((row) => row.summary.ratio !== undefined) ? `      ${ours} ÷ it (min … max)` : '';
  const titles = ['min', 'median', 'max'].map((title) => title.padStart(NUMBER_WIDTH)).join('');
  const head = `  ${' '.repeat(nameWidth)}  ${' '.repeat(whoWidth)}${titles}${compared}`;
  const lines = rows.map(({ figure, unit, summary, verdict }) => {
    const names = `  ${figure.padEnd(nameWidth)}  ${summary.who.padEnd(whoWidth)}`;
    const told = verdict === '' ? '' : `   ${verdict}`;
    return `${names}${cells(summary)} ${unit}${formatRatio(summary.ratio)}${told}`;
  });
  return [`${suite.name}: ${suite.title} (${runs} runs)`, head, ...lines, ''].join('\n');
}

/** One suite as a value for `--json`: every sample, and what was made of them. */
export function toJson({ suite, runs, figures }: SuiteResult): object {
  return {
    ...{ name: suite.name, title: suite.title, runs },
    figures: figures.map((figure) => ({
      ...{ ...figure, summary: summarizeFigure(figure) },
      goals: figure.goals.map((goal) => ({ ...goal, isMet: judge(figure, goal)?.isMet })),
    })),
  };
}
