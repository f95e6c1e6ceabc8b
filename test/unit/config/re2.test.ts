import test from 'ava';
import fc from 'fast-check';
import { compileRe2 } from '../../../config/re2.ts';

const cases: readonly (readonly [regex: string, matches: readonly string[], not: readonly string[]])[] = [
  ['eth', ['eth0', 'veth1'], ['ens3']],
  ['^(eth|ens)[0-9]+$', ['eth0', 'ens33'], ['veth0', 'eth']],
  ['10\\.5\\.', ['10.5.1.1'], ['10x5x']],
  ['(?i)^ETH', ['eth0', 'Eth1'], ['veth0']],
  ['(?P<kind>bond|team)\\d', ['bond0'], ['bond']],
  ['(?:a|b)$', ['xa'], ['ax']],
  ['\\Aeth\\z', ['eth'], ['eth0', 'eth\n']],
  ['\\Qa.b\\E', ['a.b'], ['axb']],
  ['\\Qa.b', ['a.b'], ['axb']],
  ['^[[:alpha:]]+$', ['eth'], ['eth0']],
  ['^[[:alnum:]_.-]+$', ['br-1.2_x'], ['br 1']],
  ['eth\\-0\\_a\\@', ['eth-0_a@'], ['eth0']],
  ['^[a\\-z]$', ['-'], ['m']],
  ['^[[]$', ['['], [']']],
  ['^fd[0-9a-f]{2}:', ['fd00::1'], ['fe80::1']],
];

for (const [regex, matches, not] of cases) {
  test(`${regex} matches as in Go`, (t) => {
    const compiled = compileRe2(regex);
    if (!compiled.ok) return t.fail(compiled.reason);
    for (const text of matches) t.true(compiled.regex.test(text), text);
    for (const text of not) t.false(compiled.regex.test(text), text);
  });
}

for (const regex of [
  '(',
  '[',
  '*a',
  'a{2,1}',
  '(?=a)',
  '(?!a)',
  '(?<=a)b',
  '(?<!a)b',
  '(a)\\1',
  '[:alpha:]',
  '[[:nope:]]',
  'a\\',
]) {
  test(`${regex} is refused`, (t) => t.false(compileRe2(regex).ok));
}

test('no text makes it throw', (t) => {
  const text = fc.oneof(fc.string(), fc.string({ unit: fc.constantFrom(...'()[]{}?*+\\^$|:PQEAz-a1<=!.') }));
  fc.assert(
    fc.property(text, (regex) => t.is(typeof compileRe2(regex).ok, 'boolean')),
    { numRuns: 2000 },
  );
});
