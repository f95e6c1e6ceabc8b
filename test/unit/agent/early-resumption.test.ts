/** A restart before the leases are listed. */
import test, { type ExecutionContext } from 'ava';
import { Cluster } from '../../../agent/cluster.ts';
import type { RememberedCluster } from '../../../agent/cluster-file.ts';
import { type EarlyContext, recallUnlisted, resumeEarly } from '../../../agent/early-resumption.ts';
import { type Joined, join } from '../../../agent/joining.ts';
import { parseCommandLine } from '../../../config/command-line.ts';
import { silentLog } from '../../../config/log.ts';
import { VirtualClock } from '../../fakes/clock.ts';
import { FakeEtcd } from '../../fakes/etcd.ts';
import { hostKernel } from '../backends/rig.ts';

const PREFIX = '/coreos.com/network';
const VXLAN = '{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"}}';
const OWNER = { node: 'n1', name: 'host1', claim: '0'.repeat(32) };

function options(...flags: readonly string[]) {
  const parsed = parseCommandLine(flags, {});
  if (!parsed.ok) throw new TypeError(parsed.problems.join('; '));
  return parsed.invocation.options;
}

/** A host that joined in an earlier run, and remembers it. */
async function joinedBefore(t: ExecutionContext) {
  const clock = new VirtualClock();
  const etcd = new FakeEtcd(clock);
  const kernel = hostKernel();
  etcd.put(`${PREFIX}/config`, VXLAN);
  const stop = new AbortController();
  t.teardown(() => {
    stop.abort();
    etcd.stop();
  });
  const store = etcd.connect();
  const shared = { clock, log: silentLog, signal: stop.signal, owner: OWNER, rememberDevices: async () => undefined };
  const nothing = { held: undefined, cluster: async () => ({ ok: false as const, reason: 'there is none' }) };
  const cluster = new Cluster({ store, prefix: PREFIX, clock, log: silentLog, known: undefined });
  const following = new AbortController();
  cluster.follow(following.signal).catch(() => undefined);
  let joined: Joined | undefined;
  const joining = join({
    ...{ ...shared, options: options(), store, kernel, cluster, previous: undefined, macs: () => new Map() },
    ...{ remembered: nothing, onPhase: () => undefined },
  });
  joining.then(
    (found) => {
      joined = found;
    },
    () => undefined,
  );
  t.true(await clock.advanceUntil(() => joined !== undefined, 5_000));
  following.abort();
  const { held, macs } = await joining;
  const { version } = cluster;
  const { attributes, ...rest } = held;
  const state = { ...rest, publicIp: attributes.publicIp, seen: version };
  const next = etcd.connect();
  const context: EarlyContext = {
    ...{
      ...shared,
      options: options(),
      store: next,
      macs: () => macs,
      known: version,
      hasRivals: false,
      kernel: async () => kernel,
    },
    remembered: { ...nothing, held: state },
  };
  return { clock, etcd, kernel, held, store: next, context };
}

/** What comes of it, on the virtual clock. */
async function outcome(clock: VirtualClock, context: EarlyContext): Promise<Joined | undefined> {
  let isOver = false;
  const resuming = resumeEarly(context).finally(() => {
    isOver = true;
  });
  await clock.advanceUntil(() => isOver, 10_000);
  return resuming;
}

test('a lease that stands as it was is gone on with: nothing is listed, and nothing written', async (t) => {
  const { clock, etcd, held, store, context } = await joinedBefore(t);
  const before = etcd.version.revision;

  const joined = await outcome(clock, context);
  t.deepEqual(joined?.held.subnet, held.subnet);
  t.is(joined?.held.modRevision, held.modRevision);
  t.is(joined?.fromMemorySince, undefined);
  t.is(etcd.version.revision, before);
  t.is(store.calls.list, 0);
});

test('a lease that is gone or altered, another config, TTL or name: as any other start', async (t) => {
  const { clock, etcd, held, context } = await joinedBefore(t);
  t.is(await outcome(clock, { ...context, options: options('--lease-ttl=3600') }), undefined);
  t.is(await outcome(clock, { ...context, owner: { ...OWNER, name: 'renamed' } }), undefined);
  t.is(await outcome(clock, { ...context, owner: { ...OWNER, node: 'n2' } }), undefined);
  t.is(await outcome(clock, { ...context, known: undefined }), undefined);
  t.is(await outcome(clock, { ...context, hasRivals: true }), undefined);
  t.not(await outcome(clock, context), undefined);
  etcd.put(`${PREFIX}/config`, '{"Network":"10.5.0.0/16","Backend":{"Type":"host-gw"}}');
  t.is(await outcome(clock, context), undefined);
  etcd.put(`${PREFIX}/config`, VXLAN);
  t.not(await outcome(clock, context), undefined);
  etcd.put(held.key, held.value);
  t.is(await outcome(clock, context), undefined);
});

test('a side key that is another host’s: the leases are listed first', async (t) => {
  const { clock, etcd, context, held } = await joinedBefore(t);
  const other = JSON.stringify({ node: 'n9', name: 'host9', claim: '9'.repeat(32), lease: held.key });
  etcd.put(`${PREFIX}/tartan/nodes/n1`, other);
  t.is(await outcome(clock, context), undefined);
});

test('a store that went back is not believed', async (t) => {
  const { clock, etcd, context } = await joinedBefore(t);
  const known = { ...etcd.version, revision: etcd.version.revision + 1 };
  t.is(await outcome(clock, { ...context, known }), undefined);
});

test('an etcd that does not answer costs a moment', async (t) => {
  const { clock, store, context } = await joinedBefore(t);
  store.txn = () => new Promise(() => undefined);
  const startedAt = clock.monotonic();
  t.is(await outcome(clock, context), undefined);
  t.true(clock.monotonic() - startedAt <= 500);
});

test('an etcd that falls silent behind its first answer costs little more', async (t) => {
  const { clock, store, context } = await joinedBefore(t);
  store.timeToLive = () => new Promise(() => undefined);
  const startedAt = clock.monotonic();
  t.is(await outcome(clock, context), undefined);
  t.true(clock.monotonic() - startedAt <= 1_500);
});

test('where the leases are not listed in time, those remembered are gone by', async (t) => {
  const { clock, context } = await joinedBefore(t);
  const never = new AbortController().signal;
  for (const isListed of [false, true]) {
    const recalled: RememberedCluster[] = [];
    const known = { clusterId: '1', revision: 7 };
    const memory = { ...known, savedAt: 0, config: VXLAN, kvs: [] };
    const remembered = { held: undefined, cluster: async () => ({ ok: true, cluster: memory }) as const };
    const cluster = {
      version: isListed ? known : undefined,
      recall: (one: RememberedCluster) => void recalled.push(one),
    };
    const done = recallUnlisted({ ...context, remembered }, cluster, never);
    await clock.advance(2_900);
    t.deepEqual(recalled, []);
    await clock.advance(200);
    await done;
    t.deepEqual(recalled, isListed ? [] : [memory]);
  }
});
