import assert from 'node:assert/strict';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { settle, VirtualClock } from '../../fakes/clock.ts';
import { type FakeBackup, FakeEtcd } from '../../fakes/etcd.ts';
import type { FakeStore } from '../../fakes/store.ts';
import { Follower } from '../../support/follower.ts';

const RANGE = { key: '/s/', end: '/s0' };

interface Scene {
  readonly clock: VirtualClock;
  readonly etcd: FakeEtcd;
  readonly store: FakeStore;
}

function scene(t: ExecutionContext): Scene {
  const clock = new VirtualClock();
  const etcd = new FakeEtcd(clock);
  t.teardown(() => etcd.stop());
  return { clock, etcd, store: etcd.connect() };
}

function valuesIn(etcd: FakeEtcd): [string, string][] {
  return etcd.range(RANGE).map((kv) => [kv.key, kv.value]);
}

function sorted(values: ReadonlyMap<string, string>): [string, string][] {
  return [...values].sort(([left], [right]) => (left < right ? -1 : 1));
}

test('a snapshot, then events; other ranges are not delivered', async (t) => {
  const { etcd, store, clock } = scene(t);
  etcd.put('/s/a', '1');
  const follower = new Follower(store, RANGE, clock);
  await settle();
  etcd.put('/other', 'x');
  etcd.put('/s/b', '2');
  etcd.delete('/s/a');
  await settle();
  t.is(follower.snapshots.length, 1);
  t.like(follower.snapshots[0], { revision: 2, continuous: false });
  t.deepEqual(
    follower.events.map((event) => event.type),
    ['put', 'delete'],
  );
  t.deepEqual(
    follower.states.map((state) => state.connected),
    [true],
  );
  await follower.stop();
  t.is(clock.sleeping, 0);
});

test('after a cut it goes on with the first event that was not delivered', async (t) => {
  const { etcd, store, clock } = scene(t);
  const follower = new Follower(store, RANGE, clock);
  await settle();
  for (let count = 0; count < 50; count += 1) etcd.put(`/s/${count}`, 'x');
  store.cut();
  for (let count = 50; count < 60; count += 1) etcd.put(`/s/${count}`, 'x');
  await clock.advance(200);
  t.is(follower.snapshots.length, 1);
  t.is(follower.events.length, 60);
  t.deepEqual(follower.faults, []);
  t.deepEqual(
    follower.states.map((state) => state.connected),
    [true, false, true],
  );
  await follower.stop();
});

test('progress moves the resume point, so that a compaction after it costs no listing', async (t) => {
  const { etcd, store, clock } = scene(t);
  const follower = new Follower(store, RANGE, clock);
  await settle();
  for (let count = 0; count < 5; count += 1) etcd.put('/other', String(count));
  store.progress();
  await settle();
  etcd.compact();
  store.cut();
  await clock.advance(200);
  t.is(store.calls.list, 1);
  t.true(follower.isConnected);
  await follower.stop();
});

test('history that was compacted away meanwhile: a new snapshot, which may be believed', async (t) => {
  const { etcd, store, clock } = scene(t);
  etcd.put('/s/a', '1');
  etcd.put('/s/b', '1');
  const follower = new Follower(store, RANGE, clock);
  await settle();
  store.reachable = false;
  etcd.delete('/s/a');
  etcd.compact();
  await clock.advance(5000);
  store.reachable = true;
  await clock.advance(5000);
  t.deepEqual(
    follower.snapshots.map((snapshot) => snapshot.continuous),
    [false, true],
  );
  t.deepEqual(follower.events, []);
  t.deepEqual(sorted(follower.values), valuesIn(etcd));
  await follower.stop();
});

