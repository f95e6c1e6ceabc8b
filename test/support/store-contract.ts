/** What every Store must do: the same cases for the one in memory and for the real etcd. */
import type { ExecutionContext } from 'ava';
import { TartanError } from '../../config/errors.ts';
import type { Compare, KeyRange, Store, StoreEvent, StoreVersion } from '../../leases/store.ts';

export interface Subject {
  readonly store: Store;
  /** Lets `seconds` pass for etcd leases. */
  pass(seconds: number): Promise<void>;
  compact(revision: number): Promise<void>;
}

type Declare = (title: string, run: (t: ExecutionContext) => Promise<void>) => void;
type Start = (t: ExecutionContext) => Promise<Subject>;
type Case = (t: ExecutionContext, subject: Subject) => Promise<void>;

const RANGE: KeyRange = { key: '/c/', end: '/c0' };

function put(store: Store, key: string, value: string, lease = '0'): Promise<StoreVersion> {
  return store.txn({ compare: [], success: [{ put: key, value, lease }], failure: [] });
}

function remove(store: Store, key: string): Promise<StoreVersion> {
  return store.txn({ compare: [], success: [{ delete: key }], failure: [] });
}

async function reasonOf(work: Promise<unknown>): Promise<unknown> {
  return work.then(
    () => 'no error',
    (error: unknown) => (error instanceof TartanError ? error.data['reason'] : error),
  );
}

/** A watch whose reports are kept, and can be waited for. */
class Recorder {
  readonly events: StoreEvent[] = [];
  readonly revisions: number[] = [];
  created: StoreVersion | undefined;
  readonly ends: { readonly compacted: boolean; readonly reason: string }[] = [];
  readonly stop: () => void;
  #waiting: (() => void)[] = [];

  constructor(store: Store, range: KeyRange, from: number) {
    this.stop = store.watch(range, from, {
      onCreated: (version) => this.#note(() => (this.created = version)),
      onEvents: (events, version) =>
        this.#note(() => {
          this.events.push(...events);
          this.revisions.push(version.revision);
        }),
      onEnd: (why) => this.#note(() => this.ends.push(why)),
    });
  }

  async until(holds: () => boolean): Promise<void> {
    while (!holds()) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  #note(work: () => unknown): void {
    work();
    for (const wake of this.#waiting.splice(0)) wake();
  }
}

