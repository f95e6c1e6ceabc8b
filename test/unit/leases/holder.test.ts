import test, { type ExecutionContext } from 'ava';
import { TartanError } from '../../../config/errors.ts';
import { askHolders } from '../../../leases/challenge.ts';
import type { HeldLease } from '../../../leases/held-lease.ts';
import type { HolderOptions } from '../../../leases/holder.ts';
import { ip, keyValue, net, PREFIX } from './leases.ts';
import { CONFIG, DUAL, type Holding, type Host, type HostOptions, KEYS, World } from './world.ts';

const HOUR = 3_600_000;

interface Scene {
  readonly world: World;
  readonly host: Host;
  readonly held: HeldLease;
  readonly holding: Holding;
}

async function scene(
  t: ExecutionContext,
  setting: {
    readonly config?: string;
    readonly host?: HostOptions;
    readonly options?: Partial<HolderOptions>;
    readonly unwatched?: boolean;
  } = {},
): Promise<Scene> {
  const world = new World(t, setting.config ?? CONFIG);
  const host = world.host(setting.host);
  const held = await host.mustAcquire();
  const holding = setting.unwatched
    ? host.holdUnwatched(t, held, setting.options)
    : host.hold(t, held, setting.options);
  await world.clock.advance(1);
  return { world, host, held, holding };
}

/** The value that a flanneld on `host` would write there. */
function asFlanneld({ host, held }: Scene, change: Partial<Parameters<typeof keyValue>[0]> = {}): string {
  return keyValue({ subnet: held.subnet, publicIp: String(host.publicIp), mac: host.mac, ...change }).value;
}

test('24 hours of holding: kept alive about hourly, never put, never read more than that', async (t) => {
  const { world, host, held, holding } = await scene(t);
  const { revision } = world.etcd.version;
  const before = { ...host.store.calls };
  await world.clock.advance(24 * HOUR);
  t.is(world.etcd.version.revision, revision);
  const { keepAlive, get, txn, list, grant } = host.store.calls;
  t.true(keepAlive - before.keepAlive >= 24 && keepAlive - before.keepAlive <= 31);
  t.is(get - before.get, keepAlive - before.keepAlive);
  t.deepEqual([txn, list, grant], [before.txn, before.list, before.grant]);
  const { expiresAt } = holding.holder.held;
  t.true(expiresAt > world.clock.now() + 23 * HOUR && expiresAt <= world.clock.now() + 24 * HOUR);
  t.deepEqual({ ...holding.holder.held, expiresAt: 0 }, { ...held, expiresAt: 0 });
});

test('an outage of 23 hours costs nothing, whenever it begins', async (t) => {
  for (const minutes of [1, 30, 47, 50, 53, 56, 59]) {
    const { world, host, held, holding } = await scene(t, { unwatched: true });
    await world.clock.advance(minutes * 60_000);
    host.store.reachable = false;
    await world.clock.advance(23 * HOUR);
    t.truthy(world.lease(held.key));
    host.store.reachable = true;
    await world.clock.advance(60_000);
    t.is(holding.holder.failing, undefined);
    t.deepEqual([holding.ended(), world.lease(held.key)?.createRevision], [undefined, held.modRevision]);
    t.true(holding.holder.held.expiresAt > world.clock.now() + 23 * HOUR);
    holding.stop();
  }
});

test('a lease that is only remembered counts as not renewed, until etcd has said that it is ours', async (t) => {
  const world = new World(t, CONFIG);
  const host = world.host();
  const held = await host.mustAcquire();
  host.store.reachable = false;
  const { holder } = host.holdUnwatched(t, held, { unconfirmed: 'not asked yet' });
  t.deepEqual([holder.isConfirmed, holder.failing?.error], [false, 'not asked yet']);
  await world.clock.advance(60_000);
  t.deepEqual([holder.isConfirmed, holder.failing?.since], [false, world.clock.now() - 60_000]);
  host.store.reachable = true;
  // As the watch reports it, unchanged: elsewhere no reason to look.
  holder.observe({ ...held, createRevision: held.modRevision, lease: held.etcdLease });
  await world.clock.advance(10);
  t.deepEqual([holder.isConfirmed, holder.failing], [true, undefined]);
  t.is(world.lease(held.key)?.createRevision, held.modRevision);
});

test('while etcd is away it says since when, and asks ever more rarely', async (t) => {
  const { world, host, holding } = await scene(t, { unwatched: true });
  host.store.reachable = false;
  const since = world.clock.now();
  await world.clock.advance(2 * HOUR);
  const { failing } = holding.holder;
  t.true(failing !== undefined && failing.since - since <= HOUR && failing.attempts > 100 && failing.attempts < 400);
});