test('a store that went back, and one of another cluster: a snapshot that may not be believed', async (t) => {
  const { etcd, store, clock } = scene(t);
  const backup = etcd.backup();
  etcd.put('/s/a', '1');
  const follower = new Follower(store, RANGE, clock);
  await settle();
  etcd.restore(backup);
  await clock.advance(5000);
  t.deepEqual(
    follower.snapshots.map((snapshot) => snapshot.continuous),
    [false, false],
  );
  etcd.restore({ clusterId: '42', revision: 1000, kvs: etcd.kvs });
  await clock.advance(5000);
  t.is(follower.snapshots.at(-1)?.continuous, false);
  t.is(follower.snapshots.at(-1)?.clusterId, '42');
  etcd.compact();
  store.cut();
  etcd.put('/s/b', '1');
  await clock.advance(5000);
  t.deepEqual(sorted(follower.values), valuesIn(etcd));
  t.is(follower.snapshots.length, 3);
  await follower.stop();
});

test('a store that went back and was written past our revision meanwhile is another one', async (t) => {
  for (const change of ['put', 'delete'] as const) {
    const { etcd, store, clock } = scene(t);
    etcd.put('/s/stays', '1');
    const backup = etcd.backup();
    const follower = new Follower(store, RANGE, clock);
    await settle();
    etcd.put('/s/after', 'before');
    if (change === 'delete') etcd.delete('/s/after');
    await settle();
    store.reachable = false;
    etcd.restore(backup);
    for (let count = 0; count < 20; count += 1) etcd.put('/s/after', 'another');
    store.reachable = true;
    await clock.advance(3000);
    t.deepEqual(
      follower.snapshots.map(({ continuous }) => continuous),
      [false, false],
      change,
    );
    t.deepEqual(sorted(follower.values), valuesIn(etcd));
    await follower.stop();
  }
});

test('compacted as well: known by the key that was changed last, as far as it still tells', async (t) => {
  const { etcd, store, clock } = scene(t);
  const backup = etcd.backup();
  const follower = new Follower(store, RANGE, clock);
  await settle();
  etcd.put('/other', '1');
  etcd.put('/s/a', '1');
  await settle();
  store.reachable = false;
  etcd.restore(backup);
  etcd.put('/s/a', '1');
  etcd.compact(etcd.put('/other', '1'));
  etcd.compact(etcd.put('/other', '1'));
  store.reachable = true;
  await clock.advance(3000);
  t.is(follower.snapshots.at(-1)?.continuous, false);
  await follower.stop();
});

test('another connection: the watch goes on at once, and nobody is told', async (t) => {
  const { etcd, store, clock } = scene(t);
  const follower = new Follower(store, RANGE, clock);
  await settle();
  etcd.put('/s/a', '1');
  store.renew();
  await settle();
  etcd.put('/s/b', '1');
  await settle();
  t.deepEqual([store.calls.watch, store.calls.list, follower.states.length, clock.sleeping], [2, 1, 1, 1]);
  t.deepEqual(sorted(follower.values), valuesIn(etcd));
  await follower.stop();
});

test('where it is forbidden it rests as long as it was told to', async (t) => {
  const { store, clock } = scene(t);
  store.deny('/s/');
  const follower = new Follower(store, RANGE, clock, { forbiddenPauseMs: 300_000 });
  await clock.advance(3_600_000);
  t.true(store.calls.list > 8 && store.calls.list < 18, String(store.calls.list));
  store.allow();
  await clock.advance(600_000);
  t.true(follower.isConnected);
  store.deny('/s/');
  store.cut();
  await clock.advance(1_000);
  const { listAt } = store.calls;
  await clock.advance(60_000);
  t.is(store.calls.listAt, listAt, 'the right was taken away later');
  await follower.stop();
});

test('going back is noticed by the newest revision seen, not only by the last one delivered', async (t) => {
  const { etcd, store, clock } = scene(t);
  const follower = new Follower(store, RANGE, clock);
  await settle();
  for (let count = 0; count < 20; count += 1) etcd.put('/other', String(count));
  store.cut();
  await clock.advance(200);
  etcd.restore({ revision: 10 });
  await clock.advance(1000);
  t.deepEqual(
    follower.snapshots.map((snapshot) => snapshot.continuous),
    [false, false],
  );
  await follower.stop();
});

