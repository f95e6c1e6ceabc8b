/** What was done and seen, with times since the start; told while it happens. */
export class Journal {
  readonly #say: (line: string) => void;
  readonly #startedAt = Date.now();
  readonly lines: string[] = [];
  readonly violations: string[] = [];
  readonly counts = new Map<string, number>();

  constructor(say: (line: string) => void) {
    this.#say = say;
  }

  note(text: string, at = Date.now()): void {
    const line = `${((at - this.#startedAt) / 1000).toFixed(1).padStart(7)} s  ${text}`;
    this.lines.push(line);
    this.#say(line);
  }

  count(what: string, by = 1): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + by);
  }

  /** An invariant does not hold. */
  violate(text: string, at = Date.now()): void {
    this.violations.push(text);
    this.note(`VIOLATED: ${text}`, at);
  }

  /** A wall clock's time as the history has it. */
  time(at: number): string {
    return `${((at - this.#startedAt) / 1000).toFixed(3)} s`;
  }
}
