/**
 * AVA's TAP output, line by line:
 *
 *     ok 3 - integration › lab › title          not ok 4 - title
 *     #   what t.log said                         ---
 *     ok 5 - title # SKIP                         (diagnostics in YAML)
 *                                                 ...
 */
import { SKIP_MARK } from './require.ts';

export interface TapResult {
  readonly title: string;
  readonly verdict: 'passed' | 'failed' | 'skipped' | 'todo';
  /** What a skipped test needs; "" where it does not say. */
  readonly needs: string;
  /** Diagnostics of a failure and the test's own log. */
  readonly details: readonly string[];
}

const RESULT = /^(not )?ok \d+ - (.*?)(?: # (SKIP|TODO).*)?$/;

interface Draft {
  readonly title: string;
  readonly ok: boolean;
  readonly directive: string | undefined;
  readonly details: string[];
}

function finished(draft: Draft): TapResult {
  const mark = draft.details.find((line) => line.includes(SKIP_MARK));
  const needs = mark === undefined ? '' : mark.slice(mark.indexOf(SKIP_MARK) + SKIP_MARK.length).trim();
  const { title, details } = draft;
  if (draft.directive === 'SKIP') return { title, verdict: 'skipped', needs: 'somebody to enable it', details };
  if (draft.directive === 'TODO') return { title, verdict: 'todo', needs, details };
  if (!draft.ok) return { title, verdict: 'failed', needs, details };
  return { title, verdict: mark === undefined ? 'passed' : 'skipped', needs, details };
}

/** Feed it lines; a result is complete, and handed over, when the next one begins or at `end`. */
export class TapReader {
  readonly #onResult: (result: TapResult) => void;
  #draft: Draft | undefined;

  constructor(onResult: (result: TapResult) => void) {
    this.#onResult = onResult;
  }

  line(text: string): void {
    const match = RESULT.exec(text);
    if (match !== null) {
      this.end();
      this.#draft = { title: match[2] ?? '', ok: match[1] === undefined, directive: match[3], details: [] };
    } else if (/^(1\.\.\d+|# (tests|pass|fail|skip|todo) \d+|TAP version \d+)$/.test(text)) {
      this.end();
    } else this.#draft?.details.push(text);
  }

  end(): void {
    if (this.#draft === undefined) return;
    const draft = this.#draft;
    this.#draft = undefined;
    this.#onResult(finished(draft));
  }
}
