import test from 'ava';
import fc from 'fast-check';
import {
  afterRound,
  isHasty,
  type LargeOutcome,
  largeBytes,
  lossesOf,
  NEW_PATH,
  type Path,
  type RoundOutcome,
  type Sizes,
  settledBytes,
  withoutSizes,
} from '../../../../backends/vxlan/path-probe-state.ts';

const SIZES: Sizes = { small: 86, full: 1_500, hint: undefined };
const ANSWERED = { kind: 'answered', roundTripMs: 1 } as const;
const MISSED = { kind: 'missed' } as const;

function round(small: RoundOutcome['small'], askedAt = 0, large?: LargeOutcome): RoundOutcome {
  return { small, large, isHeard: small.kind === 'answered' || large?.kind === 'answered', askedAt };
}

function after(path: Path, ...outcomes: readonly RoundOutcome[]): Path {
  return outcomes.reduce((before, outcome) => afterRound(before, outcome, SIZES), path);
}

/** What a path that carries `mtu` bytes (to where packets of `local` can be sent) makes of the next round. */
function asked(path: Path, mtu: number, sizes = SIZES, local = 9_000): { path: Path; bytes: number | undefined } {
  const bytes = largeBytes(path, sizes);
  const kind =
    bytes === undefined || bytes <= Math.min(mtu, local) ? 'answered' : bytes > local ? 'tooLarge' : 'missed';
  return {
    path: afterRound(path, round(ANSWERED, 0, bytes === undefined ? undefined : { bytes, kind }), sizes),
    bytes,
  };
}

/** How many rounds it takes until the path MTU is known. */
function settle(path: Path, mtu: number, sizes = SIZES, local?: number): { path: Path; rounds: number } {
  let current = path;
  for (let rounds = 1; rounds < 200; rounds += 1) {
    current = asked(current, mtu, sizes, local).path;
    if (settledBytes(current, sizes) !== undefined && !isHasty(current)) return { path: current, rounds };
  }
  throw new Error('never settled');
}

test('answers once: answering since then', (t) => {
  const path = after(NEW_PATH, round(ANSWERED, 5), round(ANSWERED, 9));
  t.is(path.state, 'answering');
  t.is(path.since, 5);
  t.is(path.heard, 9);
});

test('never heard: unknown, and after three rounds silent, ever since it is asked', (t) => {
  const twice = after(NEW_PATH, round(MISSED, 5), round(MISSED, 6));
  t.is(twice.state, 'unknown');
  t.true(isHasty(twice), 'asked again at once');
  const path = after(twice, round(MISSED, 7));
  t.is(path.state, 'silent');
  t.is(path.since, undefined);
  t.is(path.heard, undefined);
  t.false(isHasty(path));
});

test('silent since the first question that was not answered, and answering again with the first that is', (t) => {
  const heard = after(NEW_PATH, round(ANSWERED, 1));
  const silent = after(heard, round(MISSED, 60), round(MISSED, 61), round(MISSED, 62), round(MISSED, 120));
  t.is(silent.state, 'silent');
  t.is(silent.since, 60);
  t.is(silent.heard, 1);
  t.is(lossesOf(silent), 4);
  const again = after(silent, round(ANSWERED, 180));
  t.is(again.state, 'answering');
  t.is(again.since, 180);
  t.is(again.misses, 0);
});

test('a single loss is a loss and no more', (t) => {
  const path = after(NEW_PATH, round(ANSWERED, 1), round(MISSED, 2), round(ANSWERED, 3));
  t.is(path.state, 'answering');
  t.is(path.since, 1);
  t.deepEqual([path.asked, lossesOf(path)], [3, 1]);
});

test('an answer to the large packet alone is an answer', (t) => {
  const path = after(NEW_PATH, round(ANSWERED), round(MISSED, 2, { bytes: 1_500, kind: 'answered' }));
  t.is(path.misses, 0);
  t.is(lossesOf(path), 1);
  t.is(path.crosses, 1_500);
});

test('a plain ping that is answered keeps a peer from being called silent', (t) => {
  const heardOtherwise = { ...round(MISSED, 2), isHeard: true };
  const path = after(NEW_PATH, round(MISSED, 1), heardOtherwise, round(MISSED, 3), heardOtherwise, round(MISSED, 4));
  t.is(path.state, 'answering');
  t.is(path.since, 2);
  t.is(lossesOf(path), 5);
});

test('losses are those of the last 32', (t) => {
  const losing = after(NEW_PATH, ...Array.from({ length: 40 }, () => round(MISSED)));
  t.deepEqual([losing.asked, lossesOf(losing)], [32, 32]);
  const better = after(losing, ...Array.from({ length: 30 }, () => round(ANSWERED)));
  t.deepEqual([better.asked, lossesOf(better)], [32, 2]);
  t.is(lossesOf(after(better, round(ANSWERED), round(ANSWERED))), 0);
});

test('the round trip is smoothed; one that is not known leaves it as it was', (t) => {
  const path = after(
    NEW_PATH,
    round({ kind: 'answered', roundTripMs: 8 }),
    round({ kind: 'answered', roundTripMs: 16 }),
    round({ kind: 'answered', roundTripMs: undefined }),
  );
  t.is(path.roundTripMs, 16);
  t.is(path.smoothedMs, 9);
});

test('what could not be sent says nothing of the peer', (t) => {
  const answering = after(NEW_PATH, round(ANSWERED, 1));
  const refused = { kind: 'refused', errno: 'ENETUNREACH' } as const;
  const path = after(answering, ...Array.from({ length: 5 }, () => round(refused, 2)));
  t.deepEqual(path, { ...answering, refused: 'ENETUNREACH', haste: 0 });
  t.is(after(path, round(ANSWERED, 3)).refused, undefined);
});

