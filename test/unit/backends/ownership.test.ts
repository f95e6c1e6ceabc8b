import test from 'ava';
import { isOurs, isTartanId } from '../../../backends/ownership.ts';
import type { Observed, Route } from '../../../backends/state.ts';
import { found, ip, mac, prefix } from './values.ts';

const POLICY = { networks: [prefix('10.5.0.0/16'), prefix('fd00:5::/32')], devices: new Set(['flannel.1']) };
const dev = 'flannel.1';
const id = 0x54000001;
const station = mac('02:00:00:00:00:09');

function route(dst: string, protocol: number, change: Partial<Route> = {}): Observed {
  const common = { kind: 'route', dev, gateway: ip('10.5.9.0'), onlink: true, nexthopId: undefined } as const;
  return found({ ...common, dst: prefix(dst), ...change }, { protocol });
}

const TABLE: readonly (readonly [string, boolean, Observed])[] = [
  ['our protocol, in our network, on any device', true, route('10.5.9.0/24', 84, { dev: 'eth0' })],
  ['the network itself', true, route('10.5.0.0/16', 84)],
  ['IPv6', true, route('fd00:5:0:9::/64', 84)],
  ['more than our network', false, route('10.0.0.0/8', 84)],
  ['another network', false, route('10.6.9.0/24', 84)],
  ['flannel left it on our device', true, route('10.5.9.0/24', 3)],
  ['boot, elsewhere', false, route('10.5.9.0/24', 3, { dev: 'eth0' })],
  ['boot, another network', false, route('10.6.9.0/24', 3)],
  ["the kernel's own", false, route('10.5.9.0/24', 2)],
  ['a neighbour made by hand', true, found({ kind: 'neighbour', dev, ip: ip('10.9.9.9'), mac: station })],
  ['a neighbour on eth0', false, found({ kind: 'neighbour', dev: 'eth0', ip: ip('10.5.9.0'), mac: station })],
  [
    'a learnt neighbour',
    false,
    found({ kind: 'neighbour', dev, ip: ip('10.5.9.0'), mac: station }, { permanent: false }),
  ],
  ['a static FDB entry', true, found({ kind: 'fdb', dev, mac: station, dst: ip('192.0.2.1') })],
  ['a learnt FDB entry', false, found({ kind: 'fdb', dev, mac: station, dst: ip('192.0.2.1') }, { permanent: false })],
  ['an address in our network', true, found({ kind: 'address', dev, ip: ip('10.5.9.0'), length: 32 })],
  ['an address outside', false, found({ kind: 'address', dev, ip: ip('fe80::1'), length: 64 })],
  ['an address on eth0', false, found({ kind: 'address', dev: 'eth0', ip: ip('10.5.9.0'), length: 32 })],
  ['a nexthop on our device', true, found({ kind: 'nexthop', id, dev, gateway: ip('10.9.9.0'), onlink: true })],
  [
    'a nexthop of an old device',
    true,
    found({ kind: 'nexthop', id, dev: 'flannel.7', gateway: ip('10.5.9.0'), onlink: true }),
  ],
  [
    "another agent's nexthop",
    false,
    found({ kind: 'nexthop', id, dev: 'flannel.7', gateway: ip('10.6.9.0'), onlink: true }),
  ],
  ['a nexthop out of range', false, found({ kind: 'nexthop', id: 9, dev, gateway: ip('10.5.9.0'), onlink: true })],
  [
    'a nexthop of another protocol',
    false,
    found({ kind: 'nexthop', id, dev, gateway: ip('10.5.9.0'), onlink: true }, { protocol: 4 }),
  ],
];

for (const [title, ours, observed] of TABLE) {
  test(`${observed.object.kind}: ${title} is ${ours ? 'ours' : 'not ours'}`, (t) => {
    t.is(isOurs(observed, POLICY), ours);
  });
}

test('links by name', (t) => {
  const vxlan = { vni: 1, port: 8472, local: ip('192.0.2.1'), lower: 'eth0', learning: false, gbp: false };
  const link = { kind: 'link', name: dev, mac: station, mtuBytes: 1450, up: true, vxlan } as const;
  t.true(isOurs(found(link), POLICY));
  t.false(isOurs(found({ ...link, name: 'flannel.2' }), POLICY));
});

test('the range of ids', (t) => {
  t.deepEqual([0x53ffffff, 0x54000000, 0x54ffffff, 0x55000000].map(isTartanId), [false, true, true, false]);
});
