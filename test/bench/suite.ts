/**
 * What a suite is and what it hands over:
 *
 *   suite  start
 *     figure  first start, ms
 *       series  tartan    201.2  199.8  …     one sample a run, in the order of the runs
 *       series  flanneld   99.1  101.0  …     a reference: measured in the same runs, right beside
 */
import type { Contestant } from './contestant.ts';

export interface Series {
  readonly who: string;
  readonly samples: readonly number[];
}

/** Something measured: ours first, then what it is compared with. Sample i of every series belongs to run i. */
export interface Figure {
  readonly name: string;
  readonly unit: 'ms' | 'MB' | '%';
  readonly series: readonly Series[];
}

export interface Plan {
  /** How often everything is measured. */
  readonly runs: number;
  /** The largest sizes too. */
  readonly full: boolean;
  /** Ours first. */
  readonly contestants: readonly Contestant[];
  /** Says what is being done, for whoever waits. */
  say(text: string): void;
}

export interface Suite {
  readonly name: string;
  readonly title: string;
  run(plan: Plan): Promise<readonly Figure[]>;
}