test('the lease ran out in an outage: claimed again in one transaction, the same', async (t) => {
  const { world, host, held, holding } = await scene(t, { config: DUAL, unwatched: true });
  host.store.reachable = false;
  await world.clock.advance(25 * HOUR);
  t.deepEqual([world.leases.length, world.own.length, holding.ended()], [0, 0, undefined]);
  t.true(holding.holder.held.expiresAt < world.clock.now());
  const { revision } = world.etcd.version;
  host.store.reachable = true;
  await world.clock.advance(60_000);
  t.is(world.etcd.version.revision, revision + 1);
  t.is(world.lease(held.key)?.value, held.value);
  t.is(world.own.length, 3);
  t.true(holding.holder.held.expiresAt > world.clock.now() + 23 * HOUR);
  t.deepEqual(world.etcd.leases, [holding.holder.held.etcdLease]);
});

test('the key is deleted by hand: there again at once, on the same etcd lease', async (t) => {
  const { world, held, holding } = await scene(t);
  const { revision } = world.etcd.version;
  const at = world.clock.monotonic();
  world.etcd.delete(held.key);
  await world.clock.advance(0);
  t.is(world.lease(held.key)?.value, held.value);
  t.deepEqual([world.etcd.version.revision, world.clock.monotonic()], [revision + 2, at]);
  t.deepEqual(world.etcd.leases, [held.etcdLease]);
  t.is(holding.holder.held.modRevision, revision + 2);
});

test('the etcd lease is revoked: everything is there again at once, on a new one', async (t) => {
  const { world, held, holding } = await scene(t, { config: DUAL });
  world.etcd.revoke(held.etcdLease);
  await world.clock.advance(0);
  const { etcdLease } = holding.holder.held;
  t.deepEqual(world.etcd.leases, [etcdLease]);
  t.is(world.lease(held.key)?.etcdLease, etcdLease);
  t.is(world.own.length, 3);
});

test('hostile rewrites are put right; a fight is fought ever more slowly, and said', async (t) => {
  const { world, host, held, holding } = await scene(t);
  let attacks = 0;
  const stop = world.etcd.subscribe(() => {
    if (world.value(held.key) !== held.value || attacks >= 1000) return;
    attacks += 1;
    world.etcd.put(held.key, `rubbish ${attacks}`, held.etcdLease);
  });
  world.etcd.put(held.key, '{}', held.etcdLease);
  await world.clock.advance(10 * 60_000);
  t.true(attacks > 5 && attacks < 120, String(attacks));
  t.true(host.logged.some((message) => message.includes('fights')));
  stop();
  await world.clock.advance(60_000);
  t.is(world.lease(held.key)?.value, held.value);
  t.is(holding.ended(), undefined);
});

test('a value of ours that was changed by hand is put back in one transaction', async (t) => {
  const { world, host, held } = await scene(t);
  const value = keyValue({ subnet: held.subnet, publicIp: '192.0.2.1', mac: '02:aa:00:00:00:01', owner: host.owner });
  const revision = world.etcd.put(held.key, value.value);
  await world.clock.advance(0);
  t.like(world.lease(held.key), { value: held.value, etcdLease: held.etcdLease, modRevision: revision + 1 });
});

test('a flanneld on this host takes over: told, and nothing is touched', async (t) => {
  const it = await scene(t, { host: { publicIp6: 'fd77::1' } });
  const { world, held, holding } = it;
  const revision = world.etcd.put(held.key, asFlanneld(it), world.etcd.grant(86_400));
  await world.clock.advance(0);
  t.is(holding.ended(), 'LEASE_TAKEN_OVER');
  t.is(world.etcd.version.revision, revision);
});

test('another host has the key: the lease is lost, and nothing is touched', async (t) => {
  const it = await scene(t);
  const { world, held, holding } = it;
  const revision = world.etcd.put(held.key, asFlanneld(it, { publicIp: '192.0.2.99' }), world.etcd.grant(86_400));
  await world.clock.advance(0);
  t.is(holding.ended(), 'LEASE_LOST');
  t.is(world.etcd.version.revision, revision);
});

test('taken while the key was away: the lease is lost', async (t) => {
  const { world, host, held, holding } = await scene(t, { unwatched: true });
  host.store.reachable = false;
  await world.clock.advance(25 * HOUR);
  const other = world.host();
  await other.mustAcquire({ previous: held });
  host.store.reachable = true;
  await world.clock.advance(60_000);
  t.is(holding.ended(), 'LEASE_LOST');
  t.is(world.leases.length, 1);
});

test('our address was taken with another subnet while our lease was gone: asked, then given up or taken back', async (t) => {
  for (const lives of [true, false]) {
    const { world, host, held, holding } = await scene(t, { unwatched: true });
    host.store.reachable = false;
    await world.clock.advance(25 * HOUR);
    const other = world.host({ publicIp: '192.0.2.1' });
    const theirs = await other.mustAcquire({ previous: { subnet: net('10.5.200.0/24'), subnet6: undefined } });
    if (lives) other.answer(t, theirs);
    host.store.reachable = true;
    await world.clock.advance(120_000);
    t.is(holding.ended(), lives ? 'LEASE_LOST' : undefined);
    t.is(world.lease(held.key) === undefined, lives);
    t.is(world.leases.length, 1);
    t.is(world.etcd.leases.length, 1);
    holding.stop();
  }
});