const CASES: Readonly<Record<string, Case>> = {
  'get: a key that is there, one that is not': async (t, { store }) => {
    const { revision } = await put(store, '/c/a', 'wörld');
    const got = await store.get('/c/a');
    t.deepEqual(got.kv, { key: '/c/a', value: 'wörld', createRevision: revision, modRevision: revision, lease: '0' });
    t.is(got.revision, revision);
    t.regex(got.clusterId, /^\d+$/);
    t.is((await store.get('/c/b')).kv, undefined);
  },

  'list: the half-open range in byte order, keys only if asked': async (t, { store }) => {
    for (const key of ['/c/b', '/c/a', '/b/x', '/c0', '/c/z']) await put(store, key, `of ${key}`);
    const all = await store.list(RANGE);
    t.deepEqual(
      all.kvs.map((kv) => kv.key),
      ['/c/a', '/c/b', '/c/z'],
    );
    t.is(all.kvs[0]?.value, 'of /c/a');
    const keys = await store.list({ key: '/c/a', end: '/c/z' }, { keysOnly: true });
    t.deepEqual(
      keys.kvs.map((kv) => [kv.key, kv.value]),
      [
        ['/c/a', ''],
        ['/c/b', ''],
      ],
    );
    t.is(keys.revision, all.revision);
  },

  'list: as it was at a revision; refused where history does not have it': async (t, { store, compact }) => {
    const { revision } = await put(store, '/c/a', '1');
    await put(store, '/c/a', '2');
    const last = await remove(store, '/c/a');
    const valuesAt = async (at: number) => (await store.list(RANGE, { at })).kvs.map(({ value }) => value);
    t.deepEqual(await Promise.all([-1, 0, 1, 2].map((offset) => valuesAt(revision + offset))), [[], ['1'], ['2'], []]);
    const listing = await store.list(RANGE, { at: revision });
    t.deepEqual(
      [listing.revision, listing.clusterId],
      [last.revision, last.clusterId],
      "the store's version is of now",
    );
    t.is(await reasonOf(store.list(RANGE, { at: last.revision + 1 })), 'history');
    await compact(last.revision);
    t.is(await reasonOf(store.list(RANGE, { at: revision })), 'history');
    t.deepEqual(await valuesAt(last.revision), []);
  },

  'txn: every comparison, met and not met': async (t, { store }) => {
    const lease = await store.grant(60);
    const { revision } = await put(store, '/c/k', 'v', lease);
    const holds = async (compare: Compare): Promise<boolean> =>
      (await store.txn({ compare: [compare], success: [], failure: [] })).succeeded;
    t.true(await holds({ key: '/c/k', modRevision: revision }));
    t.false(await holds({ key: '/c/k', modRevision: revision - 1 }));
    t.true(await holds({ key: '/c/none', modRevision: 0 }));
    t.false(await holds({ key: '/c/k', modRevision: 0 }));
    t.true(await holds({ key: '/c/k', value: 'v' }));
    t.false(await holds({ key: '/c/k', value: 'w' }));
    t.false(await holds({ key: '/c/none', value: '' }));
    t.true(await holds({ key: '/c/k', lease }));
    t.false(await holds({ key: '/c/k', lease: '0' }));
    t.true(await holds({ absent: { key: '/c/l', end: '/c/z' } }));
    t.false(await holds({ absent: RANGE }));
    t.true(await holds({ range: RANGE, unchangedSince: revision }));
    t.false(await holds({ range: RANGE, unchangedSince: revision - 1 }));
    t.true(await holds({ range: { key: '/c/l', end: '/c/z' }, unchangedSince: 0 }));
    await put(store, '/c/a', 'w');
    t.false(await holds({ range: RANGE, unchangedSince: revision }));
    await remove(store, '/c/a');
    t.true(await holds({ range: RANGE, unchangedSince: revision }));
    await store.revoke(lease);
  },

  'txn: all comparisons must hold; the branch that ran answers': async (t, { store }) => {
    await put(store, '/c/1', 'one');
    const claim = (value: string) =>
      store.txn({
        compare: [
          { key: '/c/2', modRevision: 0 },
          { key: '/c/1', value: 'one' },
        ],
        success: [{ put: '/c/2', value, lease: '0' }, { delete: '/c/1' }, { get: '/c/1' }],
        failure: [{ get: '/c/2' }, { get: '/c/none' }, { list: RANGE, keysOnly: true }, { list: RANGE }],
      });
    const won = await claim('first');
    t.true(won.succeeded);
    t.deepEqual(won.responses, [[], [], []]);
    const lost = await claim('second');
    t.false(lost.succeeded);
    t.is(lost.revision, won.revision);
    const values = lost.responses.map((kvs) => kvs.map((kv) => `${kv.key}=${kv.value}`));
    t.deepEqual(values, [['/c/2=first'], [], ['/c/2='], ['/c/2=first']]);
  },

  'txn: a put keeps the lease or replaces it': async (t, { store }) => {
    const lease = await store.grant(60);
    await put(store, '/c/k', '1', lease);
    const keep = { put: '/c/k', value: '2', keepLease: true } as const;
    await store.txn({ compare: [], success: [keep], failure: [] });
    t.like((await store.get('/c/k')).kv, { value: '2', lease });
    await put(store, '/c/k', '3');
    t.like((await store.get('/c/k')).kv, { value: '3', lease: '0' });
    await store.revoke(lease);
    t.is((await store.get('/c/k')).kv?.value, '3');
  },

  'txn: what etcd refuses says why, and changes nothing': async (t, { store }) => {
    const dead = await store.grant(60);
    await store.revoke(dead);
    t.is(await reasonOf(put(store, '/c/k', '1', dead)), 'lease');
    const keep = { put: '/c/none', value: '2', keepLease: true } as const;
    t.is(await reasonOf(store.txn({ compare: [], success: [keep], failure: [] })), 'invalid');
    const twice = { put: '/c/k', value: '1', lease: '0' } as const;
    t.is(await reasonOf(store.txn({ compare: [], success: [twice, twice], failure: [] })), 'invalid');
    t.is((await store.list(RANGE)).kvs.length, 0);
  },

  'leases: granted, renewed, looked at, revoked': async (t, { store }) => {
    const lease = await store.grant(60);
    t.regex(lease, /^[1-9]\d*$/);
    t.is((await store.timeToLive(lease)).grantedSeconds, 60);
    const { seconds } = await store.timeToLive(lease);
    t.true(seconds > 50 && seconds <= 60);
    t.is(await store.keepAlive(lease), 60);
    await put(store, '/c/k', 'v', lease);
    await store.revoke(lease);
    await store.revoke(lease);
    t.is((await store.get('/c/k')).kv, undefined);
    t.is(await store.keepAlive(lease), 0);
    t.deepEqual(await store.timeToLive(lease), { seconds: -1, grantedSeconds: 0 });
  },

  'leases: one that runs out takes its keys with it': async (t, { store, pass }) => {
    const lease = await store.grant(2);
    const { revision } = await put(store, '/c/k', 'v', lease);
    const watch = new Recorder(store, RANGE, revision + 1);
    await watch.until(() => watch.created !== undefined);
    await pass(4);
    await watch.until(() => watch.events.length > 0);
    t.like(watch.events[0], { type: 'delete', key: '/c/k' });
    t.is(await store.keepAlive(lease), 0);
    watch.stop();
  },

  'watch: puts and deletes in order, each once, from the revision on': async (t, { store }) => {
    await put(store, '/c/old', '1');
    const { revision } = await put(store, '/c/a', '1');
    const watch = new Recorder(store, RANGE, revision);
    await watch.until(() => watch.events.length === 1);
    await put(store, '/other', '1');
    await put(store, '/c/a', '2');
    await remove(store, '/c/a');
    await watch.until(() => watch.events.length === 3);
    t.true((watch.created?.revision ?? 0) >= revision);
    t.deepEqual(
      watch.events.map((event) => [event.type, event.type === 'put' ? event.kv.value : event.modRevision]),
      [
        ['put', '1'],
        ['put', '2'],
        ['delete', revision + 3],
      ],
    );
    t.deepEqual(watch.revisions, [revision, revision + 2, revision + 3]);
    watch.stop();
    await put(store, '/c/a', '4');
    await store.get('/c/a');
    t.is(watch.events.length, 3);
    t.deepEqual(watch.ends, []);
  },

  'watch: all events of a transaction come together': async (t, { store }) => {
    const { revision } = await put(store, '/c/a', '1');
    const success = ['b', 'c', 'd'].map((name) => ({ put: `/c/${name}`, value: '1', lease: '0' }) as const);
    await store.txn({ compare: [], success, failure: [] });
    const watch = new Recorder(store, RANGE, revision);
    await watch.until(() => watch.events.length === 4);
    t.is(watch.revisions.at(-1), revision + 1);
    watch.stop();
  },

  'watch: a start revision that is compacted ends it, and says so': async (t, { store, compact }) => {
    const { revision } = await put(store, '/c/a', '1');
    await put(store, '/c/a', '2');
    await compact(revision + 1);
    const watch = new Recorder(store, RANGE, revision);
    await watch.until(() => watch.ends.length > 0);
    t.true(watch.ends[0]?.compacted);
    t.deepEqual(watch.events, []);
    const next = new Recorder(store, RANGE, revision + 2);
    await put(store, '/c/a', '3');
    await next.until(() => next.events.length > 0);
    t.is(watch.ends.length, 1);
    next.stop();
  },

  'watch: a running one outlives a compaction': async (t, { store, compact }) => {
    const { revision } = await put(store, '/c/a', '1');
    const watch = new Recorder(store, RANGE, revision);
    await watch.until(() => watch.events.length === 1);
    for (let count = 0; count < 5; count += 1) await put(store, '/elsewhere', String(count));
    await compact((await store.get('/c/a')).revision);
    await put(store, '/c/a', '2');
    await watch.until(() => watch.events.length === 2);
    t.deepEqual(watch.ends, []);
    watch.stop();
  },

  'close: ends the watches, once, and refuses calls': async (t, { store }) => {
    const watch = new Recorder(store, RANGE, 1);
    await watch.until(() => watch.created !== undefined);
    await store.close();
    await watch.until(() => watch.ends.length > 0);
    t.is(await reasonOf(store.get('/c/a')), 'closed');
    const late = new Recorder(store, RANGE, 1);
    await late.until(() => late.ends.length > 0);
    t.deepEqual([watch.ends.length, late.ends.length], [1, 1]);
  },
};

/** Declares every case; each gets a store of its own. */
export function declareStoreContract(test: Declare, name: string, start: Start): void {
  for (const [title, run] of Object.entries(CASES)) {
    test(`${name}: ${title}`, async (t) => {
      t.timeout(60_000);
      await run(t, await start(t));
    });
  }
}
