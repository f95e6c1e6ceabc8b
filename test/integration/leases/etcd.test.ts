import test, { type ExecutionContext } from 'ava';
import { TartanError } from '../../../config/errors.ts';
import { connectEtcd, type EtcdOptions } from '../../../leases/etcd.ts';
import type { Store } from '../../../leases/store.ts';
import { type EtcdServer, freePorts, startEtcd, startEtcdCluster } from '../../support/etcd.ts';
import { eventually } from '../../support/eventually.ts';
import { Follower } from '../../support/follower.ts';
import { makePki } from '../../support/pki.ts';
import { realClock } from '../../support/real-clock.ts';
import { startProxy } from '../../support/tcp-proxy.ts';

const RANGE = { key: '/s/', end: '/s0' };
const PASSWORD = 'pa55-word-never-shown';

function connect(t: ExecutionContext, options: EtcdOptions): Store {
  const store = connectEtcd(options);
  t.teardown(() => store.close());
  return store;
}

function put(store: Store, key: string, value: string): Promise<{ readonly revision: number }> {
  return store.txn({ compare: [], success: [{ put: key, value, lease: '0' }], failure: [] });
}

/** The code of what was thrown and the reason in it; its message must never hold a password. */
async function refusalOf(t: ExecutionContext, work: Promise<unknown>): Promise<unknown> {
  const error = await t.throwsAsync(work, { instanceOf: TartanError });
  t.false(`${error?.message} ${JSON.stringify(error?.data)}`.includes(PASSWORD));
  t.log(error?.message);
  return [error?.code, error?.data['reason']];
}

test('TLS with client certificates: the right one works, everything else is refused clearly', async (t) => {
  t.timeout(60_000);
  const pki = await makePki(t);
  const client = await pki.client('agent');
  const etcd = await startEtcd({ owner: t, tls: { pki, client } });
  const { cert, key } = client;
  const endpoints = [etcd.endpoint];
  const store = connect(t, { endpoints, tls: { ca: pki.ca, cert, key } });
  await put(store, '/s/a', '1');
  t.is((await store.get('/s/a')).kv?.value, '1');
  t.is(await store.keepAlive(await store.grant(60)), 60);
  const follower = new Follower(store, RANGE, realClock);
  t.teardown(() => follower.stop());
  await follower.until(() => follower.isConnected);

  const plain = connect(t, { endpoints: [etcd.endpoint.replace('https', 'http')], tls: { ca: pki.ca, cert, key } });
  t.is((await plain.get('/s/a')).kv?.value, '1', 'key and certificate mean TLS, as in flannel');

  const stranger = await makePki(t);
  const strange = await stranger.client('agent');
  const refused = ['ETCD_REFUSED', 'tls'];
  const wrongCa = connect(t, { endpoints, tls: { ca: stranger.ca, cert, key } });
  t.deepEqual(await refusalOf(t, wrongCa.get('/s/a')), refused);
  const systemRoots = connect(t, { endpoints });
  t.deepEqual(await refusalOf(t, systemRoots.get('/s/a')), refused);
  const wrongClient = connect(t, { endpoints, tls: { ca: pki.ca, cert: strange.cert, key: strange.key } });
  t.deepEqual(await refusalOf(t, wrongClient.get('/s/a')), refused);
  const noClient = connect(t, { endpoints, tls: { ca: pki.ca } });
  t.deepEqual(await refusalOf(t, noClient.get('/s/a')), refused);
  const error = t.throws(() => connectEtcd({ endpoints, tls: { ca: pki.ca, cert: Buffer.from('no PEM'), key } }));
  t.like(error, { code: 'ETCD_REFUSED', data: { reason: 'tls' } });
});

test("the server's certificate must be for the address; Node has nothing to warn of", async (t) => {
  t.timeout(60_000);
  const warnings: string[] = [];
  const note = ({ message }: Error): void => void warnings.push(message);
  process.on('warning', note);
  t.teardown(() => process.off('warning', note));
  const pki = await makePki(t);
  const client = await pki.client('agent');
  const [port = 0] = await freePorts(1);
  const both = `https://127.0.0.1:${port},https://127.0.0.2:${port}`;
  const extraFlags = ['--listen-client-urls', both, '--advertise-client-urls', both];
  await startEtcd({ owner: t, tls: { pki, client }, port, extraFlags });
  const tls = { ca: pki.ca, cert: client.cert, key: client.key };
  await put(connect(t, { endpoints: [`https://127.0.0.1:${port}`], tls }), '/s/a', '1');
  await put(connect(t, { endpoints: [`https://localhost:${port}`], tls }), '/s/a', '1');
  const elsewhere = connect(t, { endpoints: [`https://127.0.0.2:${port}`], tls });
  t.deepEqual(await refusalOf(t, elsewhere.get('/s/a')), ['ETCD_REFUSED', 'tls']);
  t.deepEqual(warnings, []);
});