test('a host that heard nothing for a while looks before it renews', async (t) => {
  const { world, host, held, holding } = await scene(t);
  world.etcd.revoke(held.etcdLease);
  host.store.reachable = false;
  await world.clock.advance(1000);
  await world.host().mustAcquire({ previous: held });
  host.store.reachable = true;
  await world.clock.advance(60_000);
  t.is(holding.ended(), 'LEASE_LOST');
});

test('a clock that is set: the key is read within seconds, and the expiry is right again', async (t) => {
  for (const days of [-400, -1, 1, 400]) {
    const { world, host, holding } = await scene(t);
    const { get } = host.store.calls;
    world.clock.setWall(world.clock.now() + days * 24 * HOUR);
    await world.clock.advance(2_000);
    t.is(host.store.calls.get, get + 1);
    const left = holding.holder.held.expiresAt - world.clock.now();
    t.true(left > 23 * HOUR && left <= 24 * HOUR);
    await world.clock.advance(600_000);
    t.is(host.store.calls.get, get + 1);
    holding.stop();
  }
});

test('a process that slept beyond its lease looks before it says that it holds it', async (t) => {
  for (const taken of [false, true]) {
    const { world, host, held, holding } = await scene(t, { host: { ttlSeconds: 30 } });
    host.clock.stop();
    await world.clock.advance(40_000);
    t.is(world.lease(held.key), undefined);
    const newcomer = world.host();
    if (taken) t.is((await newcomer.mustAcquire({ previous: held })).key, held.key);
    const keepAlives = host.store.calls.keepAlive;
    // A reinstalled host asks who holds it; the sleeper hears of it in the moment in which it wakes.
    const asker = { owner: { ...newcomer.owner, claim: 'new' }, holds: undefined };
    const asking = askHolders({ ...newcomer.context() }, asker, [held]);
    await world.clock.advance(1_000);
    let isSure = false;
    const speaking = holding.holder.sure().then(() => {
      isSure = true;
      return [host.store.calls.keepAlive > keepAlives, world.lease(held.key)?.owner?.node];
    });
    speaking.catch(() => undefined);
    host.clock.go();
    await world.clock.advance(0);
    if (!taken) t.deepEqual(await world.done(speaking), [true, host.owner.node]);
    const [answered] = (await world.done(asking)).answered;
    t.is(answered?.holder.node, taken ? undefined : host.owner.node);
    t.is(isSure, !taken);
    t.is(holding.ended(), taken ? 'LEASE_LOST' : undefined);
    t.is(world.lease(held.key)?.owner?.node, taken ? newcomer.owner.node : host.owner.node);
    holding.stop();
  }
});

test('a short sleep is noticed too, and costs one look', async (t) => {
  const { world, host, holding } = await scene(t);
  const { get } = host.store.calls;
  await t.notThrowsAsync(holding.holder.sure());
  t.is(host.store.calls.get, get);
  host.clock.stop();
  await world.clock.advance(20_000);
  host.clock.go();
  await world.done(holding.holder.sure());
  t.is(host.store.calls.get, get + 1);
  await world.clock.advance(60_000);
  t.is(host.store.calls.get, get + 1);
});

test('what was read before a sleep is not believed after it', async (t) => {
  const { world, host, held, holding } = await scene(t, { host: { ttlSeconds: 30 } });
  const { get } = host.store;
  const answers: (() => void)[] = [];
  let reads = 0;
  host.store.get = async (key) => {
    reads += 1;
    const read = await get.call(host.store, key);
    if (reads === 1) await new Promise<void>((resolve) => answers.push(resolve));
    return read;
  };
  holding.holder.observe(undefined);
  await world.clock.advance(1);
  host.clock.stop();
  await world.clock.advance(60_000);
  await world.host().mustAcquire({ previous: held });
  host.clock.go();
  for (const answer of answers) answer();
  await world.clock.advance(100);
  t.is(reads, 2);
  t.is(holding.ended(), 'LEASE_LOST');
});

