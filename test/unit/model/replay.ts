import fc from 'fast-check';

const { TARTAN_RUNS = '40', TARTAN_SEED, TARTAN_PATH } = process.env;

/** CI looks a while; `TARTAN_RUNS=5000` looks longer. */
export const RUNS = Number(TARTAN_RUNS);

/** Throws what was found, with what replays it. `where`: the test's file, for `npm test`. */
export async function holds<T>(property: fc.IAsyncProperty<T>, where: string): Promise<void> {
  const replay = { ...(TARTAN_SEED && { seed: Number(TARTAN_SEED) }), ...(TARTAN_PATH && { path: TARTAN_PATH }) };
  const details = await fc.check(property, { numRuns: RUNS, ...replay });
  if (!details.failed) return;
  const again = `TARTAN_SEED=${details.seed} TARTAN_PATH=${details.counterexamplePath} npm test -- ${where}`;
  throw new Error(`${details.errorInstance}\n${JSON.stringify(details.counterexample)}\nagain: ${again}`);
}
