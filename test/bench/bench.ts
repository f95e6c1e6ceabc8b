/**
 * `npm run bench [-- SUITE ...] [--runs N] [--full] [--json]`: measures and asserts nothing. Status 1 where a suite could
 * not be measured.
 */
import { runCommand } from '../support/command.ts';
import { parseWish, type Wish } from './command-line.ts';
import { type Field, gather } from './contestant.ts';
import { describeMachine, formatMachine, type Machine } from './machine.ts';
import { formatTable, type SuiteResult, toJson } from './report.ts';
import type { Suite } from './suite.ts';
import { change } from './suites/change.ts';
import { memory } from './suites/memory.ts';
import { outage } from './suites/outage.ts';
import { peers } from './suites/peers.ts';
import { reclaim } from './suites/reclaim.ts';
import { start } from './suites/start.ts';
import { warmUp } from './warm-up.ts';

const SUITES: readonly Suite[] = [start, memory, peers, change, outage, reclaim];

const USAGE = `usage: npm run bench -- [SUITE ...] [--runs N] [--full] [--json]
${SUITES.map(({ name, title }) => `  ${name.padEnd(8)} ${title}`).join('\n')}`;

/** On stderr: stdout is the report alone. */
function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

async function measure(
  suite: Suite,
  field: Field,
  wish: { runs: number; full: boolean },
): Promise<SuiteResult | undefined> {
  try {
    const figures = await suite.run({ ...wish, contestants: field.contestants, say });
    return { suite, runs: wish.runs, figures };
  } catch (fault: unknown) {
    say(`${suite.name} could not be measured: ${fault instanceof Error ? fault.message : String(fault)}`);
    return undefined;
  }
}

function head(machine: Machine, field: Field): string {
  const alone = field.flanneld === undefined ? `no reference: it needs ${field.lacks.join('; ')}\n` : '';
  return `${formatMachine(machine)}\n${alone}`;
}

async function main(wish: Wish): Promise<number> {
  const field = gather();
  const machine = await describeMachine(field.flanneld);
  if (!wish.json) console.log(head(machine, field));
  const chosen = SUITES.filter(({ name }) => wish.suites.length === 0 || wish.suites.includes(name));
  say('each agent runs once for some seconds, unmeasured');
  await warmUp(field.contestants);
  const results: SuiteResult[] = [];
  for (const suite of chosen) {
    const result = await measure(suite, field, wish);
    if (result === undefined) continue;
    results.push(result);
    if (!wish.json) console.log(formatTable(result));
  }
  if (wish.json) console.log(JSON.stringify({ machine, suites: results.map(toJson) }, null, 2));
  return results.length === chosen.length ? 0 : 1;
}

const KNOWN = SUITES.map(({ name }) => name);

await runCommand(USAGE, (args) => parseWish(args, KNOWN), main);
