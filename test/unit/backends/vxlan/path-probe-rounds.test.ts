import test from 'ava';
import { type Heard, Rounds } from '../../../../backends/vxlan/path-probe-rounds.ts';
import { ip, mac } from '../values.ts';

const TARGET = { endpoint: ip('192.0.2.2'), mac: mac('02:00:00:00:05:02'), address: ip('10.5.2.0') };
const SIZES = { small: 86, large: undefined };
const START = { now: 1_000_000, monotonic: 0 };
const SENT = 1_000_000_000_000n;

function at(monotonic: number): { now: number; monotonic: number } {
  return { now: START.now + monotonic, monotonic };
}

function rounds(): Rounds {
  // The first nonce is of ones, the second of twos.
  return new Rounds((count) => Buffer.from(Array.from({ length: count }, (_, i) => 1 + Math.floor(i / 8))));
}

function answer(change: Partial<Heard> = {}): Heard {
  const payload = Buffer.concat([Buffer.alloc(8, 1), Buffer.alloc(4)]);
  return { source: TARGET.address, sequence: 1, payload, at: SENT + 250_000n, ...change };
}

test('an answer ends the round, with the time that the kernel says', (t) => {
  const open = rounds();
  const round = open.begin('two', TARGET, SIZES, START);
  t.is(round.small.sequence, 1);
  open.sent(1, SENT);
  t.deepEqual(open.finished(at(1)), []);
  t.true(open.heard(answer(), at(900)));
  const [over] = open.finished(at(900));
  t.deepEqual(over?.outcome, {
    small: { kind: 'answered', roundTripMs: 0.25 },
    large: undefined,
    isHeard: true,
    askedAt: START.now,
  });
  t.is(open.size, 0);
  t.false(open.heard(answer(), at(901)), 'and no answer counts twice');
});

for (const [what, change] of [
  ['from another address', { source: ip('10.5.3.0') }],
  ['of another sequence', { sequence: 2 }],
  ['with another nonce', { payload: Buffer.alloc(12, 2) }],
  ['with half a nonce', { payload: Buffer.alloc(4, 1) }],
  ['without any', { payload: Buffer.alloc(0) }],
] as const) {
  test(`an answer ${what} is none`, (t) => {
    const open = rounds();
    open.begin('two', TARGET, SIZES, START);
    open.sent(1, SENT);
    t.false(open.heard(answer(change), at(1)));
    t.deepEqual(
      open.finished(at(3_000)).map(({ outcome }) => outcome.small.kind),
      ['missed'],
    );
  });
}

for (const [what, stamp, passed] of [
  ['was not told', undefined, 900],
  ['lies before the question', SENT - 1n, 900],
  ['lies further on than time has passed', SENT + 910_000_000n, 900],
] as const) {
  test(`an answer whose time ${what} has no round trip`, (t) => {
    const open = rounds();
    open.begin('two', TARGET, SIZES, START);
    open.sent(1, SENT);
    t.true(open.heard(answer({ at: stamp }), at(passed)));
    t.deepEqual(open.finished(at(passed))[0]?.outcome.small, { kind: 'answered', roundTripMs: undefined });
  });
}

test('what this host could not send says so; too large is known at once', (t) => {
  const open = rounds();
  const { small, large } = open.begin('two', TARGET, { small: 86, large: 1_500 }, START);
  open.refused(large?.sequence ?? 0, 'EMSGSIZE');
  t.deepEqual(open.finished(at(1)), [], 'the small one may still be answered');
  open.refused(small.sequence, 'ENETUNREACH');
  const [over] = open.finished(at(2));
  t.deepEqual(over?.outcome.small, { kind: 'refused', errno: 'ENETUNREACH' });
  t.deepEqual(over?.outcome.large, { bytes: 1_500, kind: 'tooLarge' });
});

test('a large one that another reason kept here says nothing of sizes', (t) => {
  const open = rounds();
  const { large } = open.begin('two', TARGET, { small: 86, large: 1_500 }, START);
  open.refused(large?.sequence ?? 0, 'ENOBUFS');
  t.is(open.finished(at(3_000))[0]?.outcome.large, undefined);
});

test('sequence numbers go round, past what is still open', (t) => {
  const open = rounds();
  const first = open.begin('first', TARGET, SIZES, START);
  const seen = new Set([first.small.sequence]);
  for (let i = 0; i < 70_000; i += 1) {
    const { small } = open.begin('other', TARGET, SIZES, START);
    t.not(small.sequence, first.small.sequence);
    seen.add(small.sequence);
  }
  t.is(seen.size, 0x10000);
  t.is(open.size, 2);
});

test('an answer to the introduction is heard, and is no answer to the question', (t) => {
  const open = rounds();
  const { introduction } = open.begin('two', TARGET, { ...SIZES, isIntroduced: true }, START);
  t.true(open.heard(answer({ sequence: introduction?.sequence ?? 0, payload: Buffer.alloc(8, 2) }), at(1)));
  t.deepEqual(open.finished(at(1)), []);
  t.deepEqual(open.finished(at(3_000))[0]?.outcome, {
    small: { kind: 'missed' },
    large: undefined,
    isHeard: true,
    askedAt: START.now,
  });
});

test('who leaves is forgotten', (t) => {
  const open = rounds();
  open.begin('two', TARGET, SIZES, START);
  open.drop('two');
  t.false(open.heard(answer(), at(1)));
  t.deepEqual(open.finished(at(9_999)), []);
});
