/**
 * `npm run fuzz [-- --minutes N] [--seed S] [--rounds N]`: gives the packet core what nobody should send it, for as long
 * as asked, and ends with status 1 where it did something that must never be. The seed makes the same again.
 */
import { randomInt } from 'node:crypto';
import { parseArgs } from 'node:util';
import { toError } from '../../config/errors.ts';
import { runCommand } from '../support/command.ts';
import { PacketCores } from '../support/packet-cores.ts';
import { runRound } from './round.ts';

const USAGE = 'usage: npm run fuzz -- [--minutes N] [--seed S] [--rounds N]';
/** To compare all of the memory takes longer than a round. */
const COMPARED_EVERY = 20;
const SAID_EVERY_MS = 60_000;

interface Wish {
  readonly minutes: number;
  readonly seed: number;
  readonly rounds: number;
}

function number(name: string, text: string, most: number): number {
  const value = Number(text);
  if (!(value > 0 && value <= most)) throw new RangeError(`--${name} ${text} is no number up to ${most}`);
  return value;
}

function parseWish(args: readonly string[]): Wish {
  const options = { minutes: { type: 'string' }, seed: { type: 'string' }, rounds: { type: 'string' } } as const;
  const { values } = parseArgs({ args: [...args], options });
  return {
    minutes: number('minutes', values.minutes ?? '5', 10_080),
    seed: Math.floor(number('seed', values.seed ?? String(randomInt(1, 1_000_000_000)), 2 ** 31)),
    rounds: number('rounds', values.rounds ?? '1e12', 1e12),
  };
}

async function fuzz({ minutes, seed, rounds }: Wish): Promise<number> {
  const cores = await PacketCores.open();
  const begun = Date.now();
  const end = begun + minutes * 60_000;
  let said = begun;
  let packets = 0;
  let done = 0;
  const report = (): void => {
    const time = ((Date.now() - begun) / 60_000).toFixed(1);
    console.log(`${time} minutes: ${done} rounds, ${packets} packets passed; next seed ${seed + done}`);
  };
  console.log(`from seed ${seed} on`);
  for (; done < rounds && Date.now() < end; done++) {
    try {
      packets += runRound(cores, seed + done).packets;
      if (done % COMPARED_EVERY === 0) cores.compareMemory();
    } catch (error) {
      console.log(
        `\n${toError(error).stack}\n\nThe same again: npm run fuzz -- --rounds ${COMPARED_EVERY} --seed ${seed + done}`,
      );
      return 1;
    }
    if (Date.now() - said >= SAID_EVERY_MS) {
      said = Date.now();
      report();
    }
  }
  cores.compareMemory();
  report();
  return 0;
}

await runCommand(USAGE, parseWish, fuzz);
