import test from 'ava';
import { filterPeerOf, NamedPeers } from '../../../../backends/firewall/named-peers.ts';
import { ip, lease, prefix } from '../values.ts';
import { peer } from './peer.ts';

test('an address is named as long as any lease names it', (t) => {
  const peers = new NamedPeers(4);
  peers.set('a', peer('a', '10.5.1.0/24', '192.0.2.1'));
  peers.set('b', peer('b', '10.5.2.0/24', '192.0.2.1', '192.0.2.2'));
  t.deepEqual([...peers.takeChanged()], [ip('192.0.2.1'), ip('192.0.2.2')]);
  peers.set('b', undefined);
  t.deepEqual([...peers.addresses.keys()], [ip('192.0.2.1')]);
  t.deepEqual([...peers.takeChanged()], [ip('192.0.2.2')]);
  peers.set('a', peer('a', '10.5.1.0/24', '192.0.2.1'));
  t.false(peers.hasChanged, 'a renewal is no change');
  peers.set('a', undefined);
  t.deepEqual([...peers.addresses.keys()], []);
  t.deepEqual([...peers.keys], []);
});

test('whose subnet it is: of any length, and as it is now', (t) => {
  const peers = new NamedPeers(4);
  peers.set('a', peer('a', '10.5.1.0/24', '192.0.2.1'));
  peers.set('b', peer('b', '10.5.2.128/25', '192.0.2.2'));
  t.is(peers.holderOf(ip('10.5.1.255'))?.key, 'a');
  t.is(peers.holderOf(ip('10.5.2.129'))?.key, 'b');
  t.is(peers.holderOf(ip('10.5.2.127')), undefined);
  peers.set('a', peer('a', '10.5.3.0/24', '192.0.2.1'));
  t.is(peers.holderOf(ip('10.5.1.1')), undefined);
  t.is(peers.holderOf(ip('10.5.3.1'))?.key, 'a');
  peers.set('c', peer('c', '10.5.3.0/24', '192.0.2.3'));
  peers.set('a', undefined);
  t.is(peers.holderOf(ip('10.5.3.1'))?.key, 'c', 'a subnet that has a new holder stays');
});

test('the other family is of no interest', (t) => {
  const peers = new NamedPeers(6);
  peers.set('a', peer('a', '10.5.1.0/24', '192.0.2.1'));
  peers.set('b', peer('b', 'fd00:5:0:2::/64', 'fd77::2', '192.0.2.2'));
  t.deepEqual([...peers.addresses.keys()], [ip('fd77::2')]);
  peers.set('b', peer('b', '10.5.2.0/24', '192.0.2.2'));
  t.deepEqual([...peers.addresses.keys()], []);
  t.is(peers.holderOf(ip('fd00:5:0:2::9')), undefined);
});

test('a lease names its public IP and where else its packets come from', (t) => {
  const stored = { key: 'k', createRevision: 1, modRevision: 1, etcdLease: '1', value: '' };
  const sources = [ip('198.51.100.7')];
  const dual = { ...stored, ...lease(2, { sources, publicIp6: ip('fd77::2'), subnet6: prefix('fd00:5:0:2::/64') }) };
  t.deepEqual(filterPeerOf(dual, 4), { key: 'k', subnet: dual.subnet, sources: [dual.publicIp, ...sources] });
  t.deepEqual(filterPeerOf(dual, 6)?.subnet, prefix('fd00:5:0:2::/64'));
  t.deepEqual(filterPeerOf(dual, 6)?.sources[0], ip('fd77::2'));
  t.is(filterPeerOf({ ...dual, subnet6: undefined }, 6), undefined);
  t.is(filterPeerOf({ ...dual, publicIp6: undefined }, 6), undefined);
  t.is(filterPeerOf({ ...dual, subnet: prefix('0.0.0.0/0') }, 4), undefined);
});
