import test from 'ava';
import { acquire } from '../../../leases/acquisition.ts';
import { formatLeaseValue } from '../../../leases/codec.ts';
import { readView } from '../../../leases/registry.ts';
import { trustAfter } from '../../../leases/store-trust.ts';
import { keyValue, net, PREFIX } from './leases.ts';
import { CONFIG, DUAL, type Host, KEYS, World } from './world.ts';

const NARROW = '{"Network":"10.5.0.0/24","SubnetLen":26,"SubnetMin":"10.5.0.64","SubnetMax":"10.5.0.192"}';

/** A lease that a flanneld wrote. */
function flanneldLease(world: World, subnet: string, host: Host, etcdLease = world.etcd.grant(86_400)): string {
  const { key, value } = keyValue({ subnet, publicIp: String(host.publicIp), mac: host.mac });
  world.etcd.put(key, value, etcdLease);
  return key;
}

test('a new host: one transaction, everything on one etcd lease, nothing else left', async (t) => {
  const world = new World(t);
  const host = world.host();
  const result = await host.acquire();
  if (result.outcome !== 'held') return t.fail(result.outcome);
  const { held, by, transactions } = result;
  t.like({ by, transactions }, { by: 'new', transactions: 1 });
  t.like(host.store.calls, { list: 1, grant: 1, txn: 1, get: 0, revoke: 0 });
  t.deepEqual(world.etcd.leases, [held.etcdLease]);
  t.deepEqual(world.own, ['addresses/192.0.2.1', 'nodes/node1']);
  t.true(world.etcd.kvs.slice(1).every(({ lease }) => lease === held.etcdLease));
  t.is(world.lease(held.key)?.value, held.value);
  t.is(held.value, formatLeaseValue({ ...host.attributes, owner: host.owner }));
  t.is(held.expiresAt, world.clock.now() + 86_400_000);
  t.is(held.sideLease, held.etcdLease);
  return undefined;
});

test('what this host held before comes first; where it is taken, another', async (t) => {
  const world = new World(t);
  const previous = { subnet: net('10.5.77.0/24'), subnet6: undefined };
  t.is((await world.host().mustAcquire({ previous })).subnet, previous.subnet);
  t.not((await world.host().mustAcquire({ previous })).subnet, previous.subnet);
});

test('a restart writes nothing: the lease is renewed in place', async (t) => {
  const world = new World(t, DUAL);
  const host = world.host();
  const before = await host.mustAcquire();
  await world.clock.advance(3_600_000);
  const { revision } = world.etcd.version;
  const result = await host.acquire({ previous: before });
  if (result.outcome !== 'held') return t.fail(result.outcome);
  t.like(result, { by: 'resumed', transactions: 0 });
  t.is(world.etcd.version.revision, revision);
  t.deepEqual(result.held, { ...before, expiresAt: world.clock.now() + 86_400_000 });
  t.deepEqual(world.etcd.leases, [before.etcdLease]);
  return undefined;
});

test('another --lease-ttl: one transaction onto a new etcd lease, the old one is given back', async (t) => {
  const world = new World(t);
  const before = await world.host().mustAcquire();
  const again = await world.host({ node: 'node1', claim: 'claim1', publicIp: '192.0.2.1', ttlSeconds: 600 }).acquire();
  if (again.outcome !== 'held') return t.fail(again.outcome);
  t.like(again, { by: 'ours', transactions: 1, held: { subnet: before.subnet, ttlSeconds: 600 } });
  t.deepEqual(world.etcd.leases, [again.held.etcdLease]);
  t.is(world.own.length, 2);
  return undefined;
});

test('another value (a new MAC): put on a new etcd lease, the old one is given back only after', async (t) => {
  const world = new World(t);
  const before = await world.host().mustAcquire();
  const gone: number[] = [];
  world.etcd.subscribe(() => gone.push(world.lease(before.key) === undefined ? 1 : 0));
  const host = world.host({ node: 'node1', claim: 'claim1', publicIp: '192.0.2.1', mac: '02:00:00:00:99:99' });
  const after = await host.mustAcquire();
  t.is(after.key, before.key);
  t.false(gone.includes(1));
  t.deepEqual(world.etcd.leases, [after.etcdLease]);
});

