/** What a program that was run to its end came to. */
export interface Outcome {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** The host's programs, as parameters: a test has its own. */
export interface Programs {
  /** Runs it to its end with `input` on its standard input; undefined where there is no such program. */
  run(program: string, args: readonly string[], input?: string): Promise<Outcome | undefined>;
}
