/**
 * `npm run faults`: breaks one thing after the other and measures how long it takes to heal. Status 1 where tartan does
 * not keep a promise; flanneld is measured, not judged.
 */
import { findFlanneld } from '../support/flanneld.ts';
import { parseWish, USAGE, type Wish } from './command-line.ts';
import type { Fault, StoreSize } from './fault.ts';
import { formatOutcome, formatSum, HEAD, type Run, toMarkdown } from './matrix.ts';
import { playAll } from './stage.ts';
import { flanneld, type Subject, type SubjectName, tartan } from './subject.ts';
import { faultsFor } from './table.ts';
import type { Outcome } from './trial.ts';
import { brokenPromise } from './verdict.ts';

/** On stderr where stdout is to hold the Markdown alone. */
let say: (text: string) => void = console.log;

function subjectOf(name: SubjectName): Subject {
  if (name === 'tartan') return tartan;
  const found = findFlanneld();
  if ('reason' in found) throw new Error(`flanneld is needed: ${found.reason}`);
  return flanneld(found.path);
}

function isWanted({ group, name }: Fault, { only }: Wish): boolean {
  return `${group}: ${name}`.toLowerCase().includes(only);
}

/** @returns the run, and how many faults could not be tried at all */
async function play(wish: Wish, subject: Subject, store: StoreSize): Promise<{ run: Run; failures: number }> {
  const faults = faultsFor(subject.name, store).filter((fault) => isWanted(fault, wish));
  const outcomes: Outcome[] = [];
  let failures = 0;
  if (faults.length > 0) say(`\n${subject.name}, etcd: ${store}\n${HEAD}`);
  await playAll({
    ...{ subject, store, faults, stages: wish.stages },
    onOutcome: (outcome) => {
      outcomes.push(outcome);
      say(formatOutcome(outcome));
    },
    onFailure: ({ name }, failure) => {
      failures += 1;
      say(`could not be tried: ${name}\n${failure instanceof Error ? failure.message : String(failure)}`);
    },
  });
  return { run: { subject: subject.name, store, outcomes }, failures };
}

async function main(): Promise<number> {
  const read = parseWish(process.argv.slice(2));
  if (!read.ok) {
    console.error(`${read.reason}\n${USAGE}`);
    return 2;
  }
  const { wish } = read;
  if (wish.markdown) say = console.error;
  const subjects = wish.subjects.map(subjectOf);
  const runs: Run[] = [];
  let failures = 0;
  for (const subject of subjects) {
    for (const store of wish.stores) {
      const played = await play(wish, subject, store);
      failures += played.failures;
      if (played.run.outcomes.length > 0) runs.push(played.run);
    }
  }
  for (const run of runs) say(formatSum(run));
  if (wish.markdown) console.log(toMarkdown(runs));
  const ours = runs.filter(({ subject }) => subject === 'tartan').flatMap(({ outcomes }) => outcomes);
  return failures === 0 && ours.every((outcome) => brokenPromise(outcome) === undefined) ? 0 : 1;
}

process.exitCode = await main();