test('nor where somebody who asks meanwhile notices the sleep first', async (t) => {
  const { world, host, held, holding } = await scene(t);
  const { get } = host.store;
  let answer = (): void => undefined;
  let reads = 0;
  host.store.get = async (key) => {
    reads += 1;
    const read = await get.call(host.store, key);
    if (reads === 1)
      await new Promise<void>((resolve) => {
        answer = resolve;
      });
    return read;
  };
  holding.holder.observe(undefined);
  await world.clock.advance(1);
  host.clock.stop();
  await world.clock.advance(60_000);
  world.etcd.revoke(held.etcdLease);
  await world.host().mustAcquire({ previous: held });
  host.clock.go();
  // The renewal, which would tell as well, takes its time.
  const keepAlive = host.store.keepAlive.bind(host.store);
  host.store.keepAlive = async (lease) => {
    await host.clock.sleep(500, new AbortController().signal);
    return await keepAlive(lease);
  };
  let isSure = false;
  const speaking = holding.holder.sure().then(() => {
    isSure = true;
  });
  speaking.catch(() => undefined);
  answer();
  await world.clock.advance(1_000);
  t.is(reads, 2);
  t.false(isSure);
  t.is(holding.ended(), 'LEASE_LOST');
});

test('a second sleep while somebody waits to be sure is noticed as well', async (t) => {
  const { world, host, holding } = await scene(t);
  host.store.reachable = false;
  for (let i = 0; i < 2; i++) {
    host.clock.stop();
    await world.clock.advance(20_000);
    host.clock.go();
    const speaking = holding.holder.sure();
    host.store.reachable = true;
    await world.done(speaking);
  }
  t.is(holding.ended(), undefined);
});

test('one that is only remembered is good for the host itself until it has run out, and sure once it was read', async (t) => {
  const world = new World(t, CONFIG);
  const host = world.host({ ttlSeconds: 30 });
  const held = await host.mustAcquire();
  host.store.reachable = false;
  const { holder } = host.hold(t, held, { unconfirmed: 'etcd is away' });
  const told: string[] = [];
  void holder.sure().then(() => told.push('sure'));
  await world.done(holder.good());
  t.deepEqual(told, []);
  await world.clock.advance(40_000);
  void holder.good().then(() => told.push('good'));
  await world.clock.advance(1_000);
  t.deepEqual(told, []);
  host.store.reachable = true;
  await world.clock.advance(60_000);
  t.deepEqual(told.sort(), ['good', 'sure']);
});

test('a lease that ran out while etcd was away is not spoken for until it is there again', async (t) => {
  const { world, host, held, holding } = await scene(t, { host: { ttlSeconds: 30 } });
  host.store.reachable = false;
  await world.clock.advance(60_000);
  // Not even where the wall clock says that there is time left.
  world.clock.setWall(world.clock.now() - HOUR);
  const calls = host.store.calls.get;
  const speaking = holding.holder.sure();
  await world.clock.advance(10_000);
  t.true(host.store.calls.get - calls < 10, 'no tight loop');
  t.is(world.lease(held.key), undefined);
  host.store.reachable = true;
  await world.done(speaking);
  t.is(world.lease(held.key)?.value, held.value);
});

test('our value is put once a day while a flanneld lease lives, and only then', async (t) => {
  let flannelds = false;
  const { world, held, holding } = await scene(t, { options: { flanneldsLive: () => flannelds } });
  const { revision } = world.etcd.version;
  await world.clock.advance(48 * HOUR);
  t.is(world.etcd.version.revision, revision);
  flannelds = true;
  await world.clock.advance(72 * HOUR);
  const puts = world.etcd.version.revision - revision;
  t.true(puts === 3 || puts === 4, String(puts));
  t.like(world.lease(held.key), { value: held.value, etcdLease: held.etcdLease, createRevision: held.modRevision });
  t.is(holding.holder.held.modRevision, world.etcd.version.revision);
});

test('a reservation is held without an end: its value stays, its side keys are kept alive', async (t) => {
  const world = new World(t);
  const host = world.host();
  const { key, value } = keyValue({ subnet: '10.5.42.0/24', publicIp: '192.0.2.1' });
  world.etcd.put(key, value);
  const held = await host.mustAcquire();
  const holding = host.hold(t, held);
  const { revision } = world.etcd.version;
  await world.clock.advance(72 * HOUR);
  t.is(world.etcd.version.revision, revision);
  t.is(world.own.length, 2);
  world.etcd.revoke(held.sideLease ?? '');
  await world.clock.advance(HOUR);
  t.is(world.own.length, 2);
  t.like(world.lease(key), { etcdLease: '0', value: held.value });
  t.like(holding.holder.held, { etcdLease: '0', expiresAt: Number.POSITIVE_INFINITY });
  t.deepEqual(world.etcd.leases, [holding.holder.held.sideLease]);
});

test('an operator makes a reservation of a held lease, and takes it back', async (t) => {
  const it = await scene(t);
  const { world, held, holding } = it;
  world.etcd.put(held.key, held.value);
  await world.clock.advance(0);
  t.like(holding.holder.held, { etcdLease: '0', sideLease: held.etcdLease, expiresAt: Number.POSITIVE_INFINITY });
  world.etcd.put(held.key, asFlanneld(it));
  await world.clock.advance(0);
  t.like(world.lease(held.key), { etcdLease: '0', value: held.value });
  world.etcd.delete(held.key);
  await world.clock.advance(0);
  t.like(world.lease(held.key), { etcdLease: held.etcdLease, value: held.value });
  t.true(Number.isFinite(holding.holder.held.expiresAt));
});

