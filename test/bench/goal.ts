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

/** undefined: nothing was measured that the goal could be held against. */
export function judge(figure: Figure, goal: Goal): Verdict | undefined {
  const all = summarizeFigure(figure);
  const value = goal.of === undefined ? all[0]?.median : all.find(({ who }) => who === goal.of)?.ratio?.median;
  if (value === undefined || Number.isNaN(value)) return undefined;
  return { goal, value, isMet: 'atMost' in goal ? value <= goal.atMost : value >= goal.atLeast };
}

/** `≤ 0.40 ×`, `≥ 2 Gb/s`, `none` */
export function formatGoal(goal: Goal, unit: string): string {
  const [sign, bound] = 'atMost' in goal ? ['≤', goal.atMost] : ['≥', goal.atLeast];
  if (goal.of !== undefined) return `${sign} ${formatNumber(bound)} ×`;
  return sign === '≤' && bound === 0 ? 'none' : `${sign} ${[bound, unit].join(' ').trim()}`;
}

/** `goal ≤ 0.50 × met`, of the goals against that one, or of those about our own figure; "" where there is none. */
export function formatVerdicts(figure: Figure, of: string | undefined): string {
  const verdicts = figure.goals.filter((goal) => goal.of === of).map((goal) => judge(figure, goal));
  return verdicts
    .flatMap((one) => (one ? [`goal ${formatGoal(one.goal, figure.unit)} ${one.isMet ? 'met' : 'not met'}`] : []))
    .join(', ');
}
