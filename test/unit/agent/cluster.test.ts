import test, { type ExecutionContext } from 'ava';
import { Cluster } from '../../../agent/cluster.ts';
import { silentLog } from '../../../config/log.ts';
import type { KeyValue, StoreVersion } from '../../../leases/store.ts';
import { settle, VirtualClock } from '../../fakes/clock.ts';
import { FakeEtcd } from '../../fakes/etcd.ts';

const PREFIX = '/coreos.com/network';
const POLICY = { ownKey: undefined, refuse: () => undefined, identities: () => [] };

/** A cluster that is followed and served. */
async function scene(t: ExecutionContext, known?: (now: StoreVersion) => StoreVersion) {
  const clock = new VirtualClock();
  const etcd = new FakeEtcd(clock);
  etcd.put(`${PREFIX}/config`, '{"Network":"10.5.0.0/16"}');
  const stop = new AbortController();
  t.teardown(() => {
    stop.abort();
    etcd.stop();
  });
  const store = etcd.connect();
  const cluster = new Cluster({ store, prefix: PREFIX, clock, log: silentLog, known: known?.(etcd.version) });
  let complete = false;
  cluster.follow(stop.signal).catch(() => undefined);
  await settle();
  cluster.serve(POLICY, {
    onPeers: (_, isComplete) => {
      complete ||= isComplete;
    },
    onOwnKey: () => undefined,
    onConfig: () => undefined,
  });
  cluster.sweep(stop.signal).catch(() => undefined);
  return { clock, etcd, store, cluster, isComplete: () => complete };
}

test('whoever holds the lease hears of it when etcd is back, also where nothing has changed', async (t) => {
  const { etcd, store, cluster, clock } = await scene(t);
  const key = `${PREFIX}/subnets/10.5.7.0-24`;
  etcd.put(key, '{"PublicIP":"192.0.2.7","PublicIPv6":null}', etcd.grant(3600));
  await settle();
  const heard: (string | undefined)[] = [];
  const onOwnKey = (kv: KeyValue | undefined): void => void heard.push(kv?.key);
  cluster.serve({ ...POLICY, ownKey: key }, { onPeers: () => undefined, onConfig: () => undefined, onOwnKey });
  store.reachable = false;
  await clock.advance(60_000);
  t.deepEqual(heard, [key]);
  store.reachable = true;
  await clock.advance(3_000);
  t.deepEqual(heard, [key, key]);
});

/** The history is lost: the next list goes on from the one before, with nothing unknown about it. */
async function listAgain({ etcd, store, clock }: Awaited<ReturnType<typeof scene>>): Promise<void> {
  etcd.put('/other', '1');
  etcd.compact();
  store.cut();
  await clock.advance(3_000);
}

test('absence in a store that is known is believed at once', async (t) => {
  const { isComplete, cluster, etcd } = await scene(t, (now) => now);
  t.true(isComplete());
  t.deepEqual(cluster.settledVersion, etcd.version);
});

const GONE_BACK = (now: StoreVersion): StoreVersion => ({ ...now, revision: now.revision + 50 });

test('another list does not cut short the grace that an unknown store is given', async (t) => {
  const world = await scene(t, GONE_BACK);
  await listAgain(world);
  await world.clock.advance(50_000);
  t.false(world.isComplete());
  await world.clock.advance(10_000);
  t.true(world.isComplete());
});

test('a store that went back is written down only once its holders had time to claim again', async (t) => {
  const { cluster, clock, etcd } = await scene(t, GONE_BACK);
  await clock.advance(58_000);
  t.is(cluster.settledVersion, undefined);
  await clock.advance(5_000);
  t.deepEqual(cluster.settledVersion, etcd.version);
});

test('so is one that is restored while it is followed', async (t) => {
  const { cluster, clock, etcd } = await scene(t, (now) => now);
  const backup = etcd.backup();
  etcd.put(`${PREFIX}/config`, '{"Network":"10.6.0.0/16"}');
  await settle();
  t.deepEqual(cluster.settledVersion, etcd.version);
  etcd.restore(backup);
  await clock.advance(5_000);
  t.is(cluster.settledVersion, undefined);
  await clock.advance(60_000);
  t.deepEqual(cluster.settledVersion, etcd.version);
});

test('where no store was known the first one is written down at once', async (t) => {
  const { cluster, etcd, isComplete } = await scene(t);
  t.deepEqual(cluster.settledVersion, etcd.version);
  t.false(isComplete());
});
