import test, { type ExecutionContext } from 'ava';
import { connectEtcd, type EtcdOptions } from '../../../leases/etcd.ts';
import type { Store } from '../../../leases/store.ts';
import { startEtcd } from '../../support/etcd.ts';
import { Follower } from '../../support/follower.ts';
import { realClock } from '../../support/real-clock.ts';
import { startProxy } from '../../support/tcp-proxy.ts';

const RANGE = { key: '/s/', end: '/s0' };

function connect(t: ExecutionContext, options: EtcdOptions): Store {
  const store = connectEtcd(options);
  t.teardown(() => store.close());
  return store;
}

function follow(t: ExecutionContext, store: Store): Follower {
  const follower = new Follower(store, RANGE, realClock);
  t.teardown(() => follower.stop());
  return follower;
}

function put(store: Store, key: string, value: string): Promise<{ readonly revision: number }> {
  return store.txn({ compare: [], success: [{ put: key, value, lease: '0' }], failure: [] });
}

function remove(store: Store, key: string): Promise<{ readonly revision: number }> {
  return store.txn({ compare: [], success: [{ delete: key }], failure: [] });
}

async function putMany(store: Store, from: number, to: number): Promise<void> {
  let next = from;
  const write = async (): Promise<void> => {
    for (let index = next++; index < to; index = next++) await put(store, `/s/${index}`, 'y'.repeat(300));
  };
  await Promise.all(Array.from({ length: 16 }, write));
}

test('3000 events while the connection is cut again and again: all seen, once, in order', async (t) => {
  t.timeout(120_000);
  const etcd = await startEtcd({ owner: t });
  const proxy = await startProxy(t, etcd.port);
  const writer = connect(t, { endpoints: [etcd.endpoint] });
  const follower = follow(t, connect(t, { endpoints: [proxy.endpoint] }));
  await follower.until(() => follower.isConnected);
  // Written while the connection is down, so that the watch has to catch up, and is cut while it does.
  proxy.cutAfterBytes = 300_000;
  proxy.cutsLeft = 5;
  proxy.cut();
  await putMany(writer, 0, 2500);
  proxy.cut();
  await putMany(writer, 2500, 3000);
  await follower.until(() => follower.events.length >= 3000);
  t.deepEqual(follower.faults, []);
  t.is(follower.events.length, 3000);
  t.is(new Set(follower.events.map((event) => (event.type === 'put' ? event.kv.key : ''))).size, 3000);
  t.is(follower.snapshots.length, 1);
  t.true(proxy.connections >= 3);
});

test('history compacted while disconnected: a new snapshot; a delete at that very revision is not lost', async (t) => {
  t.timeout(60_000);
  const etcd = await startEtcd({ owner: t });
  const proxy = await startProxy(t, etcd.port);
  const writer = connect(t, { endpoints: [etcd.endpoint] });
  await put(writer, '/s/a', '1');
  await put(writer, '/s/b', '1');
  const follower = follow(t, connect(t, { endpoints: [proxy.endpoint] }));
  await follower.until(() => follower.isConnected);
  proxy.blackHole();
  proxy.cut();
  const { revision } = await remove(writer, '/s/a');
  await etcd.ctl('compact', String(revision));
  proxy.heal();
  proxy.cut();
  await follower.until(() => follower.snapshots.length === 2);
  t.true(follower.snapshots[1]?.continuous);
  t.deepEqual([...follower.values], [['/s/b', '1']]);
});

test('etcd killed and started again: the watch goes on', async (t) => {
  t.timeout(60_000);
  const etcd = await startEtcd({ owner: t });
  const writer = connect(t, { endpoints: [etcd.endpoint] });
  const follower = follow(t, connect(t, { endpoints: [etcd.endpoint] }));
  await follower.until(() => follower.isConnected);
  await put(writer, '/s/a', '1');
  await etcd.stop('SIGKILL');
  await follower.until(() => !follower.isConnected);
  await t.throwsAsync(writer.get('/s/a'), { code: 'ETCD_UNAVAILABLE' });
  await etcd.restart();
  await follower.until(() => follower.isConnected);
  await put(connect(t, { endpoints: [etcd.endpoint] }), '/s/b', '2');
  await follower.until(() => follower.values.has('/s/b'));
  t.is(follower.snapshots.length, 1);
  t.deepEqual(follower.faults, []);
});

test('a wiped store: a snapshot that may not be believed, and its events', async (t) => {
  t.timeout(60_000);
  const etcd = await startEtcd({ owner: t });
  const store = connect(t, { endpoints: [etcd.endpoint] });
  for (let count = 0; count < 20; count += 1) await put(store, '/s/a', String(count));
  const follower = follow(t, store);
  await follower.until(() => follower.isConnected);
  await etcd.restart({ wiped: true });
  await follower.until(() => follower.snapshots.length === 2 && follower.isConnected);
  t.like(follower.snapshots[1], { continuous: false, kvs: [] });
  await put(store, '/s/new', '1');
  await follower.until(() => follower.values.has('/s/new'));
  t.is(follower.values.size, 1);
});

test('a black-holed connection is noticed by itself, and the watch goes on when it heals', async (t) => {
  t.timeout(60_000);
  const etcd = await startEtcd({ owner: t });
  const proxy = await startProxy(t, etcd.port);
  const writer = connect(t, { endpoints: [etcd.endpoint] });
  const follower = follow(t, connect(t, { endpoints: [proxy.endpoint] }));
  await follower.until(() => follower.isConnected);
  proxy.blackHole();
  await put(writer, '/s/meanwhile', '1');
  const noticing = performance.now();
  await follower.until(() => !follower.isConnected);
  t.log(`noticed after ${((performance.now() - noticing) / 1000).toFixed(1)} s`);
  proxy.heal();
  await follower.until(() => follower.values.has('/s/meanwhile'));
  t.is(follower.snapshots.length, 1);
  t.deepEqual(follower.faults, []);
});
