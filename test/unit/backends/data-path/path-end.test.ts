import test from 'ava';
import { PathEnd } from '../../../../backends/data-path/path-end.ts';
import type { KernelRefusal } from '../../../../backends/kernel/kernel.ts';

const BUSY: KernelRefusal = { errno: 'EBUSY', detail: '' };

/** Opens what is wanted unless it is among `refused`; descriptors count up from 10. */
function endOf(): { end: PathEnd<string, { fd: number }>; refused: Set<string>; closed: number[]; tries: string[] } {
  const refused = new Set<string>();
  const closed: number[] = [];
  const tries: string[] = [];
  let fd = 10;
  const end = new PathEnd<string, { fd: number }>({
    keyOf: (wanted) => wanted,
    open: (wanted) => {
      tries.push(wanted);
      return refused.has(wanted) ? BUSY : { fd: fd++ };
    },
    letGo: (one) => closed.push(one),
  });
  return { end, refused, closed, tries };
}

test('what is wanted is opened once', (t) => {
  const { end, tries } = endOf();
  t.true(end.converge('a', 0));
  t.false(end.converge('a', 1));
  t.deepEqual([end.got, tries], [{ fd: 10 }, ['a']]);
  t.is(end.restMs(0), Number.POSITIVE_INFINITY);
});

test('what is refused is tried again, often at first', (t) => {
  const { end, refused, tries } = endOf();
  refused.add('a');
  t.false(end.converge('a', 0));
  t.is(end.refusal, BUSY);
  t.is(end.restMs(0), 50);
  end.converge('a', 49);
  t.is(tries.length, 1);
  end.converge('a', 50);
  t.is(tries.length, 2);
  end.converge('a', 6_000);
  t.is(end.restMs(6_000), 1_000);
  refused.clear();
  t.true(end.converge('a', 7_000));
  t.is(end.refusal, undefined);
});

test('the one before is kept until the new one is there', (t) => {
  const { end, refused, closed } = endOf();
  end.converge('a', 0);
  refused.add('b');
  t.false(end.converge('b', 1));
  t.deepEqual([end.got, end.refusal, closed], [{ fd: 10 }, BUSY, []]);
  refused.clear();
  t.true(end.converge('b', 60));
  t.deepEqual([end.got, end.refusal, closed], [{ fd: 11 }, undefined, [10]]);
});

test('another wish is tried at once, and the old one wanted again is served by what is held', (t) => {
  const { end, refused, tries } = endOf();
  end.converge('a', 0);
  for (const one of ['b', 'c']) refused.add(one);
  end.converge('b', 1);
  end.converge('c', 2);
  t.deepEqual(tries, ['a', 'b', 'c']);
  t.false(end.converge('a', 3));
  t.is(end.refusal, undefined);
});

test('what leads nowhere is let go and opened anew; what is held no more is not let go twice', (t) => {
  const { end, closed } = endOf();
  end.converge('a', 0);
  t.true(end.drop(10));
  t.false(end.drop(10));
  t.deepEqual(closed, [10]);
  t.true(end.converge('a', 1));
  t.false(end.drop(10));
  t.deepEqual(end.got, { fd: 11 });
});

test('somebody who knows better ends the rest', (t) => {
  const { end, refused } = endOf();
  refused.add('a');
  end.converge('a', 0);
  refused.clear();
  end.hurry();
  t.true(end.converge('a', 1));
});
