import test from 'ava';
import { parseWish } from '../../bench/command-line.ts';

const KNOWN = ['start', 'memory'];

test('nothing asked for: every suite, five runs, a table', (t) => {
  t.deepEqual(parseWish([], KNOWN), { suites: [], json: false, full: false, runs: 5 });
});

test('suites by name, and options anywhere', (t) => {
  const wish = { suites: ['memory'], json: true, full: true, runs: 7 };
  t.deepEqual(parseWish(['--json', 'memory', '--runs', '7', '--full'], KNOWN), wish);
});

for (const args of [['no-such'], ['--runs', '0'], ['--runs', 'x'], ['--no-such']]) {
  test(`refused: ${args.join(' ')}`, (t) => {
    t.throws(() => parseWish(args, KNOWN));
  });
}
