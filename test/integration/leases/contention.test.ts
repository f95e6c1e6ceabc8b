/** A fleet that starts in one moment, on a real etcd. */
import test, { type ExecutionContext } from 'ava';
import { overlaps, type Prefix } from '../../../config/address.ts';
import { silentLog } from '../../../config/log.ts';
import { parseNetworkConfig } from '../../../config/network-config.ts';
import { type Acquisition, acquire } from '../../../leases/acquisition.ts';
import { answerChallenges } from '../../../leases/challenge.ts';
import { coverage } from '../../../leases/coverage.ts';
import { connectEtcd } from '../../../leases/etcd.ts';
import type { AcquireContext, AcquireRequest } from '../../../leases/ground.ts';
import type { LeaseOwner } from '../../../leases/lease.ts';
import { reclaim } from '../../../leases/reclaim.ts';
import { keysUnder, readView } from '../../../leases/registry.ts';
import { releaseLeases } from '../../../leases/release.ts';
import type { Store } from '../../../leases/store.ts';
import { ip } from '../../support/addresses.ts';
import { startEtcd } from '../../support/etcd.ts';
import { realClock } from '../../support/real-clock.ts';
import { needs } from '../../support/require.ts';

const PREFIX = '/coreos.com/network';
const KEYS = keysUnder(PREFIX);
const AGENTS = 200;
/** Of so many connections: what is tested is etcd's order of things, not grpc-js with 200 sockets in one process. */
const CONNECTIONS = 50;
const TTL_SECONDS = 600;

/** 255 subnets of each family. */
const CONFIG = { Network: '10.5.0.0/16', Backend: { Type: 'vxlan' } };
const DUAL = { ...CONFIG, EnableIPv6: true, IPv6Network: 'fd00:5::/56', IPv6SubnetLen: 64 };

interface Fleet {
  readonly admin: Store;
  readonly stores: readonly Store[];
  readonly signal: AbortSignal;
}

async function fleet(t: ExecutionContext, config: object): Promise<Fleet> {
  t.timeout(120_000);
  const etcd = await startEtcd({ owner: t });
  const stop = new AbortController();
  const stores = Array.from({ length: CONNECTIONS + 1 }, () => {
    const store = connectEtcd({ endpoints: [etcd.endpoint], deadlineMs: 30_000 });
    t.teardown(() => store.close());
    return store;
  });
  t.teardown(() => stop.abort());
  const [admin, ...rest] = stores;
  if (!admin) throw new Error('no store');
  await put(admin, KEYS.config, JSON.stringify(config));
  return { admin, stores: rest, signal: stop.signal };
}

async function put(store: Store, key: string, value: string): Promise<void> {
  await store.txn({ compare: [], success: [{ put: key, value, lease: '0' }], failure: [] });
}

function ownerOf(number: number): LeaseOwner {
  return { node: `node-${number}`, name: `host${number}`, claim: `claim-${number}` };
}

async function request(store: Store, number: number, address = number): Promise<AcquireRequest> {
  const view = await readView(store, PREFIX);
  const parsed = parseNetworkConfig(view.config?.value ?? '');
  if (!view.config || !parsed.ok) throw new Error('bad test config');
  const publicIp = ip(`192.0.${2 + (address >> 8)}.${address & 255}`);
  const attributes = {
    publicIp,
    publicIp6: undefined,
    backendType: 'vxlan',
    backendData: undefined,
    backendV6Data: undefined,
  };
  return {
    ...{ self: { ...ownerOf(number), publicIp, publicIp6: undefined }, config: parsed.config, view },
    ...{
      configRevision: view.config.modRevision,
      previous: undefined,
      ttlSeconds: TTL_SECONDS,
      trust: undefined,
      avoid: [],
    },
    attributes: async () => attributes,
  };
}

function context({ stores, signal }: Fleet, number: number): AcquireContext {
  const store = stores[number % stores.length];
  if (!store) throw new Error('no store');
  return { store, prefix: PREFIX, clock: realClock, log: silentLog, signal };
}

/** Starts as an agent does: again where the config changed. */
async function join(all: Fleet, number: number, first?: AcquireRequest): Promise<Acquisition> {
  const where = context(all, number);
  for (let wanted = first; ; wanted = undefined) {
    const result = await acquire(where, wanted ?? (await request(where.store, number)));
    if (result.outcome !== 'config-changed') return result;
  }
}

/** All from one and the same view of an empty cluster: the hardest start. */
async function startAtOnce(all: Fleet, meanwhile: () => Promise<void> = async () => undefined): Promise<Acquisition[]> {
  const numbers = Array.from({ length: AGENTS }, (_, i) => i);
  const requests = await Promise.all(numbers.map((number) => request(context(all, number).store, number)));
  const [results] = await Promise.all([
    Promise.all(numbers.map((number) => join(all, number, requests[number]))),
    meanwhile(),
  ]);
  return results;
}