test('a store known from an earlier process makes the first snapshot believable', async (t) => {
  const { etcd, store, clock } = scene(t);
  const known = etcd.version;
  etcd.put('/s/a', '1');
  const first = new Follower(store, RANGE, clock, { known });
  const second = new Follower(store, RANGE, clock, { known: { ...known, revision: 99 } });
  await settle();
  t.true(first.snapshots[0]?.continuous);
  t.false(second.snapshots[0]?.continuous);
  await Promise.all([first.stop(), second.stop()]);
});

test('refused: said once, tried again ever more rarely, every two seconds in the end', async (t) => {
  const { store, clock } = scene(t);
  store.deny('/s/');
  const follower = new Follower(store, RANGE, clock);
  await clock.advance(60_000);
  t.is(follower.states.length, 1);
  t.like(follower.states[0], { connected: false, since: clock.now() - 60_000, error: { code: 'ETCD_REFUSED' } });
  t.true(store.calls.list > 25 && store.calls.list < 45, String(store.calls.list));
  store.allow();
  await clock.advance(3000);
  t.true(follower.isConnected);
  await follower.stop();
});

test('away: said once, tried again every second, also where it refused us before', async (t) => {
  const { store, clock } = scene(t);
  store.deny('/s/');
  const follower = new Follower(store, RANGE, clock);
  await clock.advance(60_000);
  store.allow();
  store.reachable = false;
  await clock.advance(60_000);
  t.is(follower.states.length, 2);
  const { list } = store.calls;
  await clock.advance(60_000);
  const tries = store.calls.list - list;
  t.true(tries > 45 && tries < 90, String(tries));
  store.reachable = true;
  await clock.advance(1400);
  t.true(follower.isConnected);
  await follower.stop();
});

test('a watch that is silent for too long is opened anew', async (t) => {
  const { etcd, store, clock } = scene(t);
  const follower = new Follower(store, RANGE, clock, { progressTimeoutMs: 60_000 });
  await clock.advance(50_000);
  etcd.put('/s/a', '1');
  await clock.advance(50_000);
  t.is(store.calls.watch, 1);
  await clock.advance(20_000);
  t.is(store.calls.watch, 2);
  t.is(store.calls.list, 1);
  t.true(follower.isConnected);
  await follower.stop();
});

/** How many of 200 agents are back in each tenth of `ms` after all lost their watches; the rest at the end. */
async function comeBack({ etcd, store, clock }: Scene, fleet: number, ms: number, compact: boolean) {
  etcd.put('/s/a', '1');
  const followers = Array.from({ length: 200 }, () => new Follower(store, RANGE, clock, { fleet: () => fleet }));
  await settle();
  etcd.put('/other', 'x');
  etcd.put('/other', 'y');
  store.cut();
  if (compact) etcd.compact();
  const tenths: number[] = [];
  let before = 0;
  for (let i = 0; i < 10; i += 1) {
    await clock.advance(ms / 10);
    const back = followers.filter(({ isConnected }) => isConnected).length;
    tenths.push(back - before);
    before = back;
  }
  await Promise.all(followers.map((follower) => follower.stop()));
  return tenths;
}

test('agents that all lost their watches come back one after another, the slower the more they are', async (t) => {
  const few = await comeBack(scene(t), 100, 200, false);
  t.is(
    few.reduce((sum, one) => sum + one),
    200,
  );
  const many = await comeBack(scene(t), 10_000, 2200, false);
  t.is(
    many.reduce((sum, one) => sum + one),
    200,
  );
  // 22 each on average, with a standard deviation below 5.
  t.true(Math.max(...many) < 44, many.join(' '));
});

test('where history was compacted away they list one after another, within 25 s however many they are', async (t) => {
  for (const fleet of [10_000, 100_000]) {
    const { store, ...rest } = scene(t);
    const back = await comeBack({ store, ...rest }, fleet, 60_000, true);
    t.is(store.calls.list, 400);
    t.deepEqual(back.slice(7), [0, 0, 0]);
    t.is(
      back.reduce((sum, one) => sum + one),
      200,
    );
    t.true(Math.max(...back) < 120, back.join(' '));
  }
});

