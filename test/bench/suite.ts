/**
 * What a suite is and what it hands over:
 *
 *   suite  start
 *     figure  first start, ms, goals: at most 1.75 × flanneld's
 *       series  tartan    201.2  199.8  …     one sample a run, in the order of the runs
 *       series  flanneld   99.1  101.0  …     a reference: measured in the same runs, right beside
 */
import type { Contestant } from './contestant.ts';

export interface Series {
  readonly who: string;
  readonly samples: readonly number[];
}

/** What is counted has no unit: kernel writes, transactions. */
export type Unit = 'ms' | 's' | 's/GB' | 'MB' | 'KB/s' | 'Gb/s' | 'k/s' | '%' | '';

/** Whether the figures of that unit are the better the greater they are. */
export function isYield(unit: Unit): boolean {
  return unit === 'Gb/s' || unit === 'k/s';
}

/** The median is held against it. */
export type Goal = ({ readonly atMost: number } | { readonly atLeast: number }) & {
  /** Whose samples ours are divided by; left out: it is about our own figure. */
  readonly of?: string;
};

/** Something measured: ours first, then what it is compared with. Sample i of every series belongs to run i. */
export interface Figure {
  readonly name: string;
  readonly unit: Unit;
  readonly series: readonly Series[];
  readonly goals: readonly Goal[];
}

/** `reduced`: done in a minute, on any machine; `full`: up to 10,000 peers. */
export type Size = 'reduced' | 'usual' | 'full';

export interface Plan {
  /** How often everything is measured. */
  readonly runs: number;
  readonly size: Size;
  /** Ours first. */
  readonly contestants: readonly Contestant[];
  /** Says what is being done, for whoever waits. */
  say(text: string): void;
}

export interface Suite {
  readonly name: string;
  readonly title: string;
  /** Takes long, or is of interest to few: measured only where it is asked for by name. */
  readonly onlyByName?: boolean;
  run(plan: Plan): Promise<readonly Figure[]>;
}
