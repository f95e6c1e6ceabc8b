import test from 'ava';
import { parseWish } from '../../chaos/command-line.ts';

const KNOWN = ['etcd killed', 'device deleted'];

test('without arguments: five minutes, ten hosts, any seed, all faults', (t) => {
  const wish = { minutes: 5, hosts: 10, seed: 42, only: [], logs: undefined };
  t.deepEqual(parseWish([], KNOWN, 42), wish);
});

test('what is asked for is taken', (t) => {
  const asked = ['--minutes', '0.5', '--seed', '7', '--hosts', '3', '--only', 'etcd killed', '--logs', '/tmp/x'];
  const wish = { minutes: 0.5, hosts: 3, seed: 7, only: ['etcd killed'], logs: '/tmp/x' };
  t.deepEqual(parseWish(asked, KNOWN, 42), wish);
});

for (const wrong of [
  ['--minutes', 'x'],
  ['--minutes', '0'],
  ['--hosts', '1'],
  ['--hosts', '2.5'],
  ['--seed', '-1'],
  ['--seed', 'x'],
  ['--only', 'etcd eaten'],
  ['--what'],
  ['more'],
]) {
  test(`refused: ${wrong.join(' ')}`, (t) => {
    t.throws(() => parseWish(wrong, KNOWN, 42));
  });
}
