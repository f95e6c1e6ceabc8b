import test from 'ava';
import { releaseLeases } from '../../../leases/release.ts';
import { ip, keyValue, PREFIX } from './leases.ts';
import { DUAL, World } from './world.ts';

test('everything of ours is given back in etcd, and nothing of others', async (t) => {
  const world = new World(t, DUAL);
  const [host, other] = [world.host(), world.host()];
  const held = await host.mustAcquire();
  const theirs = await other.mustAcquire();
  const { released, kept } = await releaseLeases(host.store, PREFIX, host.owner.claim);
  t.deepEqual([released.map(({ key }) => key), kept], [[held.key], []]);
  t.deepEqual(world.etcd.leases, [theirs.etcdLease]);
  t.deepEqual(
    world.leases.map(({ key }) => key),
    [theirs.key],
  );
  t.is(world.own.length, 3);
});

test('a second time there is nothing to give back', async (t) => {
  const world = new World(t);
  const host = world.host();
  await host.mustAcquire();
  await releaseLeases(host.store, PREFIX, host.owner.claim);
  t.deepEqual(await releaseLeases(host.store, PREFIX, host.owner.claim), { released: [], kept: [] });
});

test('a reservation stays', async (t) => {
  const world = new World(t);
  const host = world.host();
  const { key, value } = keyValue({ subnet: '10.5.42.0/24', publicIp: '192.0.2.1' });
  world.etcd.put(key, value);
  await host.mustAcquire();
  const { released, kept } = await releaseLeases(host.store, PREFIX, host.owner.claim);
  t.deepEqual([released, kept.map((lease) => lease.key)], [[], [key]]);
  t.is(world.lease(key)?.etcdLease, '0');
});

test('a lease that somebody takes in that moment is not deleted', async (t) => {
  const world = new World(t);
  const host = world.host();
  const held = await host.mustAcquire();
  const { list } = host.store;
  host.store.list = async (range, options) => {
    const listing = await list.call(host.store, range, options);
    world.etcd.put(held.key, keyValue({ subnet: held.subnet, publicIp: '192.0.2.99' }).value, world.etcd.grant(60));
    return listing;
  };
  t.deepEqual(await releaseLeases(host.store, PREFIX, host.owner.claim), { released: [], kept: [] });
  t.is(world.lease(held.key)?.publicIp, ip('192.0.2.99'));
});

test('an etcd lease that may not be revoked runs out by itself', async (t) => {
  const world = new World(t);
  const host = world.host();
  const held = await host.mustAcquire();
  const { txn } = host.store;
  host.store.txn = async (request) => {
    const result = await txn.call(host.store, request);
    host.store.failNext();
    return result;
  };
  const { released } = await releaseLeases(host.store, PREFIX, host.owner.claim);
  t.deepEqual(
    released.map(({ key }) => key),
    [held.key],
  );
  t.deepEqual(world.leases, []);
});
