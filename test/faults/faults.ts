/**
 * `npm run faults`: breaks one thing after the other and measures how long it takes to heal. Status 1 where tartan does
 * not keep a promise; flanneld is measured, not judged.
 */
import { runCommand } from '../support/command.ts';
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

async function play(wish: Wish, subject: Subject, store: StoreSize): Promise<Run> {
  const faults = faultsFor(subject.name, store).filter((fault) => isWanted(fault, wish));
  if (faults.length > 0) say(`\n${subject.name}, etcd: ${store}\n${HEAD}`);
  const outcomes: Outcome[] = [];
  for (const outcome of playAll({ subject, store, faults, stages: wish.stages }).values()) {
    outcomes.push(await outcome);
    say(formatOutcome(await outcome));
  }
  return { subject: subject.name, store, outcomes };
}

async function main(wish: Wish): Promise<number> {
  if (wish.markdown) say = console.error;
  const subjects = wish.subjects.map(subjectOf);
  const runs: Run[] = [];
  for (const subject of subjects) for (const store of wish.stores) runs.push(await play(wish, subject, store));
  const met = runs.filter(({ outcomes }) => outcomes.length > 0);
  for (const run of met) say(formatSum(run));
  if (wish.markdown) console.log(toMarkdown(met));
  const ours = met.filter(({ subject }) => subject === 'tartan').flatMap(({ outcomes }) => outcomes);
  return ours.every((outcome) => brokenPromise(outcome) === undefined) ? 0 : 1;
}

await runCommand(USAGE, parseWish, main);
