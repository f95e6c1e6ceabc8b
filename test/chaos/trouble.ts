/** Times in which something could not do its work: one may begin before the last has ended. */
export class Trouble {
  #open = 0;
  #ended = Number.NEGATIVE_INFINITY;

  begin(): void {
    this.#open++;
  }

  end(): void {
    this.#open--;
    this.#ended = Date.now();
  }

  /** Something that is over at once. */
  touch(): void {
    this.#ended = Date.now();
  }

  get isNow(): boolean {
    return this.#open > 0;
  }

  /** Wall clock, ms: since when there is none; Infinity while there is. */
  get calmSince(): number {
    return this.isNow ? Number.POSITIVE_INFINITY : this.#ended;
  }

  /** Whether there is any, or was within the last `ms`. */
  lately(ms: number): boolean {
    return this.isNow || Date.now() - this.#ended <= ms;
  }
}
