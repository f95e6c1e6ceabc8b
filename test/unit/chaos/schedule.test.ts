import test from 'ava';
import type { Fault } from '../../chaos/fault.ts';
import { ALL_FAULTS } from '../../chaos/faults/all-faults.ts';
import { type Decision, nameOf, schedule } from '../../chaos/schedule.ts';

const SEEDS = [1, 2, 3, 4, 5];

function withLane({ fault, host }: Decision): string {
  return nameOf(fault.lane, host);
}

test('the same seed decides the same, another one otherwise', (t) => {
  t.deepEqual(schedule(7, 5, 10, ALL_FAULTS), schedule(7, 5, 10, ALL_FAULTS));
  t.notDeepEqual(schedule(7, 5, 10, ALL_FAULTS), schedule(8, 5, 10, ALL_FAULTS));
});

test('two faults on one lane never overlap', (t) => {
  for (const seed of SEEDS) {
    const endOf = new Map<string, number>();
    for (const decision of schedule(seed, 30, 10, ALL_FAULTS)) {
      t.true(decision.atMs >= (endOf.get(withLane(decision)) ?? 0), `${seed}: ${decision.fault.name}`);
      endOf.set(withLane(decision), decision.atMs + decision.seconds * 1000);
    }
  }
});

test('no host has more to repair within a minute than an agent repairs at once', (t) => {
  for (const seed of SEEDS) {
    const kernel = schedule(seed, 30, 10, ALL_FAULTS).filter(({ fault }) => fault.lane === 'kernel');
    for (const { host, atMs } of kernel) {
      const within = kernel.filter((other) => other.host === host && other.atMs <= atMs && other.atMs > atMs - 60_000);
      t.true(within.length <= 4);
    }
  }
});

test('in an hour every fault comes to pass', (t) => {
  const seen = new Set(schedule(1, 60, 10, ALL_FAULTS).map(({ fault }) => fault));
  const missing = ALL_FAULTS.filter((fault: Fault) => !seen.has(fault));
  t.deepEqual(
    missing.map(({ name }) => name),
    [],
  );
});

test('faults have names of their own', (t) => {
  t.is(new Set(ALL_FAULTS.map(({ name }) => name)).size, ALL_FAULTS.length);
});
