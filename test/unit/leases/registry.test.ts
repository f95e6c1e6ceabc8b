import test from 'ava';
import fc from 'fast-check';
import { TartanError } from '../../../config/errors.ts';
import { isForbidden, isLeaseGone, keysUnder, readView, viewOf } from '../../../leases/registry.ts';
import { formatSideRecord, identityKeys, sideKey, subnet6Keys } from '../../../leases/side-keys.ts';
import { ip, keyValue, net, PREFIX } from './leases.ts';
import { KEYS, World } from './world.ts';

const OWNER = { node: 'n/1', name: 'host1', claim: 'c1' };
const SUBNETS = { subnet: net('10.5.1.0/24'), subnet6: net('fd00:5:0:1::/64') };

test('where everything lies', (t) => {
  const { prefix, address, node, subnet6, challenge, ...keys } = keysUnder('/p');
  t.deepEqual(keys, {
    config: '/p/config',
    watched: { key: '/p/config', end: '/p/subnets0' },
    subnets: { key: '/p/subnets/', end: '/p/subnets0' },
    unsettled: '/p/tartan/unsettled',
    otherLengths: { key: '/p/tartan/other-lengths', end: '/p/tartan/other-lengths\0' },
  });
  t.is(prefix, '/p');
  t.is(address('192.0.2.1'), '/p/tartan/addresses/192.0.2.1');
  t.is(node('a/b c'), '/p/tartan/nodes/a%2Fb%20c');
  t.is(subnet6('fd00::/64'), '/p/tartan/subnets6/fd00%3A%3A%2F64');
  t.is(challenge(SUBNETS), '/p/tartan/challenges/10.5.1.0-24&fd00:5:0:1::-64');
});

test("slashes too many in the prefix don't matter, and nothing of ours lies among the leases", (t) => {
  for (const prefix of ['/a/b', '/a/b/', '//a//b//', 'a/b']) {
    const keys = keysUnder(prefix);
    const start = prefix.startsWith('/') ? '/a/b' : 'a/b';
    t.is(keys.config, `${start}/config`);
    t.is(keys.challenge({ ...SUBNETS, subnet6: undefined }), `${start}/tartan/challenges/10.5.1.0-24`);
    for (const key of [
      keys.address('::1'),
      keys.node('n'),
      keys.subnet6('x'),
      keys.challenge(SUBNETS),
      keys.otherLengths.key,
    ])
      t.false(key >= keys.watched.key && key < keys.watched.end, key);
  }
});

test('a view: the config, the leases that make sense, and every subnet that a key takes', async (t) => {
  const world = new World(t);
  const good = keyValue({ subnet: '10.5.1.0/24' });
  world.etcd.put(good.key, good.value);
  world.etcd.put(`${PREFIX}/subnets/10.5.2.0-24`, 'no lease');
  world.etcd.put(`${PREFIX}/subnets/rubbish`, good.value);
  world.etcd.put(`${PREFIX}/tartan/nodes/n`, 'any');
  const view = await readView(world.etcd.connect(), PREFIX);
  t.is(view.config?.key, KEYS.config);
  t.deepEqual(
    view.leases.map(({ key }) => key),
    [good.key],
  );
  t.deepEqual(
    view.taken.map(({ subnet }) => subnet),
    [net('10.5.1.0/24'), net('10.5.2.0/24')],
  );
  t.deepEqual([view.revision, view.clusterId], [world.etcd.version.revision, world.etcd.version.clusterId]);
  t.is(viewOf(PREFIX, { kvs: [], revision: 1, clusterId: '1' }).config, undefined);
});

test("the side keys of a host: its addresses, its node; 0.0.0.0 is nobody's address", (t) => {
  const named = (publicIp: string | undefined, publicIp6?: string) =>
    identityKeys(KEYS, 'n', {
      publicIp: publicIp === undefined ? undefined : ip(publicIp),
      publicIp6: publicIp6 === undefined ? undefined : ip(publicIp6),
    }).map(({ key }) => key.slice(`${PREFIX}/tartan/`.length));
  t.deepEqual(named('192.0.2.1'), ['addresses/192.0.2.1', 'nodes/n']);
  t.deepEqual(named('0.0.0.0', 'fd77::1'), ['addresses/fd77%3A%3A1', 'nodes/n']);
  t.deepEqual(named(undefined), ['nodes/n']);
  t.deepEqual(subnet6Keys(KEYS, { subnet: net('10.5.1.0/24'), subnet6: undefined }), []);
  t.is(subnet6Keys(KEYS, SUBNETS).length, 1);
});

test("a side record says who and which lease; what makes no sense is nobody's", (t) => {
  const read = (value: string) =>
    sideKey(PREFIX, { about: 'node', key: '/k' }, { key: '/k', value, lease: '7', createRevision: 1, modRevision: 2 });
  const text = formatSideRecord(PREFIX, OWNER, SUBNETS);
  t.deepEqual(read(text), {
    ...{ about: 'node', key: '/k', modRevision: 2, etcdLease: '7' },
    record: { ...OWNER, subnets: SUBNETS },
  });
  for (const value of ['', '{}', '[]', 'null', text.replace('subnets/', 'x/'), text.replace('"c1"', '1')])
    t.is(read(value).record, undefined, value);
  fc.assert(fc.property(fc.string(), (value) => read(value).modRevision === 2));
  fc.assert(fc.property(fc.json(), (value) => read(value).modRevision === 2));
});

test('what etcd refuses is told apart', (t) => {
  const refused = (reason: string) => new TartanError('ETCD_REFUSED', '', { data: { reason } });
  t.deepEqual([isForbidden(refused('permission')), isForbidden(refused('lease'))], [true, false]);
  t.deepEqual([isLeaseGone(refused('lease')), isLeaseGone(new TartanError('ETCD_UNAVAILABLE', ''))], [true, false]);
  t.false(isForbidden(new Error('permission')));
});