test('a lease that was taken over between the view and the renewal is not resumed', async (t) => {
  const world = new World(t);
  const host = world.host();
  const before = await host.mustAcquire();
  const { keepAlive } = host.store;
  host.store.keepAlive = async () => {
    world.etcd.put(before.key, keyValue({ subnet: before.subnet, publicIp: '192.0.2.99' }).value, before.etcdLease);
    host.store.keepAlive = keepAlive;
    return 86_400;
  };
  const after = await host.mustAcquire();
  t.not(after.subnet, before.subnet);
});

test("the swap: a flanneld's lease of our address is taken on, with the MAC that it names", async (t) => {
  const world = new World(t);
  const host = world.host();
  const key = flanneldLease(world, '10.5.42.0/24', host);
  let target: string | undefined;
  const attributes = async (lease: { readonly key: string } | undefined) => {
    target = lease?.key;
    return host.attributes;
  };
  const result = await host.acquire({ attributes });
  t.like(result, { outcome: 'held', by: 'flanneld', transactions: 1 });
  t.is(target, key);
  t.is(world.leases.length, 1);
  // flanneld's etcd lease is not ours to end: it runs out.
  t.is(world.etcd.leases.length, 2);
});

test('leases of ours that do not fit the config go in the same transaction', async (t) => {
  const world = new World(t);
  const host = world.host();
  flanneldLease(world, '10.6.1.0/24', host);
  flanneldLease(world, '10.5.1.0/28', host);
  const revisions: number[] = [];
  const held = await host.mustAcquire();
  for (const { modRevision } of world.leases) revisions.push(modRevision);
  t.deepEqual(revisions, [held.modRevision]);
});

test('from IPv4 to dual stack the IPv4 subnet stays', async (t) => {
  const world = new World(t);
  const host = world.host({ publicIp6: 'fd77::1' });
  const before = await host.mustAcquire();
  world.etcd.put(KEYS.config, DUAL);
  const after = await host.mustAcquire();
  t.is(after.subnet, before.subnet);
  t.truthy(after.subnet6);
  t.is(world.leases.length, 1);
  t.deepEqual(world.etcd.leases, [after.etcdLease]);
});

test('a reservation is taken on and stays one; its side keys hang on an etcd lease of their own', async (t) => {
  const world = new World(t);
  const host = world.host();
  const key = flanneldLease(world, '10.5.42.0/24', host, '0');
  const held = await host.mustAcquire();
  t.like(held, { key, etcdLease: '0', expiresAt: Number.POSITIVE_INFINITY });
  t.is(world.lease(key)?.etcdLease, '0');
  t.deepEqual(world.etcd.leases, [held.sideLease]);
  t.is(world.own.length, 2);
  const { revision } = world.etcd.version;
  const again = await host.acquire();
  t.like(again, { outcome: 'held', by: 'resumed', held: { etcdLease: '0', sideLease: held.sideLease } });
  t.is(world.etcd.version.revision, revision);
});

test('a reservation outlives its side keys: after a long absence they are put again, the rest is as it was', async (t) => {
  const world = new World(t);
  const host = world.host();
  flanneldLease(world, '10.5.42.0/24', host, '0');
  await host.mustAcquire();
  await world.clock.advance(2 * 86_400_000);
  t.deepEqual(world.own, []);
  const held = await host.mustAcquire();
  t.is(held.etcdLease, '0');
  t.deepEqual(world.etcd.leases, [held.sideLease]);
  t.is(world.own.length, 2);
});

test('a reservation comes before another lease of ours, which goes; a second reservation stays', async (t) => {
  const world = new World(t);
  const host = world.host();
  const before = await host.mustAcquire();
  const reserved = flanneldLease(world, '10.5.250.0/24', host, '0');
  const other = flanneldLease(world, '10.5.251.0/24', host, '0');
  const held = await host.mustAcquire();
  t.is(held.key, reserved);
  t.is(world.lease(before.key), undefined);
  t.is(world.lease(other)?.etcdLease, '0');
  t.false(world.etcd.leases.includes(before.etcdLease));
});

