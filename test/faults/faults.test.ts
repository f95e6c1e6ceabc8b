/**
 * The table of faults with tartan: all of it with one etcd, what has to do with etcd with three members and TLS. Healing
 * and packets count; of time only that it is not ten times what was promised. `npm run faults` prints the figures.
 */
import test from 'ava';
import { needs } from '../support/require.ts';
import { STORES, type StoreSize } from './fault.ts';
import { formatOutcome } from './matrix.ts';
import { playAll } from './stage.ts';
import { tartan } from './subject.ts';
import { faultsFor } from './table.ts';
import { brokenPromise } from './verdict.ts';

/** Most faults wait for something: all of this is played side by side, and each test waits for its own. */
const STAGES = 2;
/** If all the faults before it are watched in vain. */
const LIMIT_MS = 30 * 60_000;
const SLACK = 10;
const TITLES = { one: '', three: 'three members with TLS, ' } as const;

function play(store: StoreSize): ReturnType<typeof playAll> {
  return playAll({ subject: tartan, store, faults: faultsFor('tartan', store), stages: STAGES });
}

let played: Readonly<Record<StoreSize, ReturnType<typeof playAll>>> | undefined;

for (const store of STORES) {
  for (const fault of faultsFor('tartan', store)) {
    test(`${TITLES[store]}${fault.group}: ${fault.name}`, async (t) => {
      if (!needs(t, 'lab', 'openssl')) return;
      t.timeout(LIMIT_MS);
      played ??= { one: play('one'), three: play('three') };
      const outcome = await played[store].get(fault);
      if (outcome) t.log(formatOutcome(outcome));
      t.is(outcome && brokenPromise(outcome, SLACK), undefined);
    });
  }
}