test("etcd forbids our keys from now on: claimed again by flannel's rule, with a warning", async (t) => {
  const { world, host, held, holding } = await scene(t, { config: DUAL });
  host.store.deny(`${PREFIX}/tartan/`);
  world.etcd.delete(held.key);
  await world.clock.advance(1000);
  t.is(world.lease(held.key)?.value, held.value);
  t.is(holding.holder.held.sideLease, undefined);
  t.true(host.logged.some((message) => message.includes('forbids')));
  world.etcd.revoke(held.etcdLease);
  await world.clock.advance(1000);
  t.is(world.lease(held.key)?.value, held.value);
  for (const half of ['10.5.0.0-17', '10.5.128.0-17']) world.etcd.put(`${PREFIX}/subnets/${half}`, 'any');
  world.etcd.delete(held.key);
  await world.clock.advance(1000);
  t.is(holding.ended(), 'LEASE_LOST');
});

test("another length than the config's: claimed again only where nothing overlaps", async (t) => {
  const wide = '{"Network":"10.5.0.0/16","SubnetLen":20,"Backend":{"Type":"vxlan"}}';
  for (const intruder of [false, true]) {
    const { world, held, holding } = await scene(t, { config: wide });
    world.etcd.put(KEYS.config, CONFIG);
    const inside = `${held.subnet.split('/')[0]}-24`;
    const release = world.etcd.version.revision;
    if (intruder) {
      // Both in one step: the lease goes and another comes that is part of it.
      const success = [{ delete: held.key }, { put: `${PREFIX}/subnets/${inside}`, value: 'any', lease: '0' }];
      world.etcd.run({ compare: [], success, failure: [] });
    } else world.etcd.delete(held.key);
    await world.clock.advance(1000);
    t.is(holding.ended(), intruder ? 'LEASE_LOST' : undefined);
    t.is(world.lease(held.key) === undefined, intruder);
    t.is(world.value(KEYS.otherLengths.key), intruder ? undefined : held.key);
    t.true(world.etcd.version.revision > release);
    holding.stop();
  }
});

test("a claim of today's length that comes between the reading and the claiming of another length foils it", async (t) => {
  const wide = '{"Network":"10.5.0.0/16","SubnetLen":20,"Backend":{"Type":"vxlan"}}';
  const { world, host, held, holding } = await scene(t, { config: wide });
  world.etcd.put(KEYS.config, CONFIG);
  const inside = `${PREFIX}/subnets/${held.subnet.split('/')[0]}-24`;
  const { list } = host.store;
  host.store.list = async (range, options) => {
    const listing = await list.call(host.store, range, options);
    host.store.list = list;
    world.etcd.put(inside, 'any');
    return listing;
  };
  world.etcd.delete(held.key);
  await world.clock.advance(10_000);
  t.is(holding.ended(), 'LEASE_LOST');
  t.is(world.lease(held.key), undefined);
});

test('a wiped store: the lease is there again within its grace time, the same', async (t) => {
  const { world, held, holding } = await scene(t, { config: DUAL });
  world.etcd.restore({ clusterId: '4711' });
  world.etcd.put(KEYS.config, DUAL);
  await world.clock.advance(30_000);
  t.is(world.lease(held.key)?.value, held.value);
  t.is(holding.holder.held.clusterId, '4711');
  t.is((await world.host().acquire()).outcome, 'unsettled');
  await world.clock.advance(60_000);
  t.is(world.own.length, 3);
  t.is((await world.host().acquire()).outcome, 'held');
  t.is(holding.ended(), undefined);
});

test('a store restored from before our time: what stands there is asked, and is ours again if nobody answers', async (t) => {
  for (const lives of [false, true]) {
    const world = new World(t);
    const old = world.host();
    const stale = await old.mustAcquire();
    const backup = world.etcd.backup();
    world.etcd.revoke(stale.etcdLease);
    const host = world.host();
    const held = await host.mustAcquire({ previous: stale });
    t.is(held.subnet, stale.subnet);
    const holding = host.hold(t, held);
    await world.clock.advance(1);
    if (lives) old.answer(t, stale);
    world.etcd.restore(backup);
    await world.clock.advance(30_000);
    t.is(holding.ended(), lives ? 'LEASE_LOST' : undefined);
    t.is(world.lease(held.key)?.owner?.node, lives ? old.owner.node : host.owner.node);
    holding.stop();
  }
});

test('a store restored to where we held the lease already: nothing is put', async (t) => {
  const { world, held, holding } = await scene(t);
  const backup = world.etcd.backup();
  for (let i = 0; i < 5; i++) world.etcd.put('/elsewhere', String(i));
  await world.clock.advance(HOUR);
  world.etcd.restore({ ...backup, clusterId: '4711' });
  await world.clock.advance(30_000);
  t.is(world.etcd.version.revision, backup.revision);
  await world.clock.advance(HOUR);
  t.like(holding.holder.held, { clusterId: '4711', modRevision: held.modRevision });
  t.is(holding.ended(), undefined);
});