test('state lost: the same address and node get their lease back when nobody answers', async (t) => {
  const world = new World(t);
  const before = await world.host().mustAcquire();
  const host = world.host({ publicIp: '192.0.2.1', node: 'node1', claim: 'new' });
  const result = await host.acquire();
  t.like(result, { outcome: 'held', by: 'ours-state-lost', held: { key: before.key } });
  t.true(world.clock.monotonic() < 10_000);
});

test('a second agent on a host, with a state directory of its own, is refused while the first lives', async (t) => {
  const world = new World(t);
  const first = world.host();
  const held = await first.mustAcquire();
  const { stop } = first.hold(t, held);
  const second = world.host({ publicIp: '192.0.2.1', node: 'node1', claim: 'new' });
  t.like(await second.acquire(), { outcome: 'refused', holder: first.owner });
  stop();
});

test('reinstalled: the same address as another node gets the lease back when nobody answers', async (t) => {
  const world = new World(t);
  const before = await world.host().mustAcquire();
  const host = world.host({ publicIp: '192.0.2.1' });
  const result = await host.acquire();
  t.like(result, { outcome: 'held', by: 'same-address', held: { key: before.key } });
  t.true(world.clock.monotonic() < 10_000);
  t.deepEqual(world.own, ['addresses/192.0.2.1', 'nodes/node2']);
  t.is(world.etcd.leases.length, 1);
});

test('a duplicate address is refused while its holder lives, by name, and nothing of it stays', async (t) => {
  const world = new World(t);
  const first = world.host();
  const held = await first.mustAcquire();
  const { stop } = first.hold(t, held);
  const second = world.host({ publicIp: '192.0.2.1' });
  const { subnet } = held;
  t.like(await second.acquire(), { outcome: 'refused', holder: first.owner, subnets: { subnet } });
  t.deepEqual(world.etcd.leases, [held.etcdLease]);
  t.is(world.own.length, 2);
  stop();
  t.like(await second.acquire(), { outcome: 'held', by: 'same-address' });
});

test('a clone at another address is refused while the first lives; renumbered, it gets its lease', async (t) => {
  const world = new World(t);
  const first = world.host();
  const held = await first.mustAcquire();
  const holding = first.hold(t, held);
  const clone = world.host({ node: 'node1', claim: 'claim1', publicIp: '192.0.2.7' });
  t.like(await clone.acquire(), { outcome: 'refused', holder: first.owner });
  holding.stop();
  t.like(await clone.acquire(), { outcome: 'held', by: 'same-node', held: { subnet: held.subnet } });
});

test('the old address of a renumbered host is free for another at once', async (t) => {
  const world = new World(t);
  const held = await world.host().mustAcquire();
  await world.host({ node: 'node1', claim: 'claim1', publicIp: '192.0.2.7' }).mustAcquire();
  t.deepEqual(world.own, ['addresses/192.0.2.7', 'nodes/node1']);
  const at = world.clock.monotonic();
  const heir = await world.host({ publicIp: '192.0.2.1' }).mustAcquire();
  t.not(heir.subnet, held.subnet);
  t.is(world.clock.monotonic(), at);
});

test("a side key left by a host that now has another address is in nobody's way", async (t) => {
  const world = new World(t);
  const mover = world.host({ publicIp: '192.0.2.7' });
  const held = await mover.mustAcquire();
  mover.hold(t, held);
  const record = world.value(KEYS.address('192.0.2.7')) ?? '';
  world.etcd.put(KEYS.address('192.0.2.1'), record, held.etcdLease);
  const at = world.clock.monotonic();
  t.like(await world.host({ publicIp: '192.0.2.1' }).acquire(), { outcome: 'held', by: 'new' });
  // Nobody is asked: that takes three seconds.
  t.true(world.clock.monotonic() - at < 100);
});

