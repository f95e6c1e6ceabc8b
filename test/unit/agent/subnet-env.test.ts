import { readFileSync } from 'node:fs';
import test from 'ava';
import fc from 'fast-check';
import { firstHost, formatSubnetEnv, parsePreviousSubnet } from '../../../agent/subnet-env.ts';
import { ipFromBigInt, prefixOf } from '../../../config/address.ts';
import { parseNetworkConfig } from '../../../config/network-config.ts';
import type { LeaseSubnets } from '../../../leases/lease.ts';
import { prefix } from '../../support/addresses.ts';

const V4 = { subnet: prefix('10.5.66.0/24'), subnet6: undefined };
const DUAL = { subnet: prefix('10.5.66.0/24'), subnet6: prefix('fd00:5:0:12::/64') };
const V6 = { subnet: prefix('0.0.0.0/0'), subnet6: prefix('fd00:5:0:12::/64') };
const IPV6 = { EnableIPv6: true, IPv6Network: 'fd00:5::/48' };

function written(json: object, own: LeaseSubnets, mtuBytes: number, ipMasq: boolean): string {
  const result = parseNetworkConfig(JSON.stringify(json));
  if (!result.ok) throw new TypeError(result.problems.join('; '));
  return formatSubnetEnv({ config: result.config, own, mtuBytes, ipMasq });
}

const golden = (name: string) => readFileSync(`test/golden/subnet-env/${name}.env`, 'utf8');

test('the file of an IPv4 network', (t) => t.is(written({ Network: '10.5.9.9/16' }, V4, 1450, false), golden('ipv4')));

test('the file of a dual-stack network', (t) => {
  t.is(written({ Network: '10.5.0.0/16', ...IPV6 }, DUAL, 1450, true), golden('dual'));
});

test('the file of an IPv6 network', (t) => {
  t.is(written({ EnableIPv4: false, ...IPV6 }, V6, 1430, false), golden('ipv6'));
});

const previous: readonly (readonly [
  title: string,
  text: string,
  v4: string | undefined,
  v6: string | undefined,
  warnings: number,
])[] = [
  ['nothing', '', undefined, undefined, 0],
  ['both families', golden('dual'), '10.5.66.0/24', 'fd00:5:0:12::/64', 0],
  [
    'quotes, export and comments',
    `export FLANNEL_SUBNET="10.5.66.1/24" # ours\n# FLANNEL_IPV6_SUBNET=x\nFLANNEL_IPV6_SUBNET='fd00:5::1/64'`,
    '10.5.66.0/24',
    'fd00:5::/64',
    0,
  ],
  ['carriage returns', 'FLANNEL_SUBNET=10.5.66.1/24\r\nFLANNEL_MTU=1450\r\n', '10.5.66.0/24', undefined, 0],
  ['a bad entry beside a good one', 'FLANNEL_SUBNET=10.5.66.1/24,x', '10.5.66.0/24', undefined, 1],
  ['a bad IPv6 entry beside a good one', 'FLANNEL_IPV6_SUBNET=x,fd00:5::1/64', undefined, 'fd00:5::/64', 1],
  [
    'bad entries only',
    'FLANNEL_SUBNET=10.5.66.1,300.1.1.1/24\nFLANNEL_IPV6_SUBNET=fd00::/129',
    undefined,
    undefined,
    3,
  ],
  ['two good entries', 'FLANNEL_SUBNET=10.5.66.1/24,10.5.67.1/24', undefined, undefined, 1],
  ['an empty value', 'FLANNEL_SUBNET=\n', undefined, undefined, 1],
  ['families changed over', 'FLANNEL_SUBNET=fd00:5::1/64\nFLANNEL_IPV6_SUBNET=10.5.66.1/24', undefined, undefined, 2],
];

for (const [title, text, v4, v6, warnings] of previous) {
  test(`what is read from a file with ${title}`, (t) => {
    const result = parsePreviousSubnet(text);
    t.is(result.subnet?.toString(), v4);
    t.is(result.subnet6?.toString(), v6);
    t.is(result.warnings.length, warnings);
  });
}

test('what was written is read back', (t) => {
  const v4 = fc.bigInt({ min: 0n, max: 2n ** 32n - 1n }).map((value) => prefixOf(ipFromBigInt(value, 4), 24));
  const v6 = fc.bigInt({ min: 2n ** 64n, max: 2n ** 128n - 1n }).map((value) => prefixOf(ipFromBigInt(value, 6), 64));
  fc.assert(
    fc.property(v4, v6, (subnet, subnet6) => {
      const text = written({ Network: '10.5.0.0/16', ...IPV6 }, { subnet, subnet6 }, 1450, false);
      t.deepEqual(parsePreviousSubnet(text), { subnet, subnet6, warnings: [] });
    }),
  );
});

test('no text makes the reader throw', (t) => {
  const text = fc.oneof(
    fc.string(),
    fc.string().map((value) => `FLANNEL_SUBNET=${value}\nexport FLANNEL_IPV6_SUBNET="${value}`),
  );
  fc.assert(
    fc.property(text, (value) => t.true(Array.isArray(parsePreviousSubnet(value).warnings))),
    { numRuns: 2000 },
  );
});

test('the first host comes after the address of the subnet', (t) => {
  t.is(firstHost(prefix('10.5.66.64/26')), '10.5.66.65/26');
  t.is(firstHost(prefix('255.255.255.255/32')), '255.255.255.255/32');
});
