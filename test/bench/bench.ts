/**
 * `npm run bench [-- SUITE ...] [options]`: measures and asserts nothing. Status 1 where a suite could not be measured,
 * or, with --compare, where a ratio is worse than it was.
 */
import { writeFileSync } from 'node:fs';
import { runCommand } from '../support/command.ts';
import { inRepository, readRepository } from '../support/repository.ts';
import { type Baseline, formatRegression, regressions, toBaseline } from './baseline.ts';
import { parseWish, type Wish } from './command-line.ts';
import { type Field, gather } from './contestant.ts';
import { describeMachine, formatMachine, type Machine } from './machine.ts';
import { formatMarkdown } from './markdown.ts';
import { formatTable, type SuiteResult, toJson } from './report.ts';
import type { Suite } from './suite.ts';
import { burst } from './suites/burst.ts';
import { change } from './suites/change.ts';
import { claims } from './suites/claims.ts';
import { cluster } from './suites/cluster.ts';
import { dataPath } from './suites/data-path.ts';
import { idle } from './suites/idle.ts';
import { memory } from './suites/memory.ts';
import { outage } from './suites/outage.ts';
import { peers } from './suites/peers.ts';
import { program } from './suites/program.ts';
import { reclaim } from './suites/reclaim.ts';
import { restart } from './suites/restart.ts';
import { resync } from './suites/resync.ts';
import { start } from './suites/start.ts';
import { warmUp } from './warm-up.ts';

const SUITES: readonly Suite[] = [
  start,
  memory,
  peers,
  program,
  change,
  burst,
  restart,
  resync,
  idle,
  claims,
  outage,
  reclaim,
  dataPath,
  cluster,
];

const BASELINE = 'test/bench/baseline.json';

const USAGE = `usage: npm run bench -- [SUITE ...] [--runs N] [--full | --reduced] [--json | --markdown] [--compare | --save-baseline]
${SUITES.map(({ name, title, onlyByName }) => `  ${name.padEnd(9)} ${title}${onlyByName ? ' (only by name)' : ''}`).join('\n')}`;

/** On stderr: stdout is the report alone. */
function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

async function measure(suite: Suite, field: Field, { runs, size }: Wish): Promise<SuiteResult | undefined> {
  try {
    const figures = await suite.run({ runs, size, contestants: field.contestants, say });
    return { suite, runs, figures };
  } catch (fault: unknown) {
    say(`${suite.name} could not be measured: ${fault instanceof Error ? fault.message : String(fault)}`);
    return undefined;
  }
}

function head(machine: Machine, field: Field): string {
  const alone = field.flanneld === undefined ? `no flanneld to compare with: it needs ${field.lacks.join('; ')}\n` : '';
  return `${formatMachine(machine)}\n${alone}`;
}

function readBaseline(): Baseline {
  const baseline: Baseline = JSON.parse(readRepository(BASELINE));
  return baseline;
}

/** @returns whether anything is worse */
function compare(results: readonly SuiteResult[]): boolean {
  const worse = regressions(readBaseline(), toBaseline(results));
  for (const one of worse) say(formatRegression(one));
  if (worse.length === 0) say('nothing is worse than the baseline');
  return worse.length > 0;
}

/** Of what was not measured the old figures stay. */
function save(results: readonly SuiteResult[]): void {
  const all = { ...readBaseline(), ...toBaseline(results) };
  const sorted = Object.fromEntries(Object.entries(all).sort(([a], [b]) => (a < b ? -1 : 1)));
  writeFileSync(inRepository(BASELINE), `${JSON.stringify(sorted, null, 2)}\n`);
}

async function main(wish: Wish): Promise<number> {
  const field = gather();
  const machine = await describeMachine(field.flanneld);
  if (wish.output !== 'json') console.log(head(machine, field));
  const isChosen = ({ name, onlyByName }: Suite) =>
    wish.suites.length === 0 ? onlyByName !== true : wish.suites.includes(name);
  const chosen = SUITES.filter(isChosen);
  say('each agent runs once for some seconds, unmeasured');
  await warmUp(field.contestants);
  const results: SuiteResult[] = [];
  for (const suite of chosen) {
    const result = await measure(suite, field, wish);
    if (result === undefined) continue;
    results.push(result);
    if (wish.output === 'tables') console.log(formatTable(result));
  }
  if (wish.output === 'json') console.log(JSON.stringify({ machine, suites: results.map(toJson) }, null, 2));
  if (wish.output === 'markdown') console.log(formatMarkdown(results));
  if (wish.baseline === 'save') save(results);
  const isWorse = wish.baseline === 'compare' && compare(results);
  return results.length === chosen.length && !isWorse ? 0 : 1;
}

const KNOWN = SUITES.map(({ name }) => name);

await runCommand(USAGE, (args) => parseWish(args, KNOWN), main);