test('user and password, with tokens that run out: calls and new watches go on', async (t) => {
  t.timeout(60_000);
  const etcd = await startEtcd({ owner: t, extraFlags: ['--auth-token-ttl', '2'] });
  const early = connect(t, { endpoints: [etcd.endpoint], username: 'agent', password: PASSWORD });
  await put(early, '/s/early', '1');
  await etcd.enableAuth('agent', PASSWORD, '/s/');
  await put(early, '/s/early', '2');

  const proxy = await startProxy(t, etcd.port);
  const store = connect(t, { endpoints: [proxy.endpoint], username: 'agent', password: PASSWORD });
  const follower = new Follower(store, RANGE, realClock);
  t.teardown(() => follower.stop());
  await follower.until(() => follower.isConnected);
  for (let round = 0; round < 2; round += 1) {
    await realClock.sleep(3500, new AbortController().signal);
    // The watch was opened with a token that has run out meanwhile.
    await put(early, `/s/standing-${round}`, '1');
    await follower.until(() => follower.values.has(`/s/standing-${round}`));
    t.is(follower.states.length, 1 + 2 * round);
    proxy.cut();
    await follower.until(() => !follower.isConnected);
    await follower.until(() => follower.isConnected);
    await put(early, `/s/${round}`, '1');
    await follower.until(() => follower.values.has(`/s/${round}`));
  }
  t.is(follower.snapshots.length, 1);
  t.is(await early.keepAlive(await early.grant(60)), 60);

  const wrong = connect(t, { endpoints: [etcd.endpoint], username: 'agent', password: `${PASSWORD}!` });
  t.deepEqual(await refusalOf(t, wrong.get('/s/a')), ['ETCD_REFUSED', 'auth']);
  const nobody = connect(t, { endpoints: [etcd.endpoint] });
  t.deepEqual(await refusalOf(t, nobody.get('/s/a')), ['ETCD_REFUSED', 'auth']);
  t.deepEqual(await refusalOf(t, early.get('/elsewhere')), ['ETCD_REFUSED', 'permission']);
  t.deepEqual(await refusalOf(t, put(early, '/elsewhere', '1')), ['ETCD_REFUSED', 'permission']);
  t.deepEqual(await refusalOf(t, early.list({ key: '/', end: '0' })), ['ETCD_REFUSED', 'permission']);
  const end = await new Promise<string>((resolve) => {
    early.watch({ key: '/', end: '0' }, 1, { onCreated() {}, onEvents() {}, onEnd: ({ reason }) => resolve(reason) });
  });
  t.not(end, '');
});

test('one of three endpoints dead, another black-holed, from the start', async (t) => {
  t.timeout(60_000);
  const etcd = await startEtcd({ owner: t });
  const [dead = 0] = await freePorts(1);
  const proxy = await startProxy(t, etcd.port);
  proxy.blackHole();
  const endpoints = [`http://127.0.0.1:${dead}`, proxy.endpoint, etcd.endpoint];
  // Whichever is asked first.
  for (let round = 0; round < 8; round += 1) {
    const store = connect(t, { endpoints });
    await put(store, `/s/${round}`, '1');
    t.is(await store.keepAlive(await store.grant(60)), 60);
    const follower = new Follower(store, RANGE, realClock);
    await follower.until(() => follower.isConnected);
    await follower.stop();
    await store.close();
  }
  t.is((await connect(t, { endpoints }).list(RANGE)).kvs.length, 8);
  const nowhere = connect(t, { endpoints: [`http://127.0.0.1:${dead}`, proxy.endpoint], deadlineMs: 1000 });
  const error = await t.throwsAsync(nowhere.get('/s/a'), { code: 'ETCD_UNAVAILABLE' });
  t.like(error, { data: { endpoints: [`http://127.0.0.1:${dead}`, proxy.endpoint] } });
});

test('a cluster of three: members die and come back, the watch loses nothing', async (t) => {
  t.timeout(120_000);
  const members = await startEtcdCluster({ owner: t });
  const endpoints = members.map((member) => member.endpoint);
  const store = connect(t, { endpoints });
  const follower = new Follower(store, RANGE, realClock);
  t.teardown(() => follower.stop());
  await follower.until(() => follower.isConnected);
  let count = 0;
  for (const member of members) {
    await member.stop('SIGKILL');
    for (let round = 0; round < 5; round += 1, count += 1) await putInTime(store, `/s/${count}`);
    await member.restart();
  }
  await follower.until(() => follower.values.size === count);
  t.deepEqual(follower.faults, []);
  t.true(follower.snapshots.every((snapshot, index) => snapshot.continuous === index > 0));
  // Two of three gone: no leader, so neither an answer nor a watch that looks alive.
  await Promise.all(members.slice(1).map((member) => member.stop('SIGKILL')));
  await t.throwsAsync(put(store, '/s/x', '1'), { code: 'ETCD_UNAVAILABLE' });
  await follower.until(() => !follower.isConnected);
});