test('what a handler throws ends the loop, from a snapshot and from an event', async (t) => {
  const { etcd, store, clock } = scene(t);
  const fail = (): never => {
    throw new TypeError('handler');
  };
  const first = new Follower(store, RANGE, clock, { onSnapshot: fail });
  await t.throwsAsync(first.done, { instanceOf: TypeError });
  const second = new Follower(store, RANGE, clock, { onEvents: fail });
  await settle();
  etcd.put('/s/a', '1');
  await t.throwsAsync(second.done, { instanceOf: TypeError });
  t.is(clock.sleeping, 0);
});

test('stopped at any moment it resolves, and says nothing more', async (t) => {
  const { etcd, store, clock } = scene(t);
  for (let turns = 0; turns < 12; turns += 1) {
    const follower = new Follower(store, RANGE, clock);
    for (let turn = 0; turn < turns; turn += 1) await Promise.resolve();
    await follower.stop();
    const heard = follower.events.length + follower.snapshots.length + follower.states.length;
    etcd.put('/s/a', String(turns));
    await clock.advance(5000);
    t.is(follower.events.length + follower.snapshots.length + follower.states.length, heard);
  }
  t.is(clock.sleeping, 0);
});

interface World extends Scene {
  backup: FakeBackup;
  count: number;
}

type Step = (world: World) => void | Promise<void>;

const STEPS: Readonly<Record<string, Step>> = {
  other: ({ etcd }) => void etcd.put('/other', 'x'),
  cut: ({ store }) => store.cut(),
  compact: ({ etcd }) => etcd.compact(),
  progress: ({ store }) => store.progress(),
  fail: ({ store }) => store.failNext(),
  settle: () => settle(),
  lose: ({ store }) => {
    store.reachable = false;
  },
  find: ({ store }) => {
    store.reachable = true;
  },
  save: (world) => {
    world.backup = world.etcd.backup();
  },
  // The delete at the very revision of the compaction, which etcd forgets.
  bury: ({ etcd, store }) => {
    store.cut();
    etcd.delete(etcd.range(RANGE)[0]?.key ?? '/s/0');
    etcd.compact();
  },
  // Its writers may be back before the follower is. By the last change in its range it sees that this is another store;
  // writes elsewhere after that one would tell nothing.
  restore: async ({ etcd, store, clock, backup }) => {
    store.reachable = true;
    await clock.advance(20_000);
    etcd.put('/s/0', 'last');
    await clock.advance(5_000);
    store.reachable = false;
    await clock.advance(5_000);
    etcd.restore(backup);
    store.reachable = true;
  },
};

const put = fc.nat(6).map((key): [string, Step] => [
  `put ${key}`,
  (world) => {
    world.count += 1;
    world.etcd.put(`/s/${key}`, String(world.count));
  },
]);
const remove = fc.nat(6).map((key): [string, Step] => [`delete ${key}`, ({ etcd }) => void etcd.delete(`/s/${key}`)]);
const pass = fc.nat(3000).map((ms): [string, Step] => [`pass ${ms}`, ({ clock }) => clock.advance(ms)]);
const step = fc.oneof(
  { weight: 8, arbitrary: put },
  { weight: 4, arbitrary: remove },
  { weight: 3, arbitrary: pass },
  { weight: 8, arbitrary: fc.constantFrom(...Object.entries(STEPS)) },
);

test('whatever is cut, compacted and restored in between, the follower ends with what the store holds', async (t) => {
  t.timeout(60_000);
  const run = async (steps: readonly [string, Step][]): Promise<void> => {
    const start = scene(t);
    const { clock, etcd, store } = start;
    const world: World = { ...start, backup: etcd.backup(), count: 0 };
    const follower = new Follower(store, RANGE, clock);
    for (const [, perform] of steps) await perform(world);
    store.reachable = true;
    await clock.advance(20_000);
    const values = sorted(follower.values);
    const ended = follower.isConnected;
    await follower.stop();
    etcd.stop();
    if (!ended || follower.faults.length > 0) throw new Error(`connected: ${ended}, ${follower.faults.join()}`);
    assert.deepEqual(values, valuesIn(etcd));
  };
  await t.notThrowsAsync(fc.assert(fc.asyncProperty(fc.array(step, { maxLength: 60 }), run), { numRuns: 500 }));
});
