import test from 'ava';
import { addressIdentities, NetworkChecks } from '../../../leases/network-checks.ts';
import { ip, net, type Shape, storedLease } from './leases.ts';

const CHECKS = new NetworkChecks({
  networks: [net('10.0.0.0/12'), net('fd00:5::/48')],
  ownSubnets: [net('10.5.9.0/24'), net('fd00:5:0:9::/64')],
  underlay: [net('10.7.0.0/24'), net('192.0.2.0/24'), net('fd00:5:0:7::/64')],
  guarded: [ip('10.8.0.5'), ip('fd00:5:0:8::5'), ip('198.51.100.1')],
  ownPublicIps: [ip('192.0.2.1'), ip('fd77::1')],
});
const GOOD: Shape = { subnet: '10.5.1.0/24', publicIp: '192.0.2.2' };
const GOOD6: Shape = { subnet: '0.0.0.0/0', subnet6: 'fd00:5:0:1::/64', publicIp: '0.0.0.0', publicIp6: 'fd77::2' };

const FINE: [string, Shape][] = [
  ['IPv4', GOOD],
  ['IPv6 only, with the placeholder of its key', GOOD6],
  ['dual stack', { ...GOOD6, ...GOOD, subnet6: 'fd00:5:0:1::/64', publicIp6: 'fd77::2' }],
  ['a subnet of another length', { ...GOOD, subnet: '10.5.1.128/25' }],
  ['an IPv6 subnet behind an IPv4 address only', { ...GOOD6, publicIp: '192.0.2.2', publicIp6: undefined }],
];

for (const [name, shape] of FINE) test(`passes: ${name}`, (t) => t.is(CHECKS.refuse(storedLease(shape)), undefined));

const BAD: [string, Shape][] = [
  ['the default route', { ...GOOD, subnet: '0.0.0.0/0' }],
  ['the IPv6 default route', { ...GOOD6, subnet6: '8000::/1' }],
  ['outside the network', { ...GOOD, subnet: '10.16.0.0/24' }],
  ['IPv6 outside the network', { ...GOOD6, subnet6: 'fd00:6::/64' }],
  ['IPv4 good, IPv6 outside', { ...GOOD, subnet6: 'fd00:6::/64' }],
  ['larger than the network', { ...GOOD, subnet: '10.0.0.0/8' }],
  ['our own subnet', { ...GOOD, subnet: '10.5.9.0/24' }],
  ['part of our own', { ...GOOD, subnet: '10.5.9.128/25' }],
  ['around our own', { ...GOOD, subnet: '10.5.8.0/23' }],
  ['our own IPv6 subnet', { ...GOOD, subnet6: 'fd00:5:0:9::/64' }],
  ["around the hosts' network", { ...GOOD, subnet: '10.7.0.0/16' }],
  ["part of the hosts' network", { ...GOOD, subnet: '10.7.0.128/25' }],
  ["the hosts' IPv6 network", { ...GOOD6, subnet6: 'fd00:5:0:7::/64' }],
  ['around etcd', { ...GOOD, subnet: '10.8.0.0/24' }],
  ['around the IPv6 gateway', { ...GOOD6, subnet6: 'fd00:5:0:8::/64' }],
  ['no public IP', { ...GOOD, publicIp: '0.0.0.0' }],
  ['no public IP of either family', { ...GOOD6, publicIp6: undefined }],
  ['IPv4 subnet, but an IPv6 public IP only', { ...GOOD, publicIp: '0.0.0.0', publicIp6: 'fd77::2' }],
  ['loopback', { ...GOOD, publicIp: '127.0.0.1' }],
  ['multicast', { ...GOOD, publicIp: '224.0.0.1' }],
  ['broadcast', { ...GOOD, publicIp: '255.255.255.255' }],
  ["the hosts' network's broadcast address", { ...GOOD, publicIp: '10.7.0.255' }],
  ['reserved', { ...GOOD, publicIp: '240.0.0.1' }],
  ['IPv6 loopback', { ...GOOD6, publicIp6: '::1' }],
  ['IPv6 unspecified', { ...GOOD6, publicIp6: '::' }],
  ['IPv6 multicast', { ...GOOD6, publicIp6: 'ff02::1' }],
  ['an unused but bad IPv6 address', { ...GOOD, publicIp6: 'ff02::1' }],
  ['our own address', { ...GOOD, publicIp: '192.0.2.1' }],
  ['our own IPv6 address', { ...GOOD, publicIp6: 'fd77::1' }],
  ['a public IP inside its own subnet', { ...GOOD, publicIp: '10.5.1.7' }],
];

for (const [name, shape] of BAD) test(`refused: ${name}`, (t) => t.not(CHECKS.refuse(storedLease(shape)), undefined));

test('the identities are the addresses that there are', (t) => {
  t.deepEqual(addressIdentities(storedLease(GOOD)), ['public IP 192.0.2.2']);
  t.deepEqual(addressIdentities(storedLease(GOOD6)), ['public IP fd77::2']);
  const both = addressIdentities(storedLease({ ...GOOD, publicIp6: 'fd77::2' }));
  t.deepEqual(both, ['public IP 192.0.2.2', 'public IP fd77::2']);
});