test('a lost re-claim is run again, never in a tight loop', async (t) => {
  const { world, host, held, holding } = await scene(t);
  const { txn } = host.store;
  let claims = 0;
  host.store.txn = async (request) => {
    if (request.success.some((op) => 'put' in op && op.put === held.key)) {
      claims += 1;
      world.etcd.put(KEYS.node('node1'), `moved ${claims}`);
    }
    return txn.call(host.store, request);
  };
  world.etcd.delete(held.key);
  await world.clock.advance(60_000);
  t.true(claims > 5 && claims < 60, String(claims));
  host.store.txn = txn;
  await world.clock.advance(6_000);
  t.is(world.lease(held.key)?.value, held.value);
  t.is(holding.ended(), undefined);
});

test('rubbish that is put at our key just before we claim it again is overwritten, not believed', async (t) => {
  const { world, host, held, holding } = await scene(t);
  const { txn } = host.store;
  let rubbish = 1;
  host.store.txn = async (request) => {
    const claims = request.success.some((op) => 'put' in op && op.put === held.key);
    if (claims && rubbish-- > 0) world.etcd.put(held.key, 'rubbish');
    return txn.call(host.store, request);
  };
  world.etcd.delete(held.key);
  await world.clock.advance(10_000);
  t.true(rubbish < 0);
  t.is(holding.ended(), undefined);
  t.is(world.lease(held.key)?.value, held.value);
});

test('stopped: it ends with the reason, and leaves the lease', async (t) => {
  const { world, held, holding } = await scene(t);
  holding.stop();
  await world.clock.advance(1000);
  t.is(holding.ended(), 'stopped');
  t.truthy(world.lease(held.key));
});

test('dual stack: another pair has our IPv4 subnet, or our IPv6 one: the lease is lost', async (t) => {
  for (const taken of ['IPv4', 'IPv6']) {
    const { world, held, holding } = await scene(t, { config: DUAL });
    const [v4, v6] = [held.subnet, String(held.subnet6)];
    const other =
      taken === 'IPv4' ? { subnet: v4, subnet6: 'fd00:5:0:ffff::/64' } : { subnet: '10.5.250.0/24', subnet6: v6 };
    const { key, value } = keyValue({ ...other, publicIp: '192.0.2.99' });
    const success = [{ delete: held.key }, { put: key, value, lease: '0' }];
    world.etcd.run({ compare: [], success, failure: [] });
    await world.clock.advance(60_000);
    t.is(holding.ended(), 'LEASE_LOST', taken);
    holding.stop();
  }
});

test('rubbish beside our key does not keep us from claiming it again', async (t) => {
  const { world, held, holding } = await scene(t);
  world.etcd.put(`${held.key}&rubbish`, 'any');
  world.etcd.delete(held.key);
  await world.clock.advance(0);
  t.is(world.lease(held.key)?.value, held.value);
  t.is(holding.ended(), undefined);
});

/** This host as it is with another public IP. */
function renumbered({ host, held }: Scene, publicIp: string): HeldLease['attributes'] {
  return { ...host.attributes, publicIp: ip(publicIp), owner: held.attributes.owner };
}

test('another public IP: put at once into the lease held, and its side key moves with it', async (t) => {
  const all = await scene(t);
  const { world, held, holding } = all;
  all.holding.holder.advertise(renumbered(all, '192.0.2.99'));
  await world.clock.advance(1_000);
  const lease = world.lease(held.key);
  t.is(lease?.publicIp, ip('192.0.2.99'));
  t.deepEqual([lease?.etcdLease, lease?.createRevision], [held.etcdLease, held.modRevision]);
  t.deepEqual(world.own, ['addresses/192.0.2.99', 'nodes/node1']);
  t.is(holding.told.at(-1)?.attributes.publicIp, ip('192.0.2.99'));
  // Kept like any other.
  const { revision } = world.etcd.version;
  await world.clock.advance(24 * HOUR);
  t.is(world.etcd.version.revision, revision);
  t.is(holding.ended(), undefined);
});

test('what is advertised as it stands is not put', async (t) => {
  const all = await scene(t);
  const { revision } = all.world.etcd.version;
  all.holding.holder.advertise({ ...all.host.attributes, owner: all.held.attributes.owner });
  await all.world.clock.advance(10_000);
  t.is(all.world.etcd.version.revision, revision);
});

