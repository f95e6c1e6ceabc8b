import test from 'ava';
import { createUdp } from '../../../../backends/udp/udp.ts';
import { formatLeaseValue } from '../../../../leases/codec.ts';
import { backendOf, DUAL, FAR, ip, lease, MACS, OWN, prefix, problemsOf, UNDERLAY, V4, V6 } from '../values.ts';

const udp = backendOf(createUdp({}, V4, UNDERLAY));
const untyped = { backendType: '', backendData: undefined, backendV6Data: undefined } as const;
const peer = (n: number, change: Partial<ReturnType<typeof lease>> = {}) => lease(n, { ...untyped, ...change });

test('one device without a MAC, its address, and a route to the network that gives way to others', (t) => {
  t.deepEqual([udp.devices, udp.hasMacs, udp.mtuBytes, udp.directRouting], [['flannel0'], false, 1472, false]);
  const link = { kind: 'link', name: 'flannel0', mac: undefined, mtuBytes: 1472, up: true, vxlan: undefined } as const;
  const hop = { dev: 'flannel0', gateway: undefined, onlink: false, nexthopId: undefined };
  t.deepEqual(udp.device(OWN, MACS), [
    link,
    { kind: 'address', dev: 'flannel0', ip: ip('10.5.1.0'), length: 32 },
    { kind: 'route', dst: prefix('10.5.0.0/16'), metric: 84, ...hop },
  ]);
  t.deepEqual(udp.device(undefined, MACS), [link]);
});

test("the lease's value is flannel's, byte for byte", (t) => {
  const value = formatLeaseValue({ ...udp.advertise(MACS), owner: undefined });
  t.is(value, '{"PublicIP":"192.168.77.10","PublicIPv6":null}');
  t.is(udp.publishedMac(peer(2), 'flannel0'), undefined);
});

test('behind NAT it says where its datagrams come from, and a public IP of this host is bound', (t) => {
  const nat = backendOf(createUdp({}, V4, { ...UNDERLAY, publicIp: ip('203.0.113.7') }));
  t.like(nat.advertise(MACS), { publicIp: ip('203.0.113.7'), sources: [ip('192.168.77.10')] });
  t.is(nat.userSpace?.paths(OWN, MACS)[0]?.local, ip('192.168.77.10'));
  const hostAddresses = new Set([...UNDERLAY.hostAddresses, ip('198.51.100.4')]);
  const other = backendOf(createUdp({}, V4, { ...UNDERLAY, publicIp: ip('198.51.100.4'), hostAddresses }));
  t.is(other.userSpace?.paths(OWN, MACS)[0]?.local, ip('198.51.100.4'));
  t.deepEqual(other.advertise(MACS).sources, undefined);
});

test('its data path: IPv4 alone, by the port of the config', (t) => {
  const [path, ...others] = backendOf(createUdp({ port: 9000 }, V4, UNDERLAY)).userSpace?.paths(OWN, MACS) ?? [];
  t.deepEqual(others, []);
  t.deepEqual(path, {
    ...{ device: 'flannel0', encapsulation: { kind: 'udp' }, local: ip('192.168.77.10'), port: 9000, mtuBytes: 1472 },
    ...{ own: [prefix('10.5.1.0/24')], networks: [prefix('10.5.0.0/16')] },
  });
  t.is(udp.userSpace?.paths(OWN, MACS)[0]?.port, 8285);
});

test('a peer is who has a lease without a type, and needs nothing of its own in the kernel', (t) => {
  t.deepEqual(udp.peer(peer(72), FAR), { objects: [] });
  t.deepEqual(udp.claim(peer(72)), { identities: [] });
  t.deepEqual(udp.userSpace?.peer(peer(72, { sources: [ip('198.51.100.9'), ip('fd77::9')] }), 'flannel0'), {
    ...{ endpoint: ip('192.168.77.72'), sources: [ip('192.168.77.72'), ip('198.51.100.9')] },
    ...{ subnets: [prefix('10.5.72.0/24')], mac: undefined },
  });
});

for (const [what, one, answer] of [
  ['vxlan', lease(2), { foreign: 'backend type is "vxlan", udp leases have none' }],
  ['no IPv4', peer(2, { subnet: prefix('0.0.0.0/0') }), { foreign: /no address family in common/ }],
  ['a bad public IP', peer(2, { publicIp: ip('127.0.0.1') }), { refused: /PublicIP 127\.0\.0\.1 is / }],
] as const) {
  test(`no peer: ${what}`, (t) => {
    const [[field, words]] = Object.entries(answer) as [[string, string | RegExp]];
    for (const state of [udp.peer(one, FAR), udp.claim(one)]) {
      const said = Object.entries(state)[0];
      t.is(said?.[0], field);
      t.regex(String(said?.[1]), words instanceof RegExp ? words : new RegExp(`^${words}$`));
    }
    t.is(udp.userSpace?.peer(one, 'flannel0'), undefined);
  });
}

test('IPv6 beside IPv4 is not carried, which is said; IPv6 alone is a problem', (t) => {
  const dual = backendOf(createUdp({}, DUAL, UNDERLAY));
  t.regex(dual.note ?? '', /IPv4 only: no IPv6 packet/);
  t.deepEqual(dual.device(OWN, MACS), udp.device(OWN, MACS));
  t.is(udp.note, undefined);
  t.regex(problemsOf(createUdp({}, V6, UNDERLAY)).join(), /has no IPv4$/);
});

test('what is wrong is said, all at once', (t) => {
  for (const Port of [0, -1, 65536, '8285', true]) {
    t.regex(problemsOf(createUdp({ Port }, V4, UNDERLAY)).join(), /^Backend\.Port must be a whole number/);
  }
  const poor = { ...UNDERLAY, ip: undefined, publicIp: undefined, mtuBytes: 90 };
  t.deepEqual(problemsOf(createUdp({ Port: 0 }, V4, poor)), [
    'Backend.Port must be a whole number from 1 to 65535, not 0',
    'eth0 has no IPv4 address, and IPv4 is enabled',
    'the MTU of eth0 is 90, udp needs at least 96 here',
  ]);
});

test("what flannel's udp does not know is not looked at", (t) => {
  t.is(backendOf(createUdp({ MTU: 'x', VNI: [], DirectRouting: 1 }, V4, UNDERLAY)).mtuBytes, 1472);
});
