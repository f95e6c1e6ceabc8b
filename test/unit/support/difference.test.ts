import test from 'ava';
import { difference } from '../../support/difference.ts';

for (const [should, is, expected] of [
  [['a', 'b'], ['b', 'a'], []],
  [
    ['a', 'b'],
    ['b', 'c'],
    ['- a', '+ c'],
  ],
  [['a'], ['a', 'a'], ['+ a']],
  [['a', 'a', 'b'], ['a', 'b'], ['- a']],
  [['a', 'a'], ['a', 'a'], []],
  [[], ['a'], ['+ a']],
] as const) {
  test(`what lacks of ${should.join('') || 'nothing'} and what is too much in ${is.join('')}`, (t) => {
    t.deepEqual(difference(should, is), [...expected]);
  });
}
