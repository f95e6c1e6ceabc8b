import test, { type ExecutionContext } from 'ava';
import { connectEtcd, type EtcdTls, type RenewableStore } from '../../../leases/etcd.ts';
import { startEtcd } from '../../support/etcd.ts';
import { eventually } from '../../support/eventually.ts';
import { Follower } from '../../support/follower.ts';
import { type ClientPair, makePki, type Pki } from '../../support/pki.ts';
import { realClock } from '../../support/real-clock.ts';
import { startProxy } from '../../support/tcp-proxy.ts';

const RANGE = { key: '/s/', end: '/s0' };

function tlsOf({ ca }: Pki, { cert, key }: ClientPair): EtcdTls {
  return { ca, cert, key };
}

function connect(t: ExecutionContext, endpoint: string, tls: EtcdTls): RenewableStore {
  const store = connectEtcd({ endpoints: [endpoint], tls });
  t.teardown(() => store.close());
  return store;
}

function put(store: RenewableStore, key: string): Promise<{ readonly succeeded: boolean }> {
  return store.txn({ compare: [], success: [{ put: key, value: '1', lease: '0' }], failure: [] });
}

test('other certificates under load: no call fails, no event is lost, the watch never says that it is away', async (t) => {
  t.timeout(120_000);
  const pki = await makePki(t);
  const pairs = await Promise.all(['first', 'second'].map((name) => pki.client(name)));
  const [first, second] = pairs.map((pair) => tlsOf(pki, pair));
  if (!first || !second) throw new Error('two pairs');
  const etcd = await startEtcd({ owner: t, tls: { pki, client: await pki.client('ctl') } });
  const proxy = await startProxy(t, etcd.port);
  const store = connect(t, proxy.endpoint.replace('http:', 'https:'), first);
  const follower = new Follower(store, RANGE, realClock);
  t.teardown(() => follower.stop());
  await follower.until(() => follower.isConnected);
  const lease = await store.grant(60);
  const writers = Array.from({ length: 8 }, async (_, writer) => {
    for (let count = 0; count < 100; count += 1) t.true((await put(store, `/s/${writer}-${count}`)).succeeded);
  });
  for (const tls of [second, first, second]) {
    const seen = follower.events.length;
    store.renewTls(tls);
    await follower.until(() => follower.events.length > seen + 100);
  }
  await Promise.all(writers);
  await follower.until(() => follower.values.size === 800);
  t.is(follower.events.length, 800);
  t.deepEqual(follower.faults, []);
  t.deepEqual(
    follower.states.map(({ connected }) => connected),
    [true],
  );
  t.is(follower.snapshots.length, 1);
  t.is(await store.keepAlive(lease), 60);
  // One for the calls and the watch; the former ones are given up when no call can be under way any more.
  await eventually('one connection is left', () => proxy.open === 1, { timeoutMs: 10_000 });
  t.is(proxy.connections, 4);
});

test('another CA on both sides: refused until the new files are taken, then in step, the etcd lease the same', async (t) => {
  t.timeout(60_000);
  const before = await makePki(t);
  const after = await makePki(t);
  const client = await before.client('agent');
  const etcd = await startEtcd({ owner: t, tls: { pki: before, client } });
  const store = connect(t, etcd.endpoint, tlsOf(before, client));
  const follower = new Follower(store, RANGE, realClock);
  t.teardown(() => follower.stop());
  await follower.until(() => follower.isConnected);
  const lease = await store.grant(60);
  const pair = await after.client('agent');
  await etcd.restart({ tls: { pki: after, client: pair } });
  await t.throwsAsync(store.get('/s/a'), { code: 'ETCD_REFUSED' });
  await follower.until(() => !follower.isConnected);
  t.throws(() => store.renewTls({ ca: after.ca, cert: pair.cert, key: client.key }), { code: 'ETCD_REFUSED' });
  store.renewTls(tlsOf(after, pair));
  await put(store, '/s/a');
  await follower.until(() => follower.values.has('/s/a'));
  t.is(follower.snapshots.length, 1);
  t.is(await store.keepAlive(lease), 60);
});

test('of http and https endpoints none takes what does not load for one of them', async (t) => {
  t.timeout(60_000);
  const pki = await makePki(t);
  const client = await pki.client('agent');
  const secure = await startEtcd({ owner: t, tls: { pki, client } });
  const plain = await startEtcd({ owner: t });
  const proxy = await startProxy(t, plain.port);
  // The plain one comes first, and has nothing to load.
  const store = connectEtcd({ endpoints: [proxy.endpoint, secure.endpoint], tls: { ca: pki.ca } });
  t.teardown(() => store.close());
  const follower = new Follower(store, RANGE, realClock);
  t.teardown(() => follower.stop());
  await follower.until(() => follower.isConnected);
  const before = proxy.connections;
  const noPem = Buffer.from('-----BEGIN CERTIFICATE-----\nnone\n-----END CERTIFICATE-----\n');
  t.throws(() => store.renewTls({ ca: noPem }), { code: 'ETCD_REFUSED', message: /https/ });
  await put(store, '/s/a');
  await follower.until(() => follower.values.has('/s/a'));
  t.is(follower.states.length, 1);
  t.is(proxy.connections, before);
});
