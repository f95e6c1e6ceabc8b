/**
 * `npm run chaos [-- --minutes N] [--seed S] [--hosts N] [--only FAULT]... [--logs DIR]`: breaks ten hosts at random for as long as
 * asked, and ends with status 1 where something that must always hold did not.
 */
import { randomInt } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runCommand } from '../support/command.ts';
import { parseWish, type Wish } from './command-line.ts';
import { ALL_FAULTS } from './faults/all-faults.ts';
import { runChaos } from './run.ts';

const USAGE = 'usage: npm run chaos -- [--minutes N] [--seed S] [--hosts N] [--only FAULT]... [--logs DIR]';

async function keep(dir: string, logs: ReadonlyMap<string, string>): Promise<void> {
  await mkdir(dir, { recursive: true });
  for (const [name, text] of logs) await writeFile(join(dir, `${name}.log`), text);
}

async function main({ only, logs, ...wish }: Wish): Promise<number> {
  const faults = ALL_FAULTS.filter(({ name }) => only.length === 0 || only.includes(name));
  const verdict = await runChaos({ ...wish, faults, say: (line) => console.log(line) });
  console.log(`\n${verdict.summary.join('\n')}`);
  if (logs !== undefined) await keep(logs, verdict.logs);
  if (verdict.violations.length === 0) {
    console.log(`\nseed ${wish.seed}: everything held`);
    return 0;
  }
  console.log(`\n${verdict.tails.join('\n')}`);
  console.log(`\nseed ${wish.seed}: ${verdict.violations.length} violations:\n${verdict.violations.join('\n')}`);
  const again = [`--minutes ${wish.minutes}`, `--hosts ${wish.hosts}`, `--seed ${wish.seed}`];
  console.log(
    `The same decisions again: npm run chaos -- ${[...again, ...only.map((name) => `--only '${name}'`)].join(' ')}`,
  );
  return 1;
}

const KNOWN = ALL_FAULTS.map(({ name }) => name);

await runCommand(USAGE, (args) => parseWish(args, KNOWN, randomInt(1, 1_000_000)), main);
