import test from 'ava';
import { SKIP_MARK } from '../../support/require.ts';
import { TapReader, type TapResult } from '../../support/tap.ts';

function read(...lines: readonly string[]): TapResult[] {
  const results: TapResult[] = [];
  const reader = new TapReader((result) => results.push(result));
  for (const line of lines) reader.line(line);
  reader.end();
  return results;
}

test('a result is handed over with what its test logged', (t) => {
  const [result] = read('TAP version 13', 'ok 1 - a › b', '#   some words', '', '1..1', '# tests 1');
  t.deepEqual(result, { title: 'a › b', verdict: 'passed', needs: '', details: ['#   some words', ''] });
});

test('a failure keeps its diagnostics', (t) => {
  const [first, second] = read('not ok 1 - broken', '  ---', '    name: AssertionError', '  ...', 'ok 2 - fine');
  t.is(first?.verdict, 'failed');
  t.deepEqual(first?.details, ['  ---', '    name: AssertionError', '  ...']);
  t.is(second?.verdict, 'passed');
});

test('a test that says what it needs counts as skipped', (t) => {
  const [result] = read('ok 1 - pings', `#   ${SKIP_MARK} root; etcd (Debian: etcd-server)`);
  t.is(result?.verdict, 'skipped');
  t.is(result?.needs, 'root; etcd (Debian: etcd-server)');
});

test('under CI the same is a failure', (t) => {
  t.is(read('not ok 1 - pings', '  ---', '  ...', `#   ${SKIP_MARK} root`)[0]?.verdict, 'failed');
});

test('AVA directives are understood', (t) => {
  const verdicts = read('ok 1 - later # SKIP', 'not ok 2 - one day # TODO').map((result) => result.verdict);
  t.deepEqual(verdicts, ['skipped', 'todo']);
});
