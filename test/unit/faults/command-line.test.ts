import test from 'ava';
import { parseWish } from '../../faults/command-line.ts';

test('tartan alone, with both kinds of etcd, unless something else is asked for', (t) => {
  t.deepEqual(parseWish([]), {
    ok: true,
    wish: { subjects: ['tartan'], stores: ['one', 'three'], only: '', stages: 1, markdown: false },
  });
  const args = ['--subject', 'both', '--etcd=one', '--only', 'Drift: the', '--side-by-side', '3', '--markdown'];
  t.deepEqual(parseWish(args), {
    ok: true,
    wish: { subjects: ['tartan', 'flanneld'], stores: ['one'], only: 'drift: the', stages: 3, markdown: true },
  });
});

test('what makes no sense is refused by name', (t) => {
  const reason = (...args: readonly string[]) => {
    const read = parseWish(args);
    return read.ok ? undefined : read.reason;
  };
  t.regex(reason('--subject', 'calico') ?? '', /calico is none of tartan, flanneld, both/);
  t.regex(reason('--etcd', 'two') ?? '', /two is none of one, three, both/);
  t.regex(reason('--side-by-side', '0') ?? '', /0 is no number/);
  t.regex(reason('drift') ?? '', /drift/);
});
