import { toError } from '../../config/errors.ts';

/**
 * A command of this repository's own: parses what it was asked for, runs it, and ends with the status that this gives.
 * `parse` throws where that makes no sense, as node:util's parseArgs does: status 2, with the reason and the usage.
 */
export async function runCommand<Wish>(
  usage: string,
  parse: (args: readonly string[]) => Wish,
  run: (wish: Wish) => Promise<number>,
): Promise<void> {
  let wish: Wish;
  try {
    wish = parse(process.argv.slice(2));
  } catch (error) {
    console.error(`${toError(error).message}\n${usage}`);
    process.exitCode = 2;
    return;
  }
  process.exitCode = await run(wish);
}
