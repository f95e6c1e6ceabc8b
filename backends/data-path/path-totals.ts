import { PATH_COUNTERS } from './loop-counts.ts';

/** Counters over all workers that there have been: each begins at zero. */
export class PathTotals {
  readonly #before = new Float64Array(PATH_COUNTERS.length);

  /** Of a worker that has ended. */
  add(counters: Float64Array): void {
    for (const [i, value] of counters.entries()) this.#before[i] = (this.#before[i] ?? 0) + value;
  }

  /** With those of the one that works now, by name. */
  with(current: Float64Array | undefined): Readonly<Record<string, number>> {
    return Object.fromEntries(
      PATH_COUNTERS.map(({ name }, i) => [name, (this.#before[i] ?? 0) + (current?.[i] ?? 0)] as const),
    );
  }
}
