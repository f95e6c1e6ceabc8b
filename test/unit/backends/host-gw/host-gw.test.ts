import test from 'ava';
import { createHostGw } from '../../../../backends/host-gw/host-gw.ts';
import { backendOf, DUAL, FAR, ip, lease, MACS, OWN, prefix, problemsOf, UNDERLAY, V4, V6 } from '../values.ts';

const hostGw = backendOf(createHostGw({}, DUAL, UNDERLAY));
const peer = lease(72, { backendType: 'host-gw', backendData: undefined, backendV6Data: undefined });
const plain = { kind: 'route', dev: 'eth0', onlink: false, nexthopId: undefined } as const;

test('the lease has the public IPs and no data', (t) => {
  const common = { backendType: 'host-gw', backendData: undefined, backendV6Data: undefined };
  t.deepEqual(hostGw.advertise(MACS), { publicIp: ip('192.168.77.10'), publicIp6: ip('fd77::10'), ...common });
  const only4 = backendOf(createHostGw({}, V4, UNDERLAY));
  t.deepEqual(only4.advertise(MACS), { publicIp: ip('192.168.77.10'), publicIp6: undefined, ...common });
  const only6 = backendOf(createHostGw({}, V6, UNDERLAY));
  t.deepEqual(only6.advertise(MACS), { publicIp: ip('0.0.0.0'), publicIp6: ip('fd77::10'), ...common });
});

test('no device, the MTU of the underlay', (t) => {
  t.deepEqual([hostGw.devices, hostGw.device(OWN, MACS), hostGw.mtuBytes], [[], [], 1500]);
  t.is(hostGw.publishedMac(peer, 'flannel.1'), undefined);
});

test('a peer is a plain route per family, even where nexthop objects are to be had', (t) => {
  t.deepEqual(hostGw.peer(peer, { ...FAR, nexthopId: () => 1409286145 }), {
    objects: [
      { ...plain, dst: prefix('10.5.72.0/24'), gateway: ip('192.168.77.72') },
      { ...plain, dst: prefix('fd00:5:0:48::/64'), gateway: ip('fd77::48') },
    ],
  });
});

test('the IPv6 half of a lease does not matter to an IPv4 node', (t) => {
  const only4 = backendOf(createHostGw({}, V4, UNDERLAY));
  t.deepEqual(only4.peer({ ...peer, publicIp6: undefined }, FAR), {
    objects: [{ ...plain, dst: prefix('10.5.72.0/24'), gateway: ip('192.168.77.72') }],
  });
});

test('foreign and refused leases', (t) => {
  t.true('foreign' in hostGw.peer(lease(72), FAR));
  const only6 = backendOf(createHostGw({}, V6, UNDERLAY));
  t.true('foreign' in only6.peer({ ...peer, subnet6: undefined }, FAR));
  t.deepEqual(hostGw.peer({ ...peer, publicIp6: undefined }, FAR), { refused: 'PublicIPv6 is missing' });
  t.deepEqual(hostGw.peer({ ...peer, publicIp: ip('127.0.0.1') }, FAR), { refused: 'PublicIP 127.0.0.1 is loopback' });
});

test('no identities beside the public IPs', (t) => {
  t.deepEqual(hostGw.claim(peer), { identities: [] });
});

test('NAT is refused; another IPv6 address of this host is none', (t) => {
  t.is(problemsOf(createHostGw({}, V4, { ...UNDERLAY, publicIp: ip('203.0.113.7') })).length, 1);
  t.is(problemsOf(createHostGw({}, DUAL, { ...UNDERLAY, publicIp6: ip('2001:db8::1') })).length, 1);
  t.is(problemsOf(createHostGw({}, DUAL, { ...UNDERLAY, ip: undefined, ip6: undefined })).length, 2);
  const hostAddresses = new Set([...UNDERLAY.hostAddresses, ip('2001:db8::1')]);
  t.is(problemsOf(createHostGw({}, DUAL, { ...UNDERLAY, publicIp6: ip('2001:db8::1'), hostAddresses })).length, 0);
});
