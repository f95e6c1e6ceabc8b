import test from 'ava';
import fc from 'fast-check';
import { type NetworkConfig, parseNetworkConfig } from '../../../config/network-config.ts';
import { choose as choiceOf, fitsConfig, hasCurrentLengths, mayKeep } from '../../../leases/intent.ts';
import type { LeaseSubnets } from '../../../leases/lease.ts';
import { net } from './leases.ts';

function config(fields: object): NetworkConfig {
  const parsed = parseNetworkConfig(JSON.stringify(fields));
  if (!parsed.ok) throw new Error(parsed.problems.join());
  return parsed.config;
}

const choose = (...of: Parameters<typeof choiceOf>): LeaseSubnets | undefined => choiceOf(...of)?.subnets;

const IPV4 = config({ Network: '10.5.0.0/16' });
const IPV6 = config({ EnableIPv4: false, EnableIPv6: true, IPv6Network: 'fd00:5::/56' });
const DUAL = config({ Network: '10.5.0.0/16', EnableIPv6: true, IPv6Network: 'fd00:5::/56' });

const pair = (subnet: string, subnet6?: string): LeaseSubnets => ({
  subnet: net(subnet),
  subnet6: subnet6 === undefined ? undefined : net(subnet6),
});

test('which leases the config allows', (t) => {
  const [v4, v6, both] = [
    pair('10.5.1.0/24'),
    pair('0.0.0.0/0', 'fd00:5:0:1::/64'),
    pair('10.5.1.0/24', 'fd00:5:0:1::/64'),
  ];
  const fits = (one: NetworkConfig): boolean[] => [v4, v6, both].map((subnets) => fitsConfig(one, subnets));
  t.deepEqual(fits(IPV4), [true, false, false]);
  t.deepEqual(fits(IPV6), [false, true, false]);
  t.deepEqual(fits(DUAL), [false, false, true]);
  for (const outside of ['10.6.1.0/24', '10.5.0.0/24', '10.5.1.0/25', '10.5.0.0/20'])
    t.false(fitsConfig(IPV4, pair(outside)), outside);
});

test('a lease is kept as long as it lies in the network: lengths and bounds are for new claims', (t) => {
  for (const inside of ['10.5.1.0/24', '10.5.0.0/24', '10.5.1.0/25', '10.5.0.0/20'])
    t.true(mayKeep(IPV4, pair(inside)), inside);
  for (const outside of ['10.6.1.0/24', '0.0.0.0/0', '10.4.0.0/15']) t.false(mayKeep(IPV4, pair(outside)), outside);
  t.false(mayKeep(DUAL, pair('10.5.1.0/24')));
  t.false(mayKeep(IPV4, pair('10.5.1.0/24', 'fd00:5:0:1::/64')));
  t.true(mayKeep(DUAL, pair('10.5.1.0/24', 'fd00:5:0:1::/68')));
});

test('which subnets are as long as those that are claimed now', (t) => {
  t.true(hasCurrentLengths(IPV4, pair('10.9.1.0/24')));
  t.false(hasCurrentLengths(IPV4, pair('10.5.0.0/20')));
  t.true(hasCurrentLengths(IPV6, pair('0.0.0.0/0', 'fd00:5:0:1::/64')));
  t.false(hasCurrentLengths(IPV4, pair('10.5.1.0/24', 'fd00:5:0:1::/64')));
  t.false(hasCurrentLengths(DUAL, pair('10.5.1.0/24', 'fd00:5::/60')));
});

test('both families: the IPv6 subnet is at the place of the IPv4 one', (t) => {
  for (let i = 0; i < 50; i++) {
    const chosen = choose({ node: `n${i}`, config: DUAL, previous: undefined, avoid: [] }, []);
    const number = Number(chosen?.subnet.split('.')[2]);
    t.is(chosen?.subnet6, net(`fd00:5:0:${number.toString(16)}::/64`));
  }
});

test("the hosts' own networks are never leased", (t) => {
  const quarter = config({ Network: '10.5.0.0/22', SubnetMin: '10.5.0.0' });
  const avoid = [net('10.5.1.0/24'), net('10.5.2.128/25')];
  const chosen = (node: string, taken: string[]) =>
    choose(
      { node, config: quarter, previous: pair('10.5.1.0/24'), avoid },
      taken.map((one) => pair(one)),
    )?.subnet;
  for (let i = 0; i < 20; i++) t.true(['10.5.0.0/24', '10.5.3.0/24'].includes(chosen(`n${i}`, []) ?? ''));
  t.is(chosen('n', ['10.5.0.0/24', '10.5.3.0/24']), undefined);
});

test('where that is taken, or the IPv6 range is shorter, another one', (t) => {
  const small = config({ Network: '10.5.0.0/16', EnableIPv6: true, IPv6Network: 'fd00:5::/60' });
  const basis = { node: 'n', config: DUAL, previous: undefined, avoid: [] };
  const first = choose(basis, []);
  const second = choose(basis, [{ subnet: net('0.0.0.0/0'), subnet6: first?.subnet6 }]);
  t.is(second?.subnet, first?.subnet);
  t.not(second?.subnet6, first?.subnet6);
  t.truthy(choose({ ...basis, config: small }, [])?.subnet6);
  t.is(choose({ ...basis, config: small }, [pair('0.0.0.0/0', 'fd00:5::/60')]), undefined);
  t.is(choose(basis, [pair('10.5.0.0/16')]), undefined);
});

test('what was held before comes first, each family by itself', (t) => {
  const previous = pair('10.5.7.0/24', 'fd00:5:0:9::/64');
  const basis = { node: 'n', config: DUAL, previous, avoid: [] };
  t.deepEqual(choose(basis, []), previous);
  t.is(choose(basis, [pair('10.5.7.0/24')])?.subnet6, previous.subnet6);
  t.is(choose(basis, [pair('10.5.8.0/24', 'fd00:5:0:9::/64')])?.subnet, previous.subnet);
  t.is(choose({ ...basis, config: IPV4 }, [])?.subnet6, undefined);
  t.is(choose({ ...basis, config: IPV6 }, [])?.subnet, net('0.0.0.0/0'));
});

test('the choice is allowed, free, and the same for the same', (t) => {
  const taken = fc.array(fc.tuple(fc.nat(255), fc.nat(255)), { maxLength: 300 });
  fc.assert(
    fc.property(fc.string(), taken, (node, numbers) => {
      const used = numbers.map(([a, b]) => pair(`10.5.${a}.0/24`, `fd00:5:0:${b.toString(16)}::/64`));
      const chosen = choose({ node, config: DUAL, previous: undefined, avoid: [] }, used);
      if (!chosen)
        return new Set(numbers.map(([a]) => a)).size >= 255 || new Set(numbers.map(([, b]) => b)).size >= 255;
      const again = choose({ node, config: DUAL, previous: undefined, avoid: [] }, [...used].reverse());
      const isFree = !used.some(({ subnet, subnet6 }) => subnet === chosen.subnet || subnet6 === chosen.subnet6);
      return isFree && fitsConfig(DUAL, chosen) && again?.subnet === chosen.subnet && again.subnet6 === chosen.subnet6;
    }),
  );
  t.pass();
});