test('another public IP while etcd is away is put when it is back; of several the last', async (t) => {
  const all = await scene(t);
  const { world, host, held, holding } = all;
  host.store.reachable = false;
  for (const last of [97, 98, 99]) {
    holding.holder.advertise(renumbered(all, `192.0.2.${last}`));
    await world.clock.advance(60_000);
  }
  t.is(world.lease(held.key)?.publicIp, host.publicIp);
  host.store.reachable = true;
  await world.clock.advance(60_000);
  t.is(world.lease(held.key)?.publicIp, ip('192.0.2.99'));
  t.deepEqual(world.own, ['addresses/192.0.2.99', 'nodes/node1']);
});

test('a public IP that a live host has is not taken, who has it is told, and it is tried again', async (t) => {
  const all = await scene(t);
  const { world, host, held, holding } = all;
  const other = world.host({ publicIp: '192.0.2.99' });
  const theirs = await other.mustAcquire();
  const living = other.hold(t, theirs);
  holding.holder.advertise(renumbered(all, '192.0.2.99'));
  await world.clock.advance(120_000);
  t.is(holding.holder.refusedBy?.name, other.owner.name);
  t.is(world.lease(held.key)?.publicIp, host.publicIp);
  t.is(world.lease(theirs.key)?.publicIp, ip('192.0.2.99'));
  t.is(host.logged.filter((line) => /another live host has our public IP/.test(line)).length, 1);
  // It dies: the address is ours, and the lease that it left goes.
  living.stop();
  await world.clock.advance(60_000);
  t.is(world.lease(held.key)?.publicIp, ip('192.0.2.99'));
  t.is(world.lease(theirs.key), undefined);
  t.is(holding.holder.refusedBy, undefined);
});

/** Hosts that live, each with a lease. */
async function fleet(t: ExecutionContext, count: number) {
  const world = new World(t);
  const hosts = Array.from({ length: count }, () => world.host());
  const members: { readonly host: Host; readonly held: HeldLease; readonly holding: Holding }[] = [];
  for (const host of hosts) {
    const held = await host.mustAcquire();
    members.push({ host, held, holding: host.hold(t, held) });
  }
  const addresses = hosts.map(({ publicIp }) => publicIp);
  const renumber = (who: number, to: number): void => {
    const one = members[who];
    const publicIp = addresses[to];
    if (one && publicIp) one.holding.holder.advertise({ ...one.held.attributes, publicIp });
  };
  /** Which address each lease says, by its number; no side key may say anything else. */
  const order = (): readonly number[] =>
    members.map(({ host, held }) => {
      const lease = world.lease(held.key);
      const beside = lease && world.value(KEYS.address(lease.publicIp));
      if (!beside?.includes(`"node":"${host.owner.node}"`) || !beside.includes(`"lease":"${held.key}"`)) return -1;
      return addresses.indexOf(lease?.publicIp);
    });
  const never: string[] = [];
  world.etcd.subscribe(() => {
    const all = world.leases.map(({ publicIp }) => publicIp);
    if (new Set(all).size !== count) never.push(all.join(' '));
  });
  return { world, members, renumber, order, never };
}

for (const [what, ring] of [
  ['two', [1, 0]],
  ['three', [1, 2, 0]],
  ['five', [1, 2, 3, 4, 0]],
] as const) {
  for (const apartMs of [0, 300, 45_000]) {
    test(`${what} hosts swap their public IPs, ${apartMs} ms apart: each lease says its own, never two the same`, async (t) => {
      const { world, members, renumber, order, never } = await fleet(t, ring.length);
      for (const [who, to] of ring.entries()) {
        renumber(who, to);
        await world.clock.advance(apartMs);
      }
      await world.clock.advance(90_000);
      t.deepEqual(order(), ring);
      t.deepEqual(never, []);
      t.true(members.every(({ holding }) => holding.ended() === undefined && holding.holder.refusedBy === undefined));
      t.is(world.own.length, 2 * ring.length, world.own.join(' '));
      // Kept like any other, on the etcd leases that they had; nothing is put again.
      const { revision } = world.etcd.version;
      await world.clock.advance(2 * HOUR);
      t.is(world.etcd.version.revision, revision);
      for (const { held } of members) t.is(world.lease(held.key)?.etcdLease, held.etcdLease);
    });
  }
}

test('refused the address that it wants, a host keeps its lease all the same: renewed in time, claimed again with the old one', async (t) => {
  for (const [what, wait] of [
    ['refused before', 60_000],
    ['not asked yet', 0],
  ] as const) {
    const world = new World(t);
    const [host, other] = [world.host({ ttlSeconds: 15 }), world.host()];
    const held = await host.mustAcquire();
    other.hold(t, await other.mustAcquire());
    const holding = host.hold(t, held);
    if (wait > 0) {
      holding.holder.advertise({ ...held.attributes, publicIp: ip('192.0.2.2') });
      await world.clock.advance(wait);
      t.is(holding.holder.refusedBy?.name, other.owner.name);
      t.is(world.lease(held.key)?.createRevision, held.modRevision, 'it never ran out');
    } else {
      host.store.reachable = false;
      holding.holder.advertise({ ...held.attributes, publicIp: ip('192.0.2.2') });
    }
    world.etcd.delete(held.key);
    host.store.reachable = true;
    await world.clock.advance(10_000);
    t.is(holding.ended(), undefined, what);
    t.is(world.value(held.key), held.value, what);
    holding.stop();
  }
});

