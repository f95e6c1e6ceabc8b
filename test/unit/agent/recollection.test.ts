/** Joining without etcd, on a virtual clock. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join as joinPath } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { Cluster } from '../../../agent/cluster.ts';
import { clusterFile } from '../../../agent/cluster-file.ts';
import { type Joined, join } from '../../../agent/joining.ts';
import { Memory } from '../../../agent/memory.ts';
import { keepRemembering } from '../../../agent/remembering.ts';
import { parseCommandLine } from '../../../config/command-line.ts';
import { silentLog } from '../../../config/log.ts';
import type { PeerChange } from '../../../leases/directory.ts';
import { VirtualClock } from '../../fakes/clock.ts';
import { FakeEtcd } from '../../fakes/etcd.ts';
import type { FakeKernel } from '../../fakes/kernel.ts';
import type { FakeStore } from '../../fakes/store.ts';
import { hostKernel } from '../backends/rig.ts';
import { policyOf } from '../leases/leases.ts';

const PREFIX = '/coreos.com/network';
const VXLAN = '{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"}}';
const HOUR = 3_600_000;

function peer(n: number): [key: string, value: string] {
  const data = `{"VNI":1,"VtepMAC":"c2:88:f0:5b:5f:0${n}"}`;
  const value = `{"PublicIP":"192.168.77.${100 + n}","PublicIPv6":null,"BackendType":"vxlan","BackendData":${data}}`;
  return [`${PREFIX}/subnets/10.5.${n}.0-24`, value];
}

/** One run of an agent, as far as it joins and keeps its memory. */
interface Run {
  readonly cluster: Cluster;
  readonly memory: Memory;
  readonly store: FakeStore;
  readonly phases: (string | undefined)[];
  joined(): Joined | undefined;
  /** Ends it in order. */
  stop(): Promise<void>;
}

class World {
  readonly t: ExecutionContext;
  readonly clock = new VirtualClock();
  readonly etcd = new FakeEtcd(this.clock);
  readonly dir = mkdtempSync(joinPath(tmpdir(), 'tartan-recollection-'));
  kernel: FakeKernel = hostKernel();
  isEtcdUp = true;

  constructor(t: ExecutionContext) {
    this.t = t;
    this.etcd.put(`${PREFIX}/config`, VXLAN);
    this.etcd.put(...peer(1));
    this.etcd.put(...peer(2));
    t.teardown(() => {
      this.etcd.stop();
      rmSync(this.dir, { recursive: true });
    });
  }

