import test from 'ava';
import { parseWish } from '../../faults/command-line.ts';

test('tartan alone, with both kinds of etcd, unless something else is asked for', (t) => {
  t.deepEqual(parseWish([]), {
    subjects: ['tartan'],
    stores: ['one', 'three'],
    only: '',
    stages: 1,
    markdown: false,
  });
  const args = ['--subject', 'both', '--etcd=one', '--only', 'Drift: the', '--side-by-side', '3', '--markdown'];
  t.deepEqual(parseWish(args), {
    subjects: ['tartan', 'flanneld'],
    stores: ['one'],
    only: 'drift: the',
    stages: 3,
    markdown: true,
  });
});

test('what makes no sense is refused by name', (t) => {
  const refused = (message: RegExp, ...args: readonly string[]) => t.throws(() => parseWish(args), { message });
  refused(/calico is none of tartan, flanneld, both/, '--subject', 'calico');
  refused(/two is none of one, three, both/, '--etcd', 'two');
  refused(/0 is no number/, '--side-by-side', '0');
  refused(/drift/, 'drift');
});
