import test from 'ava';
import { difference } from '../../support/kernel-comparison.ts';

test('what lacks and what is too much, line by line', (t) => {
  t.deepEqual(difference(['a', 'b'], ['a', 'b']), []);
  t.deepEqual(difference(['a', 'b'], ['b', 'c']), ['- a', '+ c']);
  t.deepEqual(difference(['a'], ['a', 'a']), ['+ a']);
});