test("a lease deleted by hand does not open its holder's address to another", async (t) => {
  const world = new World(t);
  const first = world.host();
  const held = await first.mustAcquire();
  first.answer(t, held);
  world.etcd.delete(held.key);
  t.like(await world.host({ publicIp: '192.0.2.1' }).acquire(), { outcome: 'refused', holder: first.owner });
});

test("a clone is refused although the first one's lease was deleted by hand", async (t) => {
  const world = new World(t);
  const first = world.host();
  const held = await first.mustAcquire();
  first.answer(t, held);
  world.etcd.delete(held.key);
  const clone = world.host({ node: 'node1', claim: 'claim1', publicIp: '192.0.2.7' });
  t.like(await clone.acquire(), { outcome: 'refused', holder: first.owner });
  const back = world.host({ node: 'node1', claim: 'claim1', publicIp: '192.0.2.1' });
  t.like(await back.acquire({ previous: held }), { outcome: 'held', by: 'new', held: { subnet: held.subnet } });
});

test('a host that moves to our address between our two reads is asked, not overlooked', async (t) => {
  const world = new World(t);
  const mover = world.host({ publicIp: '192.0.2.7' });
  const before = await mover.mustAcquire();
  const newcomer = world.host({ publicIp: '192.0.2.1' });
  const view = await readView(newcomer.store, PREFIX);
  const moved = world.host({ publicIp: '192.0.2.1', node: 'node1', claim: 'claim1' });
  const held = await moved.mustAcquire();
  t.is(held.key, before.key);
  moved.answer(t, held);
  t.like(await newcomer.acquire({ view }), { outcome: 'refused', holder: moved.owner });
});

test('two with one address that start in the same moment: one holds, the other is refused by name', async (t) => {
  const world = new World(t);
  const hosts = [world.host({ publicIp: '192.0.2.1' }), world.host({ publicIp: '192.0.2.1' })];
  const results = await world.done(
    Promise.all(
      hosts.map(async (host) => {
        const result = await acquire(host.context(), host.request());
        if (result.outcome === 'held') host.hold(t, result.held);
        return result;
      }),
    ),
  );
  const winner = results.findIndex(({ outcome }) => outcome === 'held');
  t.like(results[1 - winner], { outcome: 'refused', holder: hosts[winner]?.owner });
  t.is(world.leases.length, 1);
});

test("etcd forbids our keys: flannel's rule, with a warning, and other nodes' leases are left alone", async (t) => {
  const world = new World(t);
  const first = world.host();
  const clone = world.host({ node: 'node1', claim: 'claim1', publicIp: '192.0.2.7' });
  const before = await first.mustAcquire();
  for (const host of [first, clone]) host.store.deny(`${PREFIX}/tartan/`);
  const result = await clone.acquire();
  t.like(result, { outcome: 'held', by: 'new', held: { sideLease: undefined } });
  t.is(world.lease(before.key)?.value, before.value);
  t.is(clone.logged.length, 1);
  const duplicate = world.host({ publicIp: '192.0.2.1' });
  duplicate.store.deny(`${PREFIX}/tartan/`);
  t.like(await duplicate.acquire(), { outcome: 'held', by: 'same-address', held: { key: before.key } });
});

test('permission for our keys is revoked between reading and claiming', async (t) => {
  const world = new World(t);
  const host = world.host();
  const attributes = async () => {
    host.store.deny(`${PREFIX}/tartan/`);
    return host.attributes;
  };
  t.like(await host.acquire({ attributes }), { outcome: 'held', by: 'new' });
  t.deepEqual(world.own, []);
  t.is(world.etcd.leases.length, 1);
});

test('where the leases themselves are forbidden it is an error, and nothing stays', async (t) => {
  const world = new World(t);
  const host = world.host();
  const attributes = async () => {
    host.store.deny(`${PREFIX}/`);
    return host.attributes;
  };
  await t.throwsAsync(host.acquire({ attributes }), { code: 'ETCD_REFUSED' });
  t.deepEqual(world.etcd.leases, []);
});

