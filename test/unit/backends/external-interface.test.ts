import test from 'ava';
import fc from 'fast-check';
import { type HostFacts, selectUnderlay, type UnderlayWish } from '../../../backends/external-interface.ts';
import type { AddressInfo, LinkInfo, RouteInfo } from '../../../backends/state.ts';
import { familyOf } from '../../../config/address.ts';
import { DUAL, ip, prefix, V4, V6 } from './values.ts';

function link(name: string, index: number, change: Partial<LinkInfo> = {}): LinkInfo {
  const loopback = name === 'lo';
  return { index, name, mac: undefined, mtuBytes: 1500, up: true, loopback, type: '', vxlan: undefined, ...change };
}

function address(dev: string, text: string, change: Partial<AddressInfo> = {}): AddressInfo {
  return { dev, ip: ip(text), length: 24, permanent: true, temporary: false, deprecated: false, ...change };
}

function route(dst: string, dev: string | undefined, change: Partial<RouteInfo> = {}): RouteInfo {
  const common = { metric: 0, protocol: 3, gateway: undefined, onlink: false, nexthopId: undefined, type: 1 };
  return { ...common, family: familyOf(prefix(dst)), dst: prefix(dst), dev, ...change };
}

const LINKS = [
  link('lo', 1),
  link('eth0', 2),
  link('eth1', 3, { mtuBytes: 9000 }),
  link('flannel.1', 4),
  link('bare', 5),
  link('flannel0', 6),
];
const ADDRESSES = [
  address('lo', '127.0.0.1'),
  address('lo', '::1'),
  address('eth0', '169.254.7.7'),
  address('eth0', '192.168.77.10'),
  address('eth0', '192.168.77.11'),
  address('eth0', 'fe80::1'),
  address('eth0', 'fd77::10'),
  address('eth1', '10.1.0.5'),
  address('eth1', 'fd88::5'),
  address('flannel.1', '10.5.1.0'),
  address('flannel0', '10.5.2.0'),
];
const ROUTES = [
  route('0.0.0.0/0', 'eth0', { gateway: ip('192.168.77.1') }),
  route('0.0.0.0/0', 'eth1', { metric: 100 }),
  route('10.1.0.0/24', 'eth1'),
  route('::/0', 'eth0', { metric: 1024 }),
];
const HOST: HostFacts = { links: LINKS, addresses: ADDRESSES, routes: ROUTES };
const NONE: UnderlayWish = {
  iface: [],
  ifaceRegex: [],
  ifaceCanReach: undefined,
  publicIp: undefined,
  publicIp6: undefined,
  families: V4,
};

/** `dev ip ip6 publicIp publicIp6`, or `no`. */
function chosen(wish: Partial<UnderlayWish>, facts: Partial<HostFacts> = {}): string {
  const result = selectUnderlay({ ...NONE, ...wish }, { ...HOST, ...facts });
  if (!result.ok) return 'no';
  const { dev, ip: v4, ip6, publicIp, publicIp6 } = result.underlay;
  return [dev, v4, ip6, publicIp, publicIp6].map((part) => part ?? '-').join(' ');
}

