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

/** How far a change from one kind of rules to another has come. */
export interface Stage {
  /** Whether masquerading is to be there, to go, or to stay because nobody else does it yet. */
  readonly masquerading: 'wanted' | 'goes' | 'stays';
  /** Whether what is to stand elsewhere does stand there, so that what is left here may go. */
  readonly mayLeave: boolean;
}
