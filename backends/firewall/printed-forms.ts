/**
 * How this host's program prints what we wrote. Versions differ (a mark with or without its mask, a priority by name or
 * by number); a rule that is printed otherwise than it was written must not look like somebody's change for ever.
 */
export class PrintedForms {
  readonly #forms = new Map<string, string>();

  isSame(wanted: string, printed: string | undefined): boolean {
    return printed === wanted || (printed !== undefined && this.#forms.get(wanted) === printed);
  }

  areSame(wanted: readonly string[], printed: readonly string[]): boolean {
    return wanted.length === printed.length && wanted.every((rule, at) => this.isSame(rule, printed[at]));
  }

  /** What was read right after it was written. Believed where nothing is missing and nothing is left over. */
  learn(wanted: readonly string[], printed: readonly string[]): void {
    if (wanted.length !== printed.length) return;
    for (const [at, rule] of wanted.entries()) {
      const form = printed[at];
      if (form !== undefined && form !== rule) this.#forms.set(rule, form);
    }
  }
}
