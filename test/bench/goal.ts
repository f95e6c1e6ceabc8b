/** Whether a figure is what it is to be. */
import { formatNumber } from './number.ts';
import { summarizeFigure } from './statistics.ts';
import type { Figure, Goal } from './suite.ts';

export interface Verdict {
  readonly goal: Goal;
  /** What is held against it: our median, or the median of the ratios. */
  readonly value: number;
  readonly isMet: boolean;
}

/** undefined: there is no goal, or nothing was measured that it could be held against. */
export function judge(figure: Figure): Verdict | undefined {
  const { goal } = figure;
  if (goal === undefined) return undefined;
  const all = summarizeFigure(figure);
  const value = goal.of === undefined ? all[0]?.median : all.find(({ who }) => who === goal.of)?.ratio?.median;
  if (value === undefined || Number.isNaN(value)) return undefined;
  return { goal, value, isMet: value <= goal.atMost };
}

/** `≤ 0.40 ×`, `≤ 2 ms`, `none` */
export function formatGoal({ atMost, of }: Goal, unit: string): string {
  if (of !== undefined) return `≤ ${formatNumber(atMost)} ×`;
  return atMost === 0 ? 'none' : `≤ ${[atMost, unit].join(' ').trim()}`;
}

/** `goal ≤ 0.50 × met`; "" where there is none. */
export function formatVerdict(figure: Figure): string {
  const verdict = judge(figure);
  return verdict ? `goal ${formatGoal(verdict.goal, figure.unit)} ${verdict.isMet ? 'met' : 'not met'}` : '';
}
