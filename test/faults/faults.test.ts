/**
 * The table of faults with tartan: all of it with one etcd, what has to do with etcd with three members and TLS. Healing
 * and packets count; of time only that it is not ten times what was promised. `npm run faults` prints the figures.
 */
import test from 'ava';
import { needs } from '../support/require.ts';
import type { StoreSize } from './fault.ts';
import { formatOutcome } from './matrix.ts';
import { playAll } from './stage.ts';
import { tartan } from './subject.ts';
import { faultsFor } from './table.ts';
import { brokenPromise } from './verdict.ts';

/** Most faults wait for something: they are played on several scenes side by side. */
const STAGES = { one: 3, three: 2 } as const;
/** If all the faults before it are watched in vain. */
const LIMIT_MS = 30 * 60_000;
const SLACK = 10;

function playOn(store: StoreSize, title: string): void {
  const faults = faultsFor('tartan', store);
  let played: ReturnType<typeof playAll> | undefined;
  for (const fault of faults) {
    test(`${title}${fault.group}: ${fault.name}`, async (t) => {
      if (!needs(t, 'lab', 'openssl')) return;
      t.timeout(LIMIT_MS);
      played ??= playAll({ subject: tartan, store, faults, stages: STAGES[store] });
      const outcome = await played.get(fault);
      if (outcome) t.log(formatOutcome(outcome));
      t.is(outcome && brokenPromise(outcome, SLACK), undefined);
    });
  }
}

playOn('one', '');
playOn('three', 'three members with TLS, ');
