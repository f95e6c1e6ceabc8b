/** What has to be done about one set of rules. */
export interface RulePlan {
  /** What is not as it is to be, in words; empty where all is right. */
  readonly amiss: readonly string[];
  /** What the program is to be given; empty where nothing is amiss. */
  readonly script: string;
}

/** One thing found amiss, and the lines that mend it. */
export interface Mending {
  readonly amiss: string;
  readonly lines: readonly string[];
}
