import test from 'ava';
import { VirtualClock } from '../../fakes/clock.ts';
import { FakeEtcd } from '../../fakes/etcd.ts';
import { declareStoreContract } from '../../support/store-contract.ts';

declareStoreContract(test, 'in memory', async (t) => {
  const clock = new VirtualClock();
  const etcd = new FakeEtcd(clock);
  t.teardown(() => etcd.stop());
  return {
    store: etcd.connect(),
    pass: (seconds) => clock.advance(seconds * 1000),
    compact: async (revision) => etcd.compact(revision),
  };
});

test('a failure on demand: before the call, or with the answer lost', async (t) => {
  const etcd = new FakeEtcd(new VirtualClock());
  const store = etcd.connect();
  const put = (value: string) => store.txn({ compare: [], success: [{ put: '/a', value, lease: '0' }], failure: [] });
  store.failNext();
  await t.throwsAsync(put('1'), { code: 'ETCD_UNAVAILABLE' });
  t.is(etcd.kvs.length, 0);
  store.failNext({ afterwards: true });
  await t.throwsAsync(put('2'), { code: 'ETCD_UNAVAILABLE' });
  t.is(etcd.kvs[0]?.value, '2');
  store.deny('/a');
  await t.throwsAsync(put('3'), { code: 'ETCD_REFUSED' });
  store.allow();
  store.reachable = false;
  await t.throwsAsync(store.get('/a'), { code: 'ETCD_UNAVAILABLE' });
  t.is((await etcd.connect().get('/a')).kv?.value, '2');
});

test('a backup brings back keys, revision and etcd leases', async (t) => {
  const clock = new VirtualClock();
  const etcd = new FakeEtcd(clock);
  t.teardown(() => etcd.stop());
  const lease = etcd.grant(10);
  etcd.put('/a', '1', lease);
  const backup = etcd.backup();
  etcd.put('/a', '2');
  etcd.put('/b', '1');
  etcd.restore(backup);
  t.deepEqual(etcd.version, { clusterId: backup.clusterId, revision: backup.revision });
  t.deepEqual(
    etcd.kvs.map((kv) => kv.value),
    ['1'],
  );
  await clock.advance(9000);
  t.is(etcd.keepAlive(lease), 10);
  await clock.advance(9000);
  t.is(etcd.kvs.length, 1);
  await clock.advance(1000);
  t.is(etcd.kvs.length, 0);
  etcd.restore();
  t.is(etcd.version.revision, 1);
});