test('a path of full size is known with the second round, and looked at every five', (t) => {
  const first = asked(NEW_PATH, 1_500);
  t.is(first.bytes, undefined, 'nobody has answered yet');
  let { path, bytes } = asked(first.path, 1_500);
  t.is(bytes, 1_500);
  t.is(settledBytes(path, SIZES), 1_500);
  const larges: (number | undefined)[] = [];
  for (let i = 0; i < 12; i += 1) {
    ({ path, bytes } = asked(path, 1_500));
    t.false(isHasty(path));
    larges.push(bytes);
  }
  const x = undefined;
  t.deepEqual(larges, [x, x, x, x, x, 1_500, x, x, x, x, x, 1_500]);
});

for (const mtu of [1_499, 1_450, 1_400, 1_280, 576, 100, 87]) {
  test(`a path of ${mtu} is found, to the byte`, (t) => {
    const { path, rounds } = settle(NEW_PATH, mtu);
    t.is(settledBytes(path, SIZES), mtu);
    t.true(rounds < 40, `${rounds} rounds`);
    const hinted = settle(NEW_PATH, mtu, { ...SIZES, hint: mtu });
    t.is(settledBytes(hinted.path, SIZES), mtu);
    t.true(hinted.rounds <= 6, `${hinted.rounds} rounds`);
    t.is(settledBytes(settle(NEW_PATH, 1_500, SIZES, mtu).path, SIZES), mtu, 'also where it is the host that says so');
  });
}

test('one large packet that is lost is asked again', (t) => {
  const known = settle(NEW_PATH, 1_500).path;
  const lost = after(known, round(ANSWERED, 0, { bytes: 1_500, kind: 'missed' }));
  t.is(settledBytes(lost, SIZES), 1_500);
  t.true(isHasty(lost));
  t.is(largeBytes(lost, SIZES), 1_500);
});

test('large packets that are lost along with small ones say nothing of sizes', (t) => {
  const known = settle(NEW_PATH, 1_500).path;
  const lost = after(known, ...Array.from({ length: 5 }, () => round(MISSED, 0, { bytes: 1_500, kind: 'missed' })));
  t.is(settledBytes(lost, SIZES), 1_500);
  t.is(largeBytes(lost, SIZES), undefined, 'nor is a silent peer asked');
});

test('a path becomes smaller, smaller still, and larger: each is noticed', (t) => {
  let path = settle(NEW_PATH, 1_500).path;
  for (const mtu of [1_400, 1_300, 1_301, 1_450, 1_500]) {
    for (let i = 0; i < 60; i += 1) path = asked(path, mtu).path;
    t.is(settledBytes(path, SIZES), mtu);
  }
});

test('where the device itself sends other sizes, all begins anew', (t) => {
  const path = withoutSizes(settle(NEW_PATH, 1_400).path);
  t.is(settledBytes(path, SIZES), undefined);
  t.is(path.state, 'answering');
  t.is(largeBytes(path, { ...SIZES, full: 1_350 }), 1_350);
});

const outcome = fc.record({
  small: fc.constantFrom<RoundOutcome['small'][]>(ANSWERED, MISSED, { kind: 'refused', errno: 'EPERM' }),
  large: fc.constantFrom<LargeOutcome['kind'][]>('answered', 'missed', 'tooLarge'),
});

test('property: whatever is answered, sizes stay between the smallest and the full one, and haste ends', (t) => {
  fc.assert(
    fc.property(fc.array(outcome, { maxLength: 300 }), (outcomes) => {
      let path = NEW_PATH;
      let hasty = 0;
      for (const { small, large } of outcomes) {
        const bytes = largeBytes(path, SIZES);
        t.true(bytes === undefined || (bytes > SIZES.small && bytes <= SIZES.full));
        path = after(path, round(small, 1, bytes === undefined ? undefined : { bytes, kind: large }));
        const settled = settledBytes(path, SIZES);
        t.true(settled === undefined || (settled >= SIZES.small && settled <= SIZES.full));
        t.true(path.fails === undefined || path.fails > path.crosses);
        t.true(lossesOf(path) >= 0 && lossesOf(path) <= path.asked);
        if (path.state === 'silent') t.true(path.misses >= 3);
        hasty = isHasty(path) ? hasty + 1 : 0;
        t.true(hasty <= 60);
      }
    }),
  );
});

test('property: with up to a third of all packets lost the path MTU found is never larger than the true one', (t) => {
  const losses = fc.array(fc.tuple(fc.nat(2), fc.nat(2)), { minLength: 100, maxLength: 100 });
  fc.assert(
    fc.property(fc.integer({ min: 90, max: 1_500 }), losses, (mtu, rounds) => {
      let path = NEW_PATH;
      for (const [small, large] of rounds) {
        const bytes = largeBytes(path, SIZES);
        const kind = bytes !== undefined && bytes <= mtu && large > 0 ? 'answered' : 'missed';
        path = after(path, round(small > 0 ? ANSWERED : MISSED, 1, bytes === undefined ? undefined : { bytes, kind }));
        t.true((settledBytes(path, SIZES) ?? 0) <= mtu);
      }
      for (let i = 0; i < 400; i += 1) path = asked(path, mtu).path;
      t.is(settledBytes(path, SIZES), mtu, 'and it is exact once nothing is lost');
    }),
  );
});
