import test, { type ExecutionContext } from 'ava';
import { Cluster } from '../../../agent/cluster.ts';
import { silentLog } from '../../../config/log.ts';
import type { KeyValue, StoreVersion } from '../../../leases/store.ts';
import { VirtualClock } from '../../fakes/clock.ts';
import { FakeEtcd } from '../../fakes/etcd.ts';
import { ProcessClock } from '../../fakes/process-clock.ts';
import { keyValue } from '../leases/leases.ts';
import { Line } from '../model/line.ts';

const PREFIX = '/coreos.com/network';
const POLICY = { ownKey: undefined, judge: () => ({ identities: [] }) };

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
  const process = new ProcessClock(clock);
  const line = new Line(etcd.connect(), clock, process);
  const options = { prefix: PREFIX, clock: process, log: silentLog, known: known?.(etcd.version) };
  const cluster = new Cluster({ ...options, store: line.connect(stop.signal) });
  const dropped: string[] = [];
  let complete = false;
  cluster.follow(stop.signal).catch(() => undefined);
  await clock.advance(200);
  cluster.serve(POLICY, {
    onPeers: (changes, isComplete) => {
      complete ||= isComplete;
      dropped.push(...changes.flatMap(({ key, after }) => (after ? [] : [key])));
    },
    onOwnKey: () => undefined,
    onConfig: () => undefined,
  });
  cluster.sweep(stop.signal).catch(() => undefined);
  return { clock, etcd, process, store: line.server, cluster, dropped, isComplete: () => complete };
}

test('whoever holds the lease hears of it when etcd is back, also where nothing has changed', async (t) => {
  const { etcd, store, cluster, clock } = await scene(t);
  const key = `${PREFIX}/subnets/10.5.7.0-24`;
  etcd.put(key, '{"PublicIP":"192.0.2.7","PublicIPv6":null}', etcd.grant(3600));
  await clock.advance(200);
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
  await clock.advance(100);
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

const LEASE = keyValue({ subnet: '10.5.1.0/24' });

/** A restored store that has lost a lease, which its holder claims again while `asleep` keeps us from hearing of it. */
async function reclaimedMeanwhile(
  t: ExecutionContext,
  asleep: (world: Awaited<ReturnType<typeof scene>>, isAsleep: boolean) => void,
): Promise<void> {
  const world = await scene(t, (now) => now);
  const { etcd, clock, cluster } = world;
  const backup = etcd.backup();
  etcd.put(LEASE.key, LEASE.value);
  await clock.advance(100);
  etcd.restore(backup);
  await clock.advance(5_000);
  asleep(world, true);
  await clock.advance(10_000);
  etcd.put(LEASE.key, LEASE.value);
  await clock.advance(120_000);
  t.true(cluster.directory.peers.has(LEASE.key), 'not heard of is not gone');
  asleep(world, false);
  await clock.advance(10_000);
  t.is(cluster.directory.nextSweepAt(), undefined);
  t.deepEqual([...world.dropped], []);
}

test('etcd away when the grace is over: nobody is swept who may have claimed again', async (t) => {
  await reclaimedMeanwhile(t, ({ store }, isAsleep) => {
    store.reachable = !isAsleep;
  });
});

test('asleep when the grace is over: what happened meanwhile is heard before anything is swept', async (t) => {
  await reclaimedMeanwhile(t, ({ process }, isAsleep) => (isAsleep ? process.stop() : process.go()));
});
