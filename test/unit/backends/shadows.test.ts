import test from 'ava';
import { shadowProblem, shadows } from '../../../backends/shadows.ts';
import { type KernelObject, keyOf, type RouteInfo, YIELDING_METRIC } from '../../../backends/state.ts';
import { familyOf } from '../../../config/address.ts';
import { ip, prefix } from '../../support/addresses.ts';

const policy = { networks: [prefix('10.5.0.0/16'), prefix('fd00:5::/48')], devices: new Set(['flannel.1']) };

function wanted(...destinations: readonly string[]): Map<string, KernelObject> {
  return new Map(
    destinations.map((dst) => {
      const hop = { dev: 'flannel.1', gateway: ip('10.5.2.0'), onlink: true, nexthopId: undefined };
      return [`route ${dst}`, { kind: 'route', dst: prefix(dst), ...hop }];
    }),
  );
}

function found(dst: string, change: Partial<RouteInfo> = {}): RouteInfo {
  const family = familyOf(prefix(dst));
  const plain = { metric: family === 4 ? 0 : 1024, protocol: 3, dev: 'eth0', gateway: undefined, type: 1 };
  return { family, dst: prefix(dst), onlink: false, nexthopId: undefined, ...plain, ...change };
}

const desired = wanted('10.5.2.0/24', '10.5.3.0/24', 'fd00:5:0:2::/64');

const CASES: readonly [string, RouteInfo, string | undefined][] = [
  ['one address of a peer', found('10.5.2.7/32'), '10.5.2.0/24'],
  ['half of a peer', found('10.5.3.128/25', { type: 6, dev: undefined }), '10.5.3.0/24'],
  ['an address of an IPv6 peer', found('fd00:5:0:2::7/128'), 'fd00:5:0:2::/64'],
  ["a peer's own prefix at a lower metric", found('fd00:5:0:2::/64', { metric: 256 }), 'fd00:5:0:2::/64'],
  ["a peer's own prefix at a higher metric", found('10.5.2.0/24', { metric: 9 }), undefined],
  ["a peer's own key, which will be replaced", found('10.5.2.0/24'), undefined],
  ['a shorter prefix', found('10.5.2.0/23'), undefined],
  ['the whole network', found('10.5.0.0/16'), undefined],
  ['everything', found('0.0.0.0/0'), undefined],
  ["nobody's subnet", found('10.5.4.7/32'), undefined],
  ['our own protocol', found('10.5.2.7/32', { protocol: 84 }), undefined],
  ["flannel's on our device, which will be swept", found('10.5.2.7/32', { dev: 'flannel.1' }), undefined],
];

for (const [what, route, peer] of CASES) {
  test(`whose packets a route of others takes: ${what}`, (t) => {
    t.deepEqual(shadows([route], desired, policy), peer === undefined ? [] : [{ route, peer: prefix(peer) }]);
  });
}

const networkHop = { dev: 'flannel0', gateway: undefined, onlink: false, nexthopId: undefined };
const network: KernelObject = { kind: 'route', dst: prefix('10.5.0.0/16'), metric: YIELDING_METRIC, ...networkHop };
const ofUdp = new Map([[keyOf(network), network]]);
const udpPolicy = {
  ...{ networks: [prefix('10.5.0.0/16')], devices: new Set(['flannel0']) },
  ownSubnets: [prefix('10.5.1.0/24')],
};

for (const [what, route, isShadow] of [
  ['of the network, as a flanneld has it', found('10.5.0.0/16', { dev: 'flannel1' }), true],
  ['of the network at a lower metric', found('10.5.0.0/16', { metric: YIELDING_METRIC - 1 }), true],
  [
    'of the network at the same metric, which will be replaced',
    found('10.5.0.0/16', { metric: YIELDING_METRIC }),
    false,
  ],
  ['of the network at a higher metric', found('10.5.0.0/16', { metric: 100 }), false],
  ['of a peer', found('10.5.7.0/24', { metric: 9000 }), true],
  ['of half the network', found('10.5.0.0/17'), true],
  ["of this host's own subnet", found('10.5.1.0/24', { dev: 'docker0', protocol: 2 }), false],
  ['of a container here', found('10.5.1.7/32', { dev: 'cali1' }), false],
  ['of more than the network', found('10.0.0.0/8'), false],
] as const) {
  test(`what goes before the one route to all peers: that ${what}`, (t) => {
    t.deepEqual(shadows([route], ofUdp, udpPolicy), isShadow ? [{ route, peer: prefix('10.5.0.0/16') }] : []);
  });
}

test('they are named with what tells whose they are; of many the first', (t) => {
  const one = shadows([found('10.5.2.7/32', { gateway: ip('192.0.2.1'), protocol: 186 })], desired, policy);
  t.regex(
    shadowProblem(one) ?? '',
    /: 10\.5\.2\.7\/32 via 192\.0\.2\.1 dev eth0, protocol 186 \(before 10\.5\.2\.0\/24\);/,
  );
  const many = Array.from({ length: 9 }, (_, i) => found(`10.5.2.${i}/32`));
  t.regex(shadowProblem(shadows(many, desired, policy)) ?? '', /10\.5\.2\.4\/32 .* and 4 more;/);
  t.is(shadowProblem([]), undefined);
});