test('a cluster of three: the lead is handed on while events pour in; all are seen, once, in order', async (t) => {
  t.timeout(120_000);
  const members = await startEtcdCluster({ owner: t });
  const endpoints = members.map((member) => member.endpoint);
  const store = connect(t, { endpoints });
  const follower = new Follower(store, RANGE, realClock);
  t.teardown(() => follower.stop());
  await follower.until(() => follower.isConnected);
  let isOver = false;
  let written = 0;
  const writers = Array.from({ length: 4 }, async (_, writer) => {
    for (let count = 0; !isOver; count += 1, written += 1) await putInTime(store, `/s/${writer}-${count}`);
  });
  for (let round = 0; round < 4; round += 1) {
    const before = written;
    await moveLeader(members);
    await eventually('writes go on', () => written > before + 40);
  }
  isOver = true;
  await Promise.all(writers);
  await follower.until(() => follower.values.size === written);
  t.deepEqual(follower.faults, []);
  t.is(follower.snapshots.length, 1);
});

test('three members on one port: what is dropped of one leaves the others alone, by whatever name', async (t) => {
  t.timeout(120_000);
  const members = await startEtcdCluster({ owner: t, onePort: true });
  const [first] = members;
  const endpoints = [...members.map(({ endpoint }) => endpoint), `http://localhost:${first?.port}`];
  t.is(new Set(endpoints.map((url) => new URL(url).port)).size, 1);
  const stores = endpoints.map((endpoint) => connect(t, { endpoints: [endpoint] }));
  const followers = stores.map((store) => new Follower(store, RANGE, realClock));
  t.teardown(() => Promise.all(followers.map((follower) => follower.stop())));
  await Promise.all(followers.map((follower) => follower.until(() => follower.isConnected)));
  for (const [i, store] of stores.entries()) {
    store.reconnect();
    await followers[i]?.until(() => followers[i]?.states.length === 3);
    await put(store, `/s/${i}`, '1');
  }
  for (const follower of followers) await follower.until(() => follower.values.size === stores.length);
  t.deepEqual(
    followers.map(({ states }) => states.map(({ connected }) => connected)),
    stores.map(() => [true, false, true]),
  );
  // Of one store, all at once.
  const store = connect(t, { endpoints });
  const follower = new Follower(store, RANGE, realClock);
  t.teardown(() => follower.stop());
  await follower.until(() => follower.isConnected);
  store.reconnect();
  await follower.until(() => follower.states.length === 3);
});

test('calls that wait for one connection: the first that gives up does not throw it away', async (t) => {
  t.timeout(60_000);
  const etcd = await startEtcd({ owner: t });
  const proxy = await startProxy(t, etcd.port);
  proxy.blackHole();
  const store = connect(t, { endpoints: [proxy.endpoint], deadlineMs: 100 });
  for (let call = 0; call < 4; call += 1) await t.throwsAsync(store.get('/s/a'), { code: 'ETCD_UNAVAILABLE' });
  t.is(proxy.connections, 1);
  // The answer to the first attempt comes late, and is one.
  proxy.heal();
  const isAnswered = (): Promise<boolean> =>
    store.get('/s/a').then(
      () => true,
      () => false,
    );
  await eventually('it is answered', isAnswered);
  t.is(proxy.connections, 1);
});

test('an attempt that hangs is thrown away in the end, though no call waits for so long', async (t) => {
  t.timeout(60_000);
  const etcd = await startEtcd({ owner: t });
  const proxy = await startProxy(t, etcd.port);
  proxy.blackHole();
  const store = connect(t, { endpoints: [proxy.endpoint], deadlineMs: 100 });
  while (proxy.connections < 2) await t.throwsAsync(store.get('/s/a'), { code: 'ETCD_UNAVAILABLE' });
  proxy.heal();
  await eventually('it is answered', () => store.get('/s/a').catch(() => undefined));
});

/** Hands the lead to the member after the one that has it. */
async function moveLeader(members: readonly EtcdServer[]): Promise<void> {
  const ids = await Promise.all(members.map(async (member) => (await member.ctl('endpoint', 'status')).split(', ')));
  const leading = ids.findIndex((status) => status[4] === 'true');
  const heir = ids[(leading + 1) % members.length]?.[1] ?? '';
  await members[leading]?.ctl('move-leader', heir);
}

/** An election takes a moment. */
async function putInTime(store: Store, key: string): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      await put(store, key, '1');
      return;
    } catch (error) {
      if (attempt === 20) throw error;
      await realClock.sleep(200, new AbortController().signal);
    }
  }
}

test('an endpoint that is no URL, and none at all', (t) => {
  t.throws(() => connectEtcd({ endpoints: ['127.0.0.1:2379'] }), { code: 'USAGE' });
  t.throws(() => connectEtcd({ endpoints: [] }), { code: 'USAGE' });
});
