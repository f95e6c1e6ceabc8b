import test from 'ava';
import { StoreGrace } from '../../../agent/store-grace.ts';
import type { KeyValue, StoreVersion } from '../../../leases/store.ts';
import { VirtualClock } from '../../fakes/clock.ts';

const KNOWN: StoreVersion = { clusterId: '1', revision: 10 };
const NEXT: StoreVersion = { clusterId: '1', revision: 12 };
const MINUTE = 60_000;

/** After the first list. */
function scene(known: StoreVersion | undefined, continuous: boolean) {
  const clock = new VirtualClock();
  const grace = new StoreGrace(clock, known);
  const isOther = grace.listed(NEXT, continuous);
  return { clock, grace, isOther };
}

for (const [title, known, continuous, expected] of [
  ['the store that was known', KNOWN, true, { isOther: false, atOnce: true, settled: NEXT }],
  ['another one than was known', KNOWN, false, { isOther: true, atOnce: false, settled: undefined }],
  ['none was known', undefined, false, { isOther: false, atOnce: false, settled: NEXT }],
] as const) {
  test(`the first list: ${title}`, (t) => {
    const { grace, isOther } = scene(known, continuous);
    t.deepEqual({ isOther, atOnce: grace.serve(), settled: grace.settledVersion }, expected);
  });
}

test('before any list nothing is known, and there is no end to wait for', (t) => {
  const grace = new StoreGrace(new VirtualClock(), KNOWN);
  t.deepEqual([grace.version, grace.settledVersion, grace.serve()], [undefined, undefined, false]);
  t.is(grace.endsAt, Number.POSITIVE_INFINITY);
  t.false(grace.end());
});

test('the grace ends after a minute, once', async (t) => {
  const { clock, grace } = scene(KNOWN, false);
  grace.serve();
  await clock.advance(MINUTE - 1);
  t.false(grace.end());
  await clock.advance(1);
  t.is(grace.settledVersion, undefined, 'what is left over is not removed yet');
  t.true(grace.end());
  t.deepEqual(grace.settledVersion, NEXT);
  await clock.advance(MINUTE);
  t.false(grace.end());
});

test('where nobody removes anything, the time alone settles it', async (t) => {
  const { clock, grace } = scene(KNOWN, false);
  await clock.advance(MINUTE);
  t.deepEqual(grace.settledVersion, NEXT);
});

test('a list that goes on does not shorten the grace; another store begins it anew', async (t) => {
  const { clock, grace } = scene(KNOWN, false);
  await clock.advance(MINUTE / 2);
  grace.listed({ ...NEXT, revision: 13 }, true);
  t.is(grace.endsAt, MINUTE);
  grace.listed({ ...NEXT, revision: 3 }, false);
  t.is(grace.endsAt, MINUTE * 1.5);
});

test('a store restored while it is followed leaves the kernel alone, and is settled after its minute', async (t) => {
  const { clock, grace } = scene(KNOWN, true);
  t.true(grace.serve());
  t.true(grace.listed({ ...NEXT, revision: 3 }, false));
  t.is(grace.endsAt, Number.POSITIVE_INFINITY);
  t.is(grace.settledVersion, undefined);
  await clock.advance(MINUTE);
  t.deepEqual(grace.settledVersion, { ...NEXT, revision: 3 });
});

test('what is heard moves the version on', (t) => {
  const { grace } = scene(KNOWN, true);
  grace.heard(20);
  t.deepEqual(
    [grace.version, grace.trust?.version],
    [
      { ...NEXT, revision: 20 },
      { ...NEXT, revision: 20 },
    ],
  );
});

const KV: KeyValue = { key: 'k', value: '', createRevision: 5, modRevision: 12, lease: '0' };

for (const [title, listing, before, isHeard] of [
  ['of no more than was heard', { ...NEXT, revision: 15, kvs: [KV] }, NEXT, true],
  ['of more than was heard', { ...NEXT, revision: 15, kvs: [{ ...KV, modRevision: 13 }] }, NEXT, false],
  ['made before another store was seen', { ...NEXT, kvs: [KV] }, { clusterId: '2', revision: 1 }, false],
  ['of a store that went back since', { ...NEXT, revision: 11, kvs: [] }, NEXT, false],
  ['made before anything was seen', { ...NEXT, kvs: [] }, undefined, false],
] as const) {
  test(`a listing ${title}: everything was ${isHeard ? '' : 'not '}heard`, (t) => {
    t.is(scene(KNOWN, true).grace.hasHeard(listing, before), isHeard);
  });
}
