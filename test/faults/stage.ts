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

  async play(fault: Fault): Promise<Outcome> {
    this.#scene ??= await Scene.create(this.#subject, this.#store);
    const outcome = await runTrial(fault, this.#scene);
    if (!outcome.isWhole) this.close();
    return outcome;
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
  readonly onOutcome: (outcome: Outcome) => void;
  readonly onFailure: (fault: Fault, failure: unknown) => void;
}

/** Whoever is free takes the next fault of the list. Never rejects. */
export async function playAll(programme: Programme): Promise<void> {
  const waiting = [...programme.faults];
  const work = async (): Promise<void> => {
    const stage = new Stage(programme.subject, programme.store);
    for (let fault = waiting.shift(); fault !== undefined; fault = waiting.shift()) {
      try {
        programme.onOutcome(await stage.play(fault));
      } catch (failure: unknown) {
        stage.close();
        programme.onFailure(fault, failure);
      }
    }
    stage.close();
  };
  await Promise.all(Array.from({ length: programme.stages }, work));
}
