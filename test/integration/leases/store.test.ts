import { setTimeout as pause } from 'node:timers/promises';
import test from 'ava';
import { connectEtcd } from '../../../leases/etcd.ts';
import { type EtcdServer, startEtcd } from '../../support/etcd.ts';
import { eventually } from '../../support/eventually.ts';
import { declareStoreContract } from '../../support/store-contract.ts';

const RANGE = { key: '/c/', end: '/c0' };

let etcd: EtcdServer;
const after: (() => Promise<void>)[] = [];
test.before(async () => {
  etcd = await startEtcd({ owner: { teardown: (work) => after.unshift(work) } });
});
test.after.always(async () => {
  for (const work of after) await work();
});

declareStoreContract(test.serial, 'etcd', async (t) => {
  await etcd.ctl('del', '', '--prefix');
  const store = connectEtcd({ endpoints: [etcd.endpoint] });
  t.teardown(() => store.close());
  return {
    store,
    pass: async (seconds) => void (await pause(seconds * 500)),
    compact: async (revision) => void (await etcd.ctl('compact', String(revision))),
  };
});

test.serial('a listing of many keys comes in pages, at one revision, while others write', async (t) => {
  t.timeout(60_000);
  await etcd.ctl('del', '', '--prefix');
  const store = connectEtcd({ endpoints: [etcd.endpoint] });
  t.teardown(() => store.close());
  const keys = Array.from({ length: 5000 }, (_, index) => `/c/${String(index).padStart(5, '0')}`);
  for (let start = 0; start < keys.length; start += 100) {
    const success = keys.slice(start, start + 100).map((key) => ({ put: key, value: 'x', lease: '0' }) as const);
    await store.txn({ compare: [], success, failure: [] });
  }
  const { revision } = await store.get('/c/');
  const listing = store.list(RANGE);
  const write = store.txn({ compare: [], success: [{ put: '/c/99999', value: 'x', lease: '0' }], failure: [] });
  const [listed, written] = await Promise.all([listing, write]);
  t.is(listed.revision, listed.kvs.length === 5000 ? revision : written.revision);
  t.deepEqual(
    listed.kvs.slice(0, 5000).map((kv) => kv.key),
    keys,
  );
});

test.serial('more than 4 MB: in a listing, and in one watch response', async (t) => {
  t.timeout(60_000);
  await etcd.ctl('del', '', '--prefix');
  const store = connectEtcd({ endpoints: [etcd.endpoint] });
  t.teardown(() => store.close());
  const value = 'v'.repeat(1_000_000);
  const { revision } = await store.get('/c/');
  for (let count = 0; count < 12; count += 1) {
    await store.txn({ compare: [], success: [{ put: `/c/${count}`, value, lease: '0' }], failure: [] });
  }
  const { kvs } = await store.list(RANGE);
  // Of each no more is kept than is ever looked at.
  t.true(kvs.length === 12 && kvs.every((kv) => kv.value === 'v'.repeat(65_537)));
  const seen: string[] = [];
  await new Promise<void>((resolve, reject) => {
    store.watch(RANGE, revision + 1, {
      onCreated() {},
      onEvents(events) {
        for (const event of events) seen.push(event.type === 'put' ? `${event.kv.key} ${event.kv.value.length}` : '-');
        if (seen.length >= 12) resolve();
      },
      onEnd: ({ reason }) => reject(new Error(reason)),
    });
  });
  t.deepEqual(
    seen,
    Array.from({ length: 12 }, (_, index) => `/c/${index} 65537`),
  );
});

test.serial('a TTL that etcd would raise is refused', async (t) => {
  const slow = await startEtcd({ owner: t, extraFlags: ['--heartbeat-interval', '500', '--election-timeout', '5000'] });
  const store = connectEtcd({ endpoints: [slow.endpoint] });
  t.teardown(() => store.close());
  const error = await t.throwsAsync(store.grant(2), { code: 'ETCD_REFUSED' });
  t.like(error, { data: { reason: 'ttl' } });
  t.regex(await store.grant(60), /^\d+$/);
  t.true((await slow.ctl('lease', 'list')).startsWith('found 1 leases'));
});

test.serial('values of a megabyte neither keep a listing from its end, nor are they kept', async (t) => {
  t.timeout(120_000);
  await etcd.ctl('del', '', '--prefix');
  const writer = connectEtcd({ endpoints: [etcd.endpoint], deadlineMs: 30_000 });
  t.teardown(() => writer.close());
  const keys = Array.from({ length: 250 }, (_, index) => `/c/${String(index).padStart(5, '0')}`);
  const value = 'é'.repeat(500_000);
  for (const put of keys) await writer.txn({ compare: [], success: [{ put, value, lease: '0' }], failure: [] });
  // All of it in one answer would take longer.
  const store = connectEtcd({ endpoints: [etcd.endpoint], deadlineMs: 1_500 });
  t.teardown(() => store.close());
  const kvs = await eventually('the whole list', () => store.list(RANGE).then((listing) => listing.kvs), {
    timeoutMs: 60_000,
  });
  t.deepEqual(
    kvs.map(({ key }) => key),
    keys,
  );
  t.true(kvs.every((kv) => kv.value.length < 70_000 && Buffer.byteLength(kv.value) > 65_536));
});
