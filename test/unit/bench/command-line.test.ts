import test from 'ava';
import { parseWish } from '../../bench/command-line.ts';

const USUAL = { output: 'tables', size: 'usual', baseline: undefined } as const;
const KNOWN = ['start', 'memory'];

test('nothing asked for: every suite, five runs, a table', (t) => {
  t.deepEqual(parseWish([], KNOWN), { suites: [], ...USUAL, runs: 5 });
});

test('suites by name, and options anywhere', (t) => {
  const wish = { suites: ['memory'], output: 'json', size: 'full', baseline: undefined, runs: 7 } as const;
  t.deepEqual(parseWish(['--json', 'memory', '--runs', '7', '--full'], KNOWN), wish);
});

test('a table for the README, and the baseline', (t) => {
  const compared = parseWish(['--markdown', '--reduced', '--compare'], KNOWN);
  t.like(compared, { output: 'markdown', size: 'reduced', baseline: 'compare' });
  t.like(parseWish(['--save-baseline'], KNOWN), { baseline: 'save' });
});

for (const args of [
  ['--json', '--markdown'],
  ['--full', '--reduced'],
  ['--compare', '--save-baseline'],
  ['no-such'],
  ['--runs', '0'],
  ['--runs', 'x'],
  ['--no-such'],
]) {
  test(`refused: ${args.join(' ')}`, (t) => {
    t.throws(() => parseWish(args, KNOWN));
  });
}
