import test from 'ava';
import type { Fault } from '../../faults/fault.ts';
import { duration, formatOutcome, formatSum, toMarkdown } from '../../faults/matrix.ts';
import { TABLE } from '../../faults/table.ts';
import type { Outcome } from '../../faults/trial.ts';
import { brokenPromise } from '../../faults/verdict.ts';

const FAULT: Fault = { group: 'drift', name: 'a broken thing', withinMs: 1_000, loses: 5, breaks: async () => {} };

function outcome(more: Partial<Outcome> = {}): Outcome {
  return { fault: FAULT, healedMs: 40, lost: 0, why: undefined, isWhole: true, ...more };
}

test('a promise is kept, late, dear or broken', (t) => {
  t.is(brokenPromise(outcome()), undefined);
  t.is(brokenPromise(outcome({ healedMs: 1_000, lost: 5 })), undefined);
  t.is(brokenPromise(outcome({ healedMs: 1_234.5 })), 'healed after 1235 ms, promised: 1000 ms');
  t.is(brokenPromise(outcome({ healedMs: 1_234.5 }), 10), undefined);
  t.is(brokenPromise(outcome({ lost: 6 })), '6 packets lost, promised: at most 5');
  t.is(brokenPromise(outcome({ lost: 6 }), 10), undefined);
  t.is(brokenPromise(outcome({ healedMs: undefined, why: 'no route' })), 'not healed: no route');
  t.is(brokenPromise(outcome({ lost: 6, fault: { ...FAULT, loses: Number.POSITIVE_INFINITY } })), undefined);
});

test('durations', (t) => {
  t.deepEqual([4.4, 999, 1_000, 1_249, 61_000].map(duration), ['4 ms', '999 ms', '1 s', '1.2 s', '61 s']);
});

test('what was not healed is explained below its line', (t) => {
  t.regex(formatOutcome(outcome()), /^drift +a broken thing +1 s, 5 +40 ms +0$/);
  const broken = formatOutcome(outcome({ healedMs: undefined, lost: 1_500, why: 'no route\nno agent' }));
  t.regex(broken, /not healed +1500\n +not healed: no route\n +no agent$/);
});

test('both subjects side by side, a gap where a fault does not apply', (t) => {
  const [first, second] = TABLE;
  if (!first || !second) return t.fail();
  const runs = [
    { subject: 'tartan', store: 'one', outcomes: [outcome({ fault: first }), outcome({ fault: second })] },
    { subject: 'flanneld', store: 'one', outcomes: [outcome({ fault: first, healedMs: undefined, lost: 1_500 })] },
  ] as const;
  const rows = toMarkdown(runs).split('\n');
  t.true(rows.includes(`| ${first.name} | 1 s | 40 ms | 0 | not healed | 1500 |`));
  t.true(rows.includes(`| ${second.name} | 1 s | 40 ms | 0 |  |  |`));
  t.is(formatSum(runs[1]), 'flanneld, etcd of one member: 0 of 1 faults healed, 0 as promised');
});
