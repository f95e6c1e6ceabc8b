import test from 'ava';
import type { Underlay } from '../../../backends/backend.ts';
import type { HostFacts, UnderlayWish } from '../../../backends/external-interface.ts';
import type { AddressInfo, LinkInfo, RouteInfo } from '../../../backends/state.ts';
import { followUnderlay, sameUnderlay } from '../../../backends/underlay-change.ts';
import { ip, prefix, V4 } from './values.ts';

function link(index: number, name: string, change: Partial<LinkInfo> = {}): LinkInfo {
  const plain = { mac: undefined, mtuBytes: 1500, up: true, loopback: false, type: '', vxlan: undefined };
  return { ...plain, index, name, ...change };
}

function address(dev: string, text: string): AddressInfo {
  return { dev, ip: ip(text), length: 24, permanent: true, temporary: false, deprecated: false };
}

function defaultRoute(dev: string): RouteInfo {
  const plain = { metric: 0, protocol: 3, onlink: false, nexthopId: undefined, type: 1 };
  return { family: 4, dst: prefix('0.0.0.0/0'), dev, gateway: ip('192.0.2.254'), ...plain };
}

const WISH: UnderlayWish = {
  ...{ iface: [], ifaceRegex: [], ifaceCanReach: undefined, publicIp: undefined, publicIp6: undefined },
  families: V4,
};
const CURRENT: Underlay = {
  ...{ index: 2, dev: 'eth0', mtuBytes: 1500, ip: ip('192.0.2.1'), ip6: undefined },
  ...{ publicIp: ip('192.0.2.1'), publicIp6: undefined, hostAddresses: new Set([ip('192.0.2.1')]) },
};
const HOST: HostFacts = {
  links: [link(2, 'eth0'), link(3, 'eth1')],
  addresses: [address('eth0', '192.0.2.1'), address('eth1', '198.51.100.1')],
  routes: [defaultRoute('eth0')],
};

interface Case {
  readonly wish?: Partial<UnderlayWish>;
  readonly host: Partial<HostFacts>;
  /** What becomes of the underlay; text: why it is lost. */
  readonly becomes: Partial<Underlay> | RegExp;
  readonly note?: RegExp;
}

const CASES: Readonly<Record<string, Case>> = {
  'nothing happened': { host: {}, becomes: {} },
  'another MTU': { host: { links: [link(2, 'eth0', { mtuBytes: 1400 })] }, becomes: { mtuBytes: 1400 } },
  down: { host: { links: [link(2, 'eth0', { up: false })] }, becomes: {} },
  'the default route leads elsewhere': { host: { routes: [defaultRoute('eth1')] }, becomes: {} },
  'no default route': { host: { routes: [] }, becomes: {} },
  'a better address beside the one chosen': {
    host: { addresses: [address('eth0', '192.0.2.77'), ...HOST.addresses] },
    becomes: {},
  },
  'another address': {
    host: { addresses: [address('eth0', '192.0.2.9')] },
    becomes: { ip: ip('192.0.2.9'), publicIp: ip('192.0.2.9') },
  },
  'another address behind a fixed public IP': {
    wish: { publicIp: ip('203.0.113.1') },
    host: { addresses: [address('eth0', '192.0.2.9')] },
    becomes: { ip: ip('192.0.2.9'), publicIp: ip('203.0.113.1') },
  },
  'no address': {
    host: { addresses: [address('eth1', '198.51.100.1')] },
    becomes: /^eth0 has lost its address 192\.0\.2\.1, and there is nothing .*eth0 has no usable IPv4 address/,
  },
  'no address, and the default route leads to another interface': {
    host: { addresses: [address('eth1', '198.51.100.1')], routes: [defaultRoute('eth1')] },
    becomes: { index: 3, dev: 'eth1', ip: ip('198.51.100.1'), publicIp: ip('198.51.100.1') },
  },
  'an address that the host gave itself': {
    host: { addresses: [address('eth0', '169.254.7.7')] },
    becomes: /eth0 has only link-local addresses/,
  },
  'made anew under its name, with its address': { host: { links: [link(9, 'eth0')] }, becomes: { index: 9 } },
  gone: {
    host: { links: [link(3, 'eth1')], routes: [] },
    becomes: /^the interface eth0 is gone, and there is nothing/,
  },
  'gone, and another one was named too': {
    wish: { iface: ['eth0', 'eth1'] },
    host: { links: [link(3, 'eth1')], addresses: [address('eth1', '198.51.100.1')] },
    becomes: { index: 3, dev: 'eth1', ip: ip('198.51.100.1'), publicIp: ip('198.51.100.1') },
  },
  renamed: {
    host: { links: [link(2, 'lan0')], addresses: [address('lan0', '192.0.2.1')], routes: [defaultRoute('lan0')] },
    becomes: { dev: 'lan0' },
  },
  'renamed, and named by --iface': {
    wish: { iface: ['eth0'] },
    host: { links: [link(2, 'lan0')], addresses: [address('lan0', '192.0.2.1')] },
    becomes: { dev: 'lan0' },
    note: /^eth0 was renamed to lan0; it is still used, but a restart would not find it/,
  },
  'renamed, and another one has its name': {
    wish: { iface: ['eth0'] },
    host: {
      links: [link(2, 'lan0'), link(3, 'eth0')],
      addresses: [address('lan0', '192.0.2.1'), address('eth0', '198.51.100.1')],
    },
    becomes: { index: 3, dev: 'eth0', ip: ip('198.51.100.1'), publicIp: ip('198.51.100.1') },
  },
};

for (const [title, { wish, host, becomes, note }] of Object.entries(CASES)) {
  test(title, (t) => {
    const change = followUnderlay(CURRENT, { ...WISH, ...wish }, { ...HOST, ...host });
    if (becomes instanceof RegExp) {
      t.regex(change.ok ? '' : change.reason, becomes);
      return;
    }
    if (!change.ok) return t.fail(change.reason);
    const current = wish?.publicIp ? { ...CURRENT, publicIp: wish.publicIp } : CURRENT;
    t.deepEqual({ ...change.underlay, hostAddresses: 0 }, { ...current, ...becomes, hostAddresses: 0 });
    if (note) t.regex(change.note ?? '', note);
    else t.is(change.note, undefined);
  });
}

test("of the host's other addresses only the public IP matters", (t) => {
  t.true(sameUnderlay(CURRENT, { ...CURRENT, hostAddresses: new Set([ip('192.0.2.1'), ip('10.0.0.1')]) }));
  t.false(sameUnderlay(CURRENT, { ...CURRENT, hostAddresses: new Set() }));
  t.false(sameUnderlay(CURRENT, { ...CURRENT, mtuBytes: 1400 }));
});
