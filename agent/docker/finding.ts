/** What `tartan docker check` has to say. */

/** `stops`: packets do not arrive now. `restart`: after the next start of Docker, or of the host. `note`: good to know. */
export type Severity = 'stops' | 'restart' | 'note';

export interface Finding {
  /** Stays the same over versions, for scripts. */
  readonly id: string;
  readonly severity: Severity;
  readonly what: string;
  /** Why packets stop, or will. */
  readonly why: string;
  /** What to do; "" for nothing. */
  readonly mend: string;
}

const HEADINGS: Readonly<Record<Severity, string>> = {
  stops: 'STOPS PACKETS',
  restart: 'AT NEXT START',
  note: 'note',
};

/** A paragraph for each. */
export function renderFindings(findings: readonly Finding[]): string {
  const paragraphs = findings.map(({ id, severity, what, why, mend }) => {
    const text = [what, why, mend].filter((one) => one !== '').map((one) => (/[.!?]$/.test(one) ? one : `${one}.`));
    return `${HEADINGS[severity]} (${id}): ${text.join(' ')}\n`;
  });
  return paragraphs.join('\n');
}
