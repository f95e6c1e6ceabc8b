/** Upper bounds of the buckets, seconds: from one change of one peer to a list of ten thousand. */
export const DURATION_BOUNDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5] as const;

/** How long something took, counted as Prometheus' histograms count; whoever shows it need not be there yet. */
export class Durations {
  readonly #within: number[] = DURATION_BOUNDS.map(() => 0);
  #count = 0;
  #sumSeconds = 0;

  /** Several as one. */
  static sum(parts: readonly Durations[]): Durations {
    const all = new Durations();
    for (const part of parts) {
      all.#count += part.#count;
      all.#sumSeconds += part.#sumSeconds;
      for (const [bucket, count] of part.#within.entries()) all.#within[bucket] = (all.#within[bucket] ?? 0) + count;
    }
    return all;
  }

  /** @param ms what it took this time */
  add(ms: number): void {
    const seconds = ms / 1000;
    this.#count += 1;
    this.#sumSeconds += seconds;
    const bucket = DURATION_BOUNDS.findIndex((bound) => seconds <= bound);
    if (bucket >= 0) this.#within[bucket] = (this.#within[bucket] ?? 0) + 1;
  }

  get count(): number {
    return this.#count;
  }

  get sumSeconds(): number {
    return this.#sumSeconds;
  }

  /** How many took up to each of the bounds. */
  get cumulated(): readonly number[] {
    let sum = 0;
    return this.#within.map((count) => {
      sum += count;
      return sum;
    });
  }
}
