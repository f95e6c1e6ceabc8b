/** Plays faults one after the other, on one scene as long as it stays whole. */
import type { Fault, StoreSize } from './fault.ts';
import { Scene } from './scene.ts';
import type { Subject } from './subject.ts';
import { type Outcome, runTrial } from './trial.ts';

class Stage {
  readonly #subject: Subject;
  readonly #store: StoreSize;
  #scene: Scene | undefined;

  constructor(subject: Subject, store: StoreSize) {
    this.#subject = subject;
    this.#store = store;
  }

  /** Never rejects. */
  async play(fault: Fault): Promise<Outcome> {
    try {
      this.#scene ??= await Scene.create(this.#subject, this.#store);
      const outcome = await runTrial(fault, this.#scene);
      if (!outcome.isWhole) this.close();
      return outcome;
    } catch (failure: unknown) {
      this.close();
      const message = failure instanceof Error ? failure.message : String(failure);
      return { fault, healedMs: undefined, lost: 0, why: `it could not be tried: ${message}`, isWhole: false };
    }
  }

  close(): void {
    this.#scene?.close();
    this.#scene = undefined;
  }
}

export interface Programme {
  readonly subject: Subject;
  readonly store: StoreSize;
  readonly faults: readonly Fault[];
  /** How many scenes are played on side by side. */
  readonly stages: number;
}

/** Stages that are lent out, in the order in which they were asked for. */
class Theatre {
  readonly #free: Stage[];
  readonly #waiting: ((stage: Stage) => void)[] = [];

  constructor(stages: readonly Stage[]) {
    this.#free = [...stages];
  }

  async play(fault: Fault): Promise<Outcome> {
    const stage = this.#free.shift() ?? (await new Promise<Stage>((resolve) => this.#waiting.push(resolve)));
    const outcome = await stage.play(fault);
    const next = this.#waiting.shift();
    if (next) next(stage);
    else this.#free.push(stage);
    return outcome;
  }

  close(): void {
    for (const stage of this.#free) stage.close();
  }
}

/** Plays them all: whichever stage is free takes the next fault. @returns the outcomes to come; none rejects */
export function playAll({ subject, store, faults, stages }: Programme): ReadonlyMap<Fault, Promise<Outcome>> {
  const theatre = new Theatre(Array.from({ length: stages }, () => new Stage(subject, store)));
  const played = new Map(faults.map((fault) => [fault, theatre.play(fault)]));
  void Promise.all(played.values()).then(() => theatre.close());
  return played;
}
