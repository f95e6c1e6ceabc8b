import type { Figure, Goal, Series, Unit } from './suite.ts';

export interface Summary {
  readonly min: number;
  readonly median: number;
  readonly max: number;
}

export interface SeriesSummary extends Summary {
  readonly who: string;
  /** Ours ÷ this one, run by run; undefined on ours, and where nothing can be divided. */
  readonly ratio: Summary | undefined;
}

/** The value that `part` (0..1) of the samples do not exceed, between two samples where it falls there. NaN for none. */
export function quantile(samples: readonly number[], part: number): number {
  const sorted = [...samples].sort((a, b) => a - b);
  const place = part * (sorted.length - 1);
  const below = sorted[Math.floor(place)] ?? Number.NaN;
  const above = sorted[Math.ceil(place)] ?? below;
  return below + (above - below) * (place - Math.floor(place));
}

export function summarize(samples: readonly number[]): Summary {
  return { min: quantile(samples, 0), median: quantile(samples, 0.5), max: quantile(samples, 1) };
}

/**
 * Ratio by ratio: a machine that is busy for a while slows both of a pair, and the median of the ratios does not notice,
 * while the ratio of the medians does.
 */
export function ratios(ours: Series, reference: Series): readonly number[] {
  return ours.samples.flatMap((sample, run) => {
    const other = reference.samples[run];
    return other === undefined || other <= 0 || sample < 0 ? [] : [sample / other];
  });
}

export function summarizeFigure({ series }: Figure): readonly SeriesSummary[] {
  const [ours] = series;
  return series.map((one) => {
    const found = ours === undefined || one === ours ? [] : ratios(ours, one);
    return { who: one.who, ...summarize(one.samples), ratio: found.length === 0 ? undefined : summarize(found) };
  });
}

/** Samples as they come in, by figure and by whom. */
export class Notebook {
  readonly #figures = new Map<string, { unit: Unit; series: Map<string, number[]> }>();
  readonly #goals = new Map<string, Goal[]>();

  add(figure: string, unit: Unit, who: string, sample: number): void {
    const known = this.#figures.get(figure) ?? { unit, series: new Map<string, number[]>() };
    this.#figures.set(figure, known);
    known.series.set(who, [...(known.series.get(who) ?? []), sample]);
  }

  /** The figure is to be at most so much, in its unit; with `of`: so many times what that one's is. */
  aim(figure: string, atMost: number, of?: string): void {
    this.#aim(figure, of === undefined ? { atMost } : { atMost, of });
  }

  /** The same for what is to be much. */
  aimAtLeast(figure: string, atLeast: number, of?: string): void {
    this.#aim(figure, of === undefined ? { atLeast } : { atLeast, of });
  }

  /** Once, however often it is said. */
  #aim(figure: string, goal: Goal): void {
    const others = (this.#goals.get(figure) ?? []).filter(({ of }) => of !== goal.of);
    this.#goals.set(figure, [...others, goal]);
  }

  /** In the order in which they were first seen. */
  get figures(): readonly Figure[] {
    return [...this.#figures].map(([name, { unit, series }]) => {
      const all = [...series].map(([who, samples]) => ({ who, samples }));
      return { name, unit, series: all, goals: this.#goals.get(name) ?? [] };
    });
  }
}