test('without our keys two hosts still never get one IPv6 subnet', async (t) => {
  const world = new World(t, DUAL);
  const hosts = Array.from({ length: 8 }, () => world.host());
  const config = '{"Network":"10.5.0.0/16","EnableIPv6":true,"IPv6Network":"fd00:5::/60","Backend":{"Type":"vxlan"}}';
  world.etcd.put(KEYS.config, config);
  const work = hosts.map((host) => {
    host.store.deny(`${PREFIX}/tartan/`);
    return acquire(host.context(), host.request());
  });
  const results = await world.done(Promise.all(work));
  t.true(results.every(({ outcome }) => outcome === 'held'));
  t.is(new Set(world.leases.map(({ subnet6 }) => subnet6)).size, 8);
});

test('the config changed: told, and nothing stays', async (t) => {
  const world = new World(t);
  const host = world.host();
  const request = host.request();
  world.etcd.put(KEYS.config, '{"Network":"10.7.0.0/16"}');
  t.deepEqual(await host.acquire(request), { outcome: 'config-changed' });
  const later = host.request();
  const view = await readView(host.store, PREFIX);
  world.etcd.put(KEYS.config, CONFIG);
  t.deepEqual(await host.acquire({ ...later, view }), { outcome: 'config-changed' });
  t.deepEqual(world.etcd.leases, []);
});

test('a range is filled by hosts that all saw it empty, in few transactions; who comes too late is told', async (t) => {
  const world = new World(t, '{"Network":"10.5.0.0/16","SubnetMin":"10.5.64.0","SubnetMax":"10.5.127.0"}');
  const hosts = Array.from({ length: 66 }, () => world.host());
  const [first] = hosts;
  const view = first && (await readView(first.store, PREFIX));
  const results = await world.done(Promise.all(hosts.map((host) => acquire(host.context(), host.request({ view })))));
  const held = results.flatMap((one) => (one.outcome === 'held' ? [one.held.subnet] : []));
  t.is(new Set(held).size, 64);
  t.is(results.filter(({ outcome }) => outcome === 'exhausted').length, 2);
  const transactions = results.reduce((sum, one) => sum + ('transactions' in one ? one.transactions : 0), 0);
  t.true(transactions / hosts.length < 3, `${transactions}`);
});

test('an exhausted range is said, and nothing stays; a free one is found', async (t) => {
  const world = new World(t, NARROW);
  const hosts = Array.from({ length: 4 }, () => world.host());
  const outcomes: string[] = [];
  for (const host of hosts) outcomes.push((await host.acquire()).outcome);
  t.deepEqual(outcomes, ['held', 'held', 'held', 'exhausted']);
  t.is(world.etcd.leases.length, 3);
  world.etcd.revoke(world.leases[0]?.etcdLease ?? '');
  t.is((await hosts[3]?.acquire())?.outcome, 'held');
});

test('a key that makes no sense where a subnet would be: another one is taken', async (t) => {
  const world = new World(t, NARROW);
  for (const address of ['10.5.0.64', '10.5.0.192']) world.etcd.put(`${PREFIX}/subnets/${address}-26&rubbish`, 'any');
  const held = await world.host().mustAcquire();
  t.is(held.subnet, net('10.5.0.128/26'));
  t.is((await world.host().acquire()).outcome, 'exhausted');
});

test('the placeholder of an IPv6-only lease takes no IPv4 subnet, and no lease takes all', async (t) => {
  const world = new World(t, NARROW);
  for (const name of ['0.0.0.0-0&fd00::-64', '0.0.0.0-0']) world.etcd.put(`${PREFIX}/subnets/${name}`, 'any');
  for (let i = 0; i < 3; i++) t.is((await world.host().acquire()).outcome, 'held');
});

test('a lease that covers many subnets or is in one takes all it overlaps', async (t) => {
  const world = new World(t, NARROW);
  for (const name of ['10.5.0.0-25', '10.5.0.200-29']) world.etcd.put(`${PREFIX}/subnets/${name}`, 'any');
  t.is((await world.host().mustAcquire()).subnet, net('10.5.0.128/26'));
});

