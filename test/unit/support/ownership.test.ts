import test from 'ava';
import { markOf, parseMark } from '../../support/ownership.ts';

test('a mark names the lab and this very process', (t) => {
  const mark = parseMark(markOf('lab-1'));
  t.is(mark?.lab, 'lab-1');
  t.is(mark?.owner, process.pid);
  t.regex(mark?.started ?? '', /^[1-9]\d*$/);
});

for (const text of ['', 'a', 'a:1', 'a:x:1', ':1:1', 'a:1:1:1']) {
  test(`no mark: "${text}"`, (t) => {
    t.is(parseMark(text), undefined);
  });
}