const TABLE: readonly (readonly [string, string, Partial<UnderlayWish>, Partial<HostFacts>?])[] = [
  ['the default route, the first one, whatever the metrics', 'eth0 192.168.77.10 - 192.168.77.10 -', {}],
  ['IPv6 only', 'eth0 - fd77::10 - fd77::10', { families: V6 }],
  ['dual stack', 'eth0 192.168.77.10 fd77::10 192.168.77.10 fd77::10', { families: DUAL }],
  ['a name', 'eth1 10.1.0.5 - 10.1.0.5 -', { iface: ['eth1'] }],
  ['an address, which is then the address used', 'eth0 192.168.77.11 - 192.168.77.11 -', { iface: ['192.168.77.11'] }],
  ['an address of the other family chooses the interface', 'eth1 10.1.0.5 - 10.1.0.5 -', { iface: ['fd88::5'] }],
  ['an IPv6 address in dual stack', 'eth1 10.1.0.5 fd88::5 10.1.0.5 fd88::5', { iface: ['fd88::5'], families: DUAL }],
  ['the first that works', 'eth1 10.1.0.5 - 10.1.0.5 -', { iface: ['eth9', '10.9.9.9', 'bare', 'eth1', 'eth0'] }],
  ['names before expressions', 'eth1 10.1.0.5 - 10.1.0.5 -', { iface: ['eth1'], ifaceRegex: [/eth0/] }],
  ['expressions after names', 'eth0 192.168.77.10 - 192.168.77.10 -', { iface: ['eth9'], ifaceRegex: [/eth0/] }],
  ['an expression for addresses', 'eth1 10.1.0.5 - 10.1.0.5 -', { ifaceRegex: [/^10\./] }],
  ['which address it matched', 'eth0 192.168.77.11 - 192.168.77.11 -', { ifaceRegex: [/77\.11$/] }],
  ['addresses before names', 'eth1 10.1.0.5 - 10.1.0.5 -', { ifaceRegex: [/10\.1\.|eth0/] }],
  ['an expression for names', 'eth0 192.168.77.10 - 192.168.77.10 -', { ifaceRegex: [/^eth/] }],
  ['flags', 'eth1 10.1.0.5 - 10.1.0.5 -', { ifaceRegex: [/^ETH1$/i] }],
  ['our own device never', 'no', { ifaceRegex: [/^10\.5\./, /flannel/] }],
  ['an expression that nothing matches is passed over', 'eth1 10.1.0.5 - 10.1.0.5 -', { ifaceRegex: [/eth1/] }],
  [
    'in dual stack both addresses by one expression',
    'eth1 10.1.0.5 fd88::5 10.1.0.5 fd88::5',
    { ifaceRegex: [/77|5$/], families: DUAL, iface: ['eth9'] },
    { addresses: ADDRESSES.filter(({ ip: own }) => own !== ip('fd77::10')) },
  ],
  [
    'in dual stack one address by the expression, the other the best there',
    'eth1 10.1.0.5 fd88::5 10.1.0.5 fd88::5',
    { ifaceRegex: [/^10\.1\./], families: DUAL },
  ],
  [
    'can-reach takes the source that the kernel would',
    'eth0 192.168.77.11 - 192.168.77.11 -',
    { ifaceCanReach: ip('192.168.77.1') },
    { reach: { dev: 'eth0', gateway: undefined, source: ip('192.168.77.11') } },
  ],
  [
    'can-reach in dual stack',
    'eth1 10.1.0.5 fd88::5 10.1.0.5 fd88::5',
    { ifaceCanReach: ip('fd88::9'), families: DUAL },
    { reach: { dev: 'eth1', gateway: undefined, source: ip('fd88::5') } },
  ],
  ['can-reach without a route', 'no', { ifaceCanReach: ip('192.168.77.1') }],
  ['can-reach last', 'eth1 10.1.0.5 - 10.1.0.5 -', { ifaceCanReach: ip('1.1.1.1'), ifaceRegex: [/eth1/] }],
  ['a public IP of this host chooses', 'eth1 10.1.0.5 - 10.1.0.5 -', { publicIp: ip('10.1.0.5') }],
  ['a public IP behind NAT does not', 'eth0 192.168.77.10 - 203.0.113.7 -', { publicIp: ip('203.0.113.7') }],
  ['a public IP with an interface', 'eth1 10.1.0.5 - 203.0.113.7 -', { publicIp: ip('203.0.113.7'), iface: ['eth1'] }],
  [
    'an IPv6 public IP of this host chooses',
    'eth1 10.1.0.5 fd88::5 10.1.0.5 fd88::5',
    { publicIp6: ip('fd88::5'), families: DUAL },
  ],
  [
    'IPv4 behind NAT, IPv6 on this host',
    'eth1 10.1.0.5 fd88::5 203.0.113.7 fd88::5',
    { publicIp: ip('203.0.113.7'), publicIp6: ip('fd88::5'), families: DUAL },
  ],
  [
    'a public IP of a disabled family does not matter',
    'eth0 192.168.77.10 - 192.168.77.10 -',
    { publicIp6: ip('fd88::5') },
  ],
  ['public IPs of two interfaces', 'no', { publicIp: ip('10.1.0.5'), publicIp6: ip('fd77::10'), families: DUAL }],
  ['a public IP that cannot be one', 'no', { publicIp: ip('0.0.0.0') }],
  ['a public IP of the wrong family', 'no', { publicIp: ip('fd88::5') }],
  ['no default route', 'no', {}, { routes: ROUTES.slice(2) }],
  [
    'a default route without a device is passed over',
    'eth1 10.1.0.5 - 10.1.0.5 -',
    {},
    {
      routes: [route('0.0.0.0/0', undefined), route('0.0.0.0/0', 'eth0', { type: 6 }), route('0.0.0.0/0', 'eth1')],
    },
  ],
  [
    'default routes that disagree',
    'no',
    { families: DUAL },
    {
      routes: [route('0.0.0.0/0', 'eth0'), route('::/0', 'eth1')],
    },
  ],
  [
    'no IPv6 default route',
    'eth1 10.1.0.5 fd88::5 10.1.0.5 fd88::5',
    { families: DUAL },
    {
      routes: [route('0.0.0.0/0', 'eth1')],
    },
  ],
  [
    'no address of a family',
    'no',
    { iface: ['eth0'], families: DUAL },
    {
      addresses: ADDRESSES.filter(({ ip: own }) => familyOf(own) === 4),
    },
  ],
  [
    'link-local as the last resort',
    'eth0 169.254.7.7 - 169.254.7.7 -',
    {},
    {
      addresses: [address('eth0', '169.254.7.7')],
    },
  ],
  [
    'permanent, then lasting, never deprecated',
    'eth0 - fd77::4 - fd77::4',
    { families: V6 },
    {
      addresses: [
        address('eth0', 'fd77::1', { deprecated: true }),
        address('eth0', 'fd77::2', { permanent: false }),
        address('eth0', 'fd77::3', { temporary: true }),
        address('eth0', 'fd77::4'),
        address('eth0', 'fd77::5'),
      ],
    },
  ],
  ['an MTU of 0', 'no', { iface: ['eth0'] }, { links: [link('eth0', 1, { mtuBytes: 0 })] }],
  ['the loopback address', 'no', { iface: ['127.0.0.1', 'lo'] }],
  ['an empty host', 'no', {}, { links: [], addresses: [], routes: [] }],
];