test('a claim of another length that comes between view and claim is seen', async (t) => {
  const world = new World(t, NARROW);
  const host = world.host();
  const view = await readView(host.store, PREFIX);
  world.etcd.put(`${PREFIX}/subnets/10.5.0.0-25`, 'any');
  world.etcd.put(KEYS.otherLengths.key, 'any');
  const result = await host.acquire({ view });
  t.like(result, { outcome: 'held' });
  t.not(result.outcome === 'held' && result.held.subnet, net('10.5.0.64/26'));
});

test('the answer was lost: the claim is undone, and the next attempt stands on nothing', async (t) => {
  const world = new World(t);
  const host = world.host();
  const attributes = async () => {
    host.store.failNext();
    return host.attributes;
  };
  await t.throwsAsync(host.acquire({ attributes }), { code: 'ETCD_UNAVAILABLE' });
  t.is(world.leases.length, 0);
  const late = async () => {
    const { txn } = host.store;
    host.store.txn = async (request) => {
      host.store.txn = txn;
      host.store.failNext({ afterwards: true });
      return host.store.txn(request);
    };
    return host.attributes;
  };
  await t.throwsAsync(host.acquire({ attributes: late }), { code: 'ETCD_UNAVAILABLE' });
  t.deepEqual(world.etcd.leases, []);
  t.is((await host.acquire()).outcome, 'held');
});

test('a short etcd lease does not run out while a holder is asked', async (t) => {
  const world = new World(t);
  await world.host().mustAcquire();
  const host = world.host({ publicIp: '192.0.2.1', ttlSeconds: 2 });
  const held = await host.mustAcquire();
  t.is(held.expiresAt, world.clock.now() + 2000);
});

test('stopped while asking: it ends at once and nothing stays', async (t) => {
  const world = new World(t);
  const before = await world.host().mustAcquire();
  const host = world.host({ publicIp: '192.0.2.1' });
  const stop = new AbortController();
  const work = acquire(host.context(stop.signal), host.request());
  await world.clock.advance(1000);
  stop.abort(new Error('stopped'));
  await t.throwsAsync(work, { message: 'stopped' });
  t.deepEqual(world.etcd.leases, [before.etcdLease]);
});

test('a restored store: nobody allocates anew for its grace time, who held a lease may have it again', async (t) => {
  const world = new World(t);
  const known = { clusterId: '1', revision: 5 };
  const trust = trustAfter({ version: known, settledAt: 0 }, world.etcd.version, world.clock.monotonic());
  const previous = { subnet: net('10.5.77.0/24'), subnet6: undefined };
  const now = world.clock.now();
  const host = world.host();
  t.deepEqual(await host.acquire({ trust }), { outcome: 'unsettled' });
  t.deepEqual(await host.acquire({ trust, previous }), { outcome: 'unsettled' });
  t.deepEqual(await host.acquire({ trust, previous: { ...previous, expiresAt: now - 1 } }), { outcome: 'unsettled' });
  t.deepEqual(world.etcd.leases, []);
  const held = await host.mustAcquire({ trust, previous: { ...previous, expiresAt: now + 1000 } });
  t.is(held.subnet, previous.subnet);
  t.is((await host.acquire({ trust })).outcome, 'held');
  const second = world.host();
  const taken = { ...previous, expiresAt: now + 1000 };
  t.deepEqual(await second.acquire({ trust, previous: taken }), { outcome: 'unsettled' });
  await world.clock.advance(60_000);
  t.is((await second.acquire({ trust })).outcome, 'held');
});

test("a store that went back under the caller's feet is not allocated from", async (t) => {
  const world = new World(t);
  const { clusterId, revision } = world.etcd.version;
  const trust = { version: { clusterId, revision: revision + 1 }, settledAt: 0 };
  t.deepEqual(await world.host().acquire({ trust }), { outcome: 'unsettled' });
  world.etcd.put('/elsewhere', 'any');
  t.is((await world.host().acquire({ trust })).outcome, 'held');
});
