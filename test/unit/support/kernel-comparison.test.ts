import test from 'ava';
import { difference } from '../../faults/picture.ts';

test('what was and what is, line by line', (t) => {
  t.deepEqual(difference(['a', 'b'], ['a', 'b']), []);
  t.deepEqual(difference(['a', 'b'], ['b', 'c']), ['- a', '+ c']);
});