for (const [title, expected, wish, facts] of TABLE) {
  test(title, (t) => {
    t.is(chosen(wish, facts), expected);
  });
}

test('a refusal lists what there is', (t) => {
  const result = selectUnderlay({ ...NONE, iface: ['eth9'] }, HOST);
  t.false(result.ok);
  t.true(!result.ok && result.reason.includes('eth9'));
  t.true(!result.ok && result.reason.includes('eth1:[10.1.0.5 fd88::5]') && result.reason.includes('bare:[]'));
});

test('what was passed over is noted', (t) => {
  const result = selectUnderlay({ ...NONE, iface: ['eth9', 'bare', 'eth0'] }, HOST);
  t.is(result.ok && result.notes.length, 2);
  const nat = selectUnderlay({ ...NONE, publicIp: ip('203.0.113.7') }, HOST);
  t.true(nat.ok && nat.notes[0]?.includes('203.0.113.7'));
  const plain = selectUnderlay(NONE, HOST);
  t.deepEqual(plain.ok && plain.notes, []);
});

test('MTU and the addresses of the whole host', (t) => {
  const result = selectUnderlay({ ...NONE, iface: ['eth1'] }, HOST);
  t.true(result.ok && result.underlay.mtuBytes === 9000);
  t.deepEqual(
    result.ok && [...result.underlay.hostAddresses],
    ADDRESSES.map((one) => one.ip),
  );
});

test('whatever is asked of whatever host: an answer, and an address per family in it', (t) => {
  const word = fc.constantFrom('eth0', 'eth1', 'lo', 'bare', '10.1.0.5', 'fd77::10', '::1', '^10', '(', '');
  const public4 = fc.constantFrom(undefined, ip('10.1.0.5'), ip('203.0.113.7'), ip('192.168.77.11'));
  const public6 = fc.constantFrom(undefined, ip('fd88::5'), ip('2001:db8::1'), ip('fd77::10'));
  const wishes = fc.record({
    iface: fc.array(word, { maxLength: 2 }),
    ifaceRegex: fc.subarray([/eth0/, /eth1/, /^10/, /(?:)/]),
    ifaceCanReach: fc.constantFrom(undefined, ip('10.1.0.9')),
    publicIp: public4,
    publicIp6: public6,
    families: fc.constantFrom(V4, V6, DUAL),
  });
  const hosts = fc.record({
    links: fc.subarray(LINKS),
    addresses: fc.subarray(ADDRESSES),
    routes: fc.subarray(ROUTES),
    reach: fc.constantFrom(undefined, { dev: 'eth1', gateway: undefined, source: undefined }),
  });
  const holds = fc.property(wishes, hosts, (wish, facts) => {
    const result = selectUnderlay(wish, facts);
    if (!result.ok) return result.reason !== '';
    const { ip: v4, ip6, publicIp, publicIp6 } = result.underlay;
    const [has4, has6] = [v4 !== undefined && publicIp !== undefined, ip6 !== undefined && publicIp6 !== undefined];
    return has4 === wish.families.ipv4 && has6 === wish.families.ipv6;
  });
  t.notThrows(() => fc.assert(holds));
});
