/**
 * The figures that have a goal, as one table for the README:
 *
 *     | what | goal | tartan | flanneld | ratio | met |
 */
import { formatGoal, judge } from './goal.ts';
import { formatNumber } from './number.ts';
import type { SuiteResult } from './report.ts';
import { summarizeFigure } from './statistics.ts';
import type { Figure, Goal } from './suite.ts';

const HEAD = ['| what | goal | tartan | reference | ratio | met |', '|---|---|---:|---:|---:|---|'];

function withUnit(value: number, unit: string): string {
  return [formatNumber(value), unit].join(' ').trim();
}

function row(suite: string, figure: Figure, goal: Goal): string {
  const { name, unit } = figure;
  const [ours, ...others] = summarizeFigure(figure);
  const reference = others.find(({ who }) => who === goal.of) ?? others[0];
  const verdict = judge(figure, goal);
  const cells = [
    `${suite}: ${name}`,
    goal.of === undefined ? formatGoal(goal, unit) : `${formatGoal(goal, unit)} ${goal.of}`,
    ours === undefined ? '-' : withUnit(ours.median, unit),
    reference === undefined ? '-' : `${withUnit(reference.median, unit)} (${reference.who})`,
    reference?.ratio === undefined ? '-' : formatNumber(reference.ratio.median),
    verdict === undefined ? 'not measured' : verdict.isMet ? 'yes' : '**no**',
  ];
  return `| ${cells.join(' | ')} |`;
}

export function formatMarkdown(results: readonly SuiteResult[]): string {
  const rows = results.flatMap(({ suite, figures }) =>
    figures.flatMap((figure) => figure.goals.map((goal) => row(suite.name, figure, goal))),
  );
  return [...HEAD, ...rows].join('\n');
}