  /** Wall-clock work (files) and virtual time in turns. */
  async pass(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += 100) {
      await this.clock.advance(100);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  async until(holds: () => boolean, limitMs: number): Promise<boolean> {
    for (let passed = 0; passed < limitMs && !holds(); passed += 100) {
      await this.clock.advance(100);
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    // Files are read in real time.
    for (let tries = 0; tries < 100 && !holds(); tries++) await new Promise((resolve) => setTimeout(resolve, 5));
    return holds();
  }

  async start(): Promise<Run> {
    const { clock, etcd, kernel } = this;
    const memory = await Memory.open(this.dir, PREFIX, silentLog);
    const stop = new AbortController();
    const store = etcd.connect();
    store.reachable = this.isEtcdUp;
    const cluster = new Cluster({ store, prefix: PREFIX, clock, log: silentLog, known: memory.known });
    cluster.follow(stop.signal).catch(() => undefined);
    const parsed = parseCommandLine([], {});
    if (!parsed.ok) throw new TypeError(parsed.problems.join());
    const owner = { node: 'n1', name: 'host1', claim: memory.current.claim };
    const phases: (string | undefined)[] = [];
    let joined: Joined | undefined;
    join({
      ...{ options: parsed.invocation.options, store, kernel, cluster, clock, log: silentLog, signal: stop.signal },
      ...{ owner, previous: memory.held, macs: () => memory.current.macs, remembered: memory },
      rememberDevices: async (macs) => memory.update({ macs }),
      onPhase: (_phase, problem) => phases.push(problem),
    }).then(
      (found) => {
        joined = found;
        memory.hold(found.held, cluster.settledVersion);
        const policy = policyOf({ ownKey: found.held.key });
        cluster.serve(policy, { onPeers: () => undefined, onOwnKey: () => undefined, onConfig: () => undefined });
        keepRemembering({ cluster, memory, clock }, () => found.config.text, stop.signal).catch(() => undefined);
      },
      (error: unknown) => stop.signal.aborted || this.t.fail(String(error)),
    );
    const end = async (): Promise<void> => {
      stop.abort();
      await new Promise((resolve) => setTimeout(resolve, 1));
      await memory.settled();
    };
    this.t.teardown(end);
    return { cluster, memory, store, phases, joined: () => joined, stop: end };
  }

  /** Joined with etcd, ended in order, and etcd gone. */
  async firstRun(): Promise<Joined> {
    const run = await this.start();
    this.t.true(await this.until(() => run.joined() !== undefined, 5_000));
    await this.pass(2_000);
    await run.stop();
    this.isEtcdUp = false;
    const joined = run.joined();
    if (!joined) throw new TypeError('not joined');
    return joined;
  }

  /** Started, and etcd waited for long enough. */
  async waiting(): Promise<Run> {
    const run = await this.start();
    await this.until(() => run.joined() !== undefined, 10_000);
    return run;
  }
}

test('after 3 s without an answer, not before: the lease as it was, and the peers', async (t) => {
  const world = new World(t);
  const { held } = await world.firstRun();
  world.kernel = hostKernel();
  const run = await world.start();
  await world.until(() => run.joined() !== undefined, 2_900);
  t.is(run.joined(), undefined);
  t.true(await world.until(() => run.joined() !== undefined, 1_000));
  const joined = run.joined();
  t.deepEqual(joined?.held, held);
  t.deepEqual([joined?.transactions, joined?.config.text], [0, VXLAN]);
  t.true((joined?.fromMemorySince ?? 0) > 0);
  t.deepEqual([...run.cluster.directory.peers.keys()], [peer(1)[0], peer(2)[0]]);
  t.is(run.cluster.settledVersion, undefined);
  t.deepEqual([run.store.calls.txn, run.store.calls.grant], [0, 0]);
});

test('an etcd that answers in time is asked, and the memory is not looked at', async (t) => {
  const world = new World(t);
  await world.firstRun();
  writeFileSync(clusterFile(world.dir), 'half');
  const run = await world.start();
  await world.pass(1_000);
  run.store.reachable = true;
  t.true(await world.until(() => run.joined() !== undefined, 2_900));
  t.is(run.joined()?.fromMemorySince, undefined);
  t.is(run.memory.problem(), undefined);
});

test('when etcd is back, who left is gone at once, if it is the store that we knew', async (t) => {
  const world = new World(t);
  await world.firstRun();
  const run = await world.waiting();
  world.etcd.delete(peer(1)[0]);
  const changes: PeerChange[] = [];
  run.cluster.serve(policyOf({ ownKey: run.joined()?.held.key }), {
    onPeers: (some) => changes.push(...some),
    onOwnKey: () => undefined,
    onConfig: () => undefined,
  });
  run.store.reachable = true;
  t.true(await world.until(() => run.cluster.directory.peers.size === 1, 3_000));
  t.is(run.cluster.recalledOf, undefined);
  t.deepEqual(
    changes.filter(({ after }) => !after).map(({ key }) => key),
    [peer(1)[0]],
  );
});

test('… and is kept for a minute where the store went back', async (t) => {
  const world = new World(t);
  const backup = world.etcd.backup();
  await world.firstRun();
  const run = await world.waiting();
  world.etcd.restore({ ...backup, kvs: backup.kvs.filter(({ key }) => key !== peer(1)[0]) });
  run.store.reachable = true;
  await world.until(() => run.cluster.state.connected, 5_000);
  t.true(run.cluster.directory.peers.has(peer(1)[0]));
  t.is(run.cluster.settledVersion, undefined);
});

test('a lease that has run out is not gone on with, nor is one while the clock is wrong; then it is', async (t) => {
  const world = new World(t);
  const { held } = await world.firstRun();
  const now = world.clock.now();
  world.clock.setWall(now + 25 * HOUR);
  const run = await world.waiting();
  t.regex(run.phases.at(-1) ?? '', /not running from memory: the lease remembered ran out/);
  world.clock.setWall(now - 50 * HOUR);
  await world.pass(3_000);
  t.regex(run.phases.at(-1) ?? '', /not running from memory: the lease remembered is from the future/);
  world.clock.setWall(now);
  t.true(await world.until(() => run.joined() !== undefined, 3_000));
  t.is(run.joined()?.held.key, held.key);
});

test('an interface that has no address yet is waited for', async (t) => {
  const world = new World(t);
  await world.firstRun();
  world.kernel = hostKernel();
  const addresses = world.kernel.tables.addresses.splice(0);
  const routes = world.kernel.tables.routes.splice(0);
  const run = await world.waiting();
  t.is(run.joined(), undefined);
  t.regex(run.phases.at(-1) ?? '', /not running from memory: /);
  world.kernel.tables.addresses.push(...addresses);
  world.kernel.tables.routes.push(...routes);
  t.true(await world.until(() => run.joined() !== undefined, 5_000));
  t.truthy(run.joined()?.fromMemorySince);
});

test('leases cut off are told, set aside, and not gone by', async (t) => {
  const world = new World(t);
  await world.firstRun();
  writeFileSync(clusterFile(world.dir), 'half');
  const run = await world.waiting();
  t.is(run.joined(), undefined);
  t.regex(run.phases.at(-1) ?? '', /the leases of the others: it is cut off/);
  t.regex(run.memory.problem() ?? '', /cluster\.jsonl was not believed/);
});

test('leases of another store than the lease held are not gone by', async (t) => {
  const world = new World(t);
  const { held } = await world.firstRun();
  const memory = await Memory.open(world.dir, PREFIX, silentLog);
  memory.hold(held, { clusterId: '7', revision: 1_000 });
  await memory.settled();
  const run = await world.waiting();
  t.is(run.joined(), undefined);
  t.regex(run.phases.at(-1) ?? '', /of another store/);
});

test('etcd lost between the list and the claim: gone on with, where the list had the lease', async (t) => {
  const world = new World(t);
  const { held } = await world.firstRun();
  world.isEtcdUp = true;
  for (const isThere of [true, false]) {
    if (!isThere) world.etcd.delete(held.key);
    const run = await world.start();
    // The list is on its way: whatever is asked after it fails.
    for (let i = 0; i < 50; i++) run.store.failNext();
    await world.until(() => run.cluster.version !== undefined, 1_000);
    run.store.reachable = false;
    await world.until(() => run.joined() !== undefined, 15_000);
    t.is(run.joined()?.held.key, isThere ? held.key : undefined);
    t.is(run.joined()?.fromMemorySince !== undefined, isThere);
    await run.stop();
  }
});

test('a host without a memory only waits', async (t) => {
  const world = new World(t);
  world.isEtcdUp = false;
  const run = await world.waiting();
  t.is(run.joined(), undefined);
  t.notRegex(run.phases.at(-1) ?? '', /memory/);
});

test('a device that another process holds is waited for without etcd too', async (t) => {
  const world = new World(t);
  world.etcd.put(`${PREFIX}/config`, '{"Network":"10.5.0.0/16"}');
  const { held } = await world.firstRun();
  world.kernel = hostKernel();
  const tun = { isTap: false, isPersistent: false, isMultiQueue: false };
  world.kernel.tables.addDevice('flannel0', { type: 'tun', tun });
  const run = await world.start();
  const isSaid = (): boolean => run.phases.some((problem) => /flannel0 is held by another process/.test(problem ?? ''));
  t.true(await world.until(isSaid, 10_000));
  t.is(run.joined(), undefined);
  world.kernel.tables.deleteLink('flannel0');
  t.true(await world.until(() => run.joined() !== undefined, 10_000));
  t.deepEqual(run.joined()?.held, held);
});
