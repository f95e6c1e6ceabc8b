import test from 'ava';
import type { Stranger } from '../../../../backends/data-path/packet-core.ts';
import { PathStrangers } from '../../../../backends/data-path/path-strangers.ts';
import { VirtualClock } from '../../../fakes/clock.ts';
import { ip } from '../../../support/addresses.ts';

function stranger(number: number): Stranger {
  return { reason: 'stranger', outer: ip(`198.51.100.${number}`), inner: undefined };
}

test('who is seen again keeps the time of the first time, and comes first', async (t) => {
  const clock = new VirtualClock(1_000);
  const strangers = new PathStrangers(clock);
  strangers.saw([stranger(1), stranger(2)]);
  await clock.advance(500);
  strangers.saw([stranger(1)]);
  t.deepEqual(
    strangers.list().map(({ outer, first, last }) => [outer, first, last]),
    [
      ['198.51.100.1', 1_000, 1_500],
      ['198.51.100.2', 1_000, 1_000],
    ],
  );
});

test('however many there are, those seen last are kept', (t) => {
  const strangers = new PathStrangers(new VirtualClock());
  for (let i = 0; i < 250; i++) strangers.saw([stranger(i)]);
  t.is(strangers.list().length, 32);
  t.is(strangers.list()[0]?.outer, ip('198.51.100.249'));
  t.is(strangers.list()[31]?.outer, ip('198.51.100.218'));
});

test('one who does two things is two', (t) => {
  const strangers = new PathStrangers(new VirtualClock());
  strangers.saw([stranger(1), { ...stranger(1), reason: 'spoofed', inner: ip('10.99.2.1') }]);
  t.is(strangers.list().length, 2);
});