async function checkFleet(t: ExecutionContext, { admin }: Fleet, results: readonly Acquisition[]): Promise<void> {
  const held = results.flatMap((result) => (result.outcome === 'held' ? [result] : []));
  t.is(held.length, AGENTS);
  const { leases } = await readView(admin, PREFIX);
  t.is(leases.length, AGENTS);
  t.deepEqual(leases.map(({ key }) => key).sort(), held.map((result) => result.held.key).sort());
  const prefixes: Prefix[] = leases.flatMap((lease) => [...coverage(lease)]);
  const clashes = prefixes.filter((one, i) => prefixes.some((other, j) => i < j && overlaps(one, other)));
  t.deepEqual(clashes, []);
  const transactions = held.reduce((sum, result) => sum + result.transactions, 0);
  t.log(`${(transactions / AGENTS).toFixed(2)} transactions each`);
  t.true(transactions <= 1.6 * AGENTS, `${transactions} transactions`);
}

test.serial('200 agents at once on 255 subnets: every one holds its own, in 1.6 transactions on average', async (t) => {
  if (!needs(t, 'etcd')) return;
  const all = await fleet(t, CONFIG);
  await checkFleet(t, all, await startAtOnce(all));
});

test.serial('the same in dual stack: no IPv6 subnet twice', async (t) => {
  if (!needs(t, 'etcd')) return;
  const all = await fleet(t, DUAL);
  const results = await startAtOnce(all);
  await checkFleet(t, all, results);
  const { leases } = await readView(all.admin, PREFIX);
  t.is(new Set(leases.map(({ subnet6 }) => subnet6)).size, AGENTS);
});

test.serial('the network is changed under their feet: all end up in the new one', async (t) => {
  if (!needs(t, 'etcd')) return;
  const all = await fleet(t, CONFIG);
  const results = await startAtOnce(all, () =>
    put(all.admin, KEYS.config, JSON.stringify({ ...CONFIG, Network: '10.6.0.0/16' })),
  );
  t.is(results.filter(({ outcome }) => outcome === 'held').length, AGENTS);
  const { leases, config } = await readView(all.admin, PREFIX);
  t.is(leases.length, AGENTS);
  // Whoever was faster than the change holds a lease of the old network, and keeps it until it starts again.
  for (const lease of leases)
    t.is(lease.subnet.startsWith('10.6.'), lease.createRevision > (config?.modRevision ?? 0), lease.key);
});

test.serial("etcd forbids our keys: flannel's rule, and the lease is held and given back all the same", async (t) => {
  if (!needs(t, 'etcd', 'etcdctl')) return;
  t.timeout(60_000);
  const etcd = await startEtcd({ owner: t });
  await etcd.ctl('put', KEYS.config, JSON.stringify(CONFIG));
  await etcd.enableAuth('agent', 'secret', `${PREFIX}/subnets/`);
  // One list and one watch give the config and the leases: the role must reach from the one to the others.
  await etcd.ctl('role', 'grant-permission', 'agent', 'read', KEYS.watched.key, KEYS.watched.end);
  const store = connectEtcd({ endpoints: [etcd.endpoint], username: 'agent', password: 'secret' });
  t.teardown(() => store.close());
  const where = { store, prefix: PREFIX, clock: realClock, log: silentLog, signal: new AbortController().signal };
  const first = await acquire(where, await request(store, 1));
  t.like(first, { outcome: 'held', by: 'new', held: { sideLease: undefined } });
  t.like(await acquire(where, await request(store, 1)), { outcome: 'held', by: 'resumed' });
  // As flanneld would: the public IP alone says whose it is.
  t.like(await acquire(where, await request(store, 2, 1)), { outcome: 'held', by: 'same-address' });
  if (first.outcome !== 'held') return;
  await put(store, first.held.key, 'rubbish');
  t.like(await reclaim(where, first.held, (await store.get(first.held.key)).kv), { outcome: 'held' });
  t.is((await releaseLeases(store, PREFIX, ownerOf(1).claim)).released.length, 1);
  t.deepEqual((await readView(store, PREFIX)).leases, []);
});

test.serial(
  'two with one address that start in the same moment: one holds, the other is refused by name',
  async (t) => {
    if (!needs(t, 'etcd')) return;
    const all = await fleet(t, CONFIG);
    for (let round = 0; round < 5; round++) {
      const pair = [2 * round, 2 * round + 1];
      const requests = await Promise.all(pair.map((number) => request(all.admin, number, round)));
      const results = await Promise.all(
        pair.map(async (number, i) => {
          const where = context(all, number);
          const result = await acquire(where, requests[i] ?? (await request(all.admin, number, round)));
          const answering = { ...where, sure: () => Promise.resolve(), cede: () => undefined };
          if (result.outcome === 'held')
            void answerChallenges(where.store, PREFIX, result.held, ownerOf(number), answering).catch(() => undefined);
          return result;
        }),
      );
      const winner = results.findIndex(({ outcome }) => outcome === 'held');
      t.like(results[1 - winner], { outcome: 'refused', holder: ownerOf(pair[winner] ?? -1) });
    }
    t.is((await readView(all.admin, PREFIX)).leases.length, 5);
  },
);
