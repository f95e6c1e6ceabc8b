import test from 'ava';
import { LeaseClock, LOOK_MS } from '../../../leases/lease-clock.ts';
import { VirtualClock } from '../../fakes/clock.ts';

const MINUTE = 60_000;

/** A lease of ten minutes whose clock was looked at this moment. */
function scene() {
  const clock = new VirtualClock();
  return { clock, lease: new LeaseClock(clock, clock.now() + 10 * MINUTE) };
}

for (const [title, passedMs, setByMs, sleeps] of [
  ['a look in time', LOOK_MS, 0, 0],
  ['a look that a busy host delays', LOOK_MS + 3_000, 0, 0],
  ['a look that comes too late: the process was stopped', LOOK_MS + 3_001, 0, 1],
  ['the wall clock corrected by a little', LOOK_MS, 3_000, 0],
  ['the wall clock set forward, or a host suspended while its monotonic clock stood', LOOK_MS, 3_001, 1],
  ['the wall clock set back', LOOK_MS, -3_001, 1],
  ['both at once are one sleep', MINUTE, MINUTE, 1],
] as const) {
  test(title, async (t) => {
    const { clock, lease } = scene();
    await clock.advance(passedMs);
    clock.setWall(clock.now() + setByMs);
    t.is(lease.look(), sleeps);
    t.is(lease.look(), sleeps, 'noticed once');
    t.is(lease.isSure(), sleeps === 0);
    lease.awake();
    t.true(lease.isSure());
  });
}

/** Looks as often as it should. */
async function pass({ clock, lease }: ReturnType<typeof scene>, ms: number): Promise<void> {
  for (let passed = 0; passed < ms; passed += LOOK_MS) {
    await clock.advance(LOOK_MS);
    lease.look();
  }
}

test('a lease that ran out is not sure until it is extended', async (t) => {
  const it = scene();
  await pass(it, 10 * MINUTE - LOOK_MS);
  t.true(it.lease.isSure());
  await pass(it, LOOK_MS);
  t.false(it.lease.isSure());
  it.lease.extend(it.clock.now() + MINUTE);
  t.true(it.lease.isSure());
});

test('a wall clock that is set back does not lengthen the lease, one set forward does not end it', async (t) => {
  for (const setByMs of [-MINUTE, MINUTE]) {
    const it = scene();
    it.clock.setWall(it.clock.now() + setByMs);
    it.lease.look();
    it.lease.awake();
    await pass(it, 10 * MINUTE - LOOK_MS);
    t.true(it.lease.isSure());
    await pass(it, LOOK_MS);
    t.false(it.lease.isSure());
  }
});

test('a reservation never runs out', async (t) => {
  const it = scene();
  it.lease.extend(Number.POSITIVE_INFINITY);
  await pass(it, 20 * MINUTE);
  t.true(it.lease.isSure());
});