test('a key that is deleted while another address is to be put: nothing of ours is left at the old one', async (t) => {
  const { world, members, renumber, order } = await fleet(t, 2);
  const [first] = members;
  if (first) world.etcd.delete(first.held.key);
  first?.holding.holder.advertise({ ...first.held.attributes, publicIp: ip('192.0.2.99') });
  await world.clock.advance(10_000);
  renumber(1, 0);
  await world.clock.advance(60_000);
  t.deepEqual(order(), [-1, 0]);
  t.deepEqual(world.own, ['addresses/192.0.2.1', 'addresses/192.0.2.99', 'nodes/node1', 'nodes/node2']);
});

test('the one who leaves an address need not get another: who has it now gets it, the other waits with one of nobody', async (t) => {
  const { world, members, renumber, order } = await fleet(t, 3);
  // The last has its address still.
  renumber(1, 2);
  await world.clock.advance(60_000);
  t.is(members[1]?.holding.holder.refusedBy?.name, 'host3');
  renumber(0, 1);
  await world.clock.advance(60_000);
  t.deepEqual(order(), [1, 0, 2]);
  t.is(members[1]?.holding.holder.refusedBy?.name, 'host3');
  t.is(members[0]?.holding.holder.refusedBy, undefined);
});

test('whose address is another one again by the time of the exchange gets it back', async (t) => {
  const { world, members, renumber, order, never } = await fleet(t, 2);
  renumber(1, 0);
  renumber(0, 1);
  await world.clock.advanceUntil(() => world.own.some((key) => key.startsWith('challenges/')), 1_000, 1);
  renumber(0, 0);
  renumber(1, 1);
  await world.clock.advance(90_000);
  t.deepEqual(order(), [0, 1]);
  t.deepEqual(never, []);
  t.true(members.every(({ holding }) => holding.ended() === undefined));
});

test('what a holder is said to agree to is looked at: anything else is a refusal', async (t) => {
  const bad: Record<string, (value: string, other: string) => string> = {
    'the address is kept': (value) => value,
    'a third address': (value) => value.replace('192.0.2.2', '192.0.2.77'),
    'another owner': (value) => value.replace('192.0.2.2', '192.0.2.1').replace('claim2', 'claim9'),
    rubbish: () => '{',
  };
  for (const [what, change] of Object.entries(bad)) {
    const world = new World(t);
    const [host, other] = [world.host(), world.host()];
    const [held, theirs] = [await host.mustAcquire(), await other.mustAcquire()];
    const stop = other.answer(t, theirs, { sure: async () => undefined, cede: () => change(theirs.value, held.value) });
    const holding = host.hold(t, held);
    holding.holder.advertise({ ...held.attributes, publicIp: ip('192.0.2.2') });
    await world.clock.advance(10_000);
    t.is(holding.holder.refusedBy?.name, other.owner.name, what);
    t.is(world.value(theirs.key), theirs.value, what);
    t.is(world.value(held.key), held.value, what);
    stop();
    holding.stop();
  }
});

test('the lease that a dead flanneld left at our new public IP goes: peers would believe it, the older one', async (t) => {
  const all = await scene(t);
  const { world, held, holding } = all;
  const left = keyValue({ subnet: net('10.5.77.0/24'), publicIp: '192.0.2.99', mac: '02:00:00:00:00:77' });
  world.etcd.put(left.key, left.value, world.etcd.grant(3600));
  holding.holder.advertise(renumbered(all, '192.0.2.99'));
  await world.clock.advance(10_000);
  t.is(world.lease(held.key)?.publicIp, ip('192.0.2.99'));
  t.is(world.lease(left.key), undefined);
});

test('a put whose answer was lost is recognised as ours', async (t) => {
  const all = await scene(t);
  const { world, host, held, holding } = all;
  const txn = host.store.txn.bind(host.store);
  let isLost = false;
  host.store.txn = async (one) => {
    const result = await txn(one);
    if (isLost || !one.success.some((op) => 'put' in op && op.put === held.key)) return result;
    isLost = true;
    throw new TartanError('ETCD_UNAVAILABLE', 'the answer is lost');
  };
  holding.holder.advertise(renumbered(all, '192.0.2.99'));
  await world.clock.advance(60_000);
  holding.holder.advertise(renumbered(all, '192.0.2.98'));
  await world.clock.advance(60_000);
  t.is(holding.ended(), undefined);
  t.true(isLost);
  t.is(world.lease(held.key)?.publicIp, ip('192.0.2.98'));
});
