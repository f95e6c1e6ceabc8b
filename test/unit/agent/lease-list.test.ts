import test from 'ava';
import { byAddress, holderOf } from '../../../agent/lease-list.ts';
import { prefix } from '../../support/addresses.ts';

const lease = (subnet: string, subnet6?: string) => ({
  ...{ subnet: prefix(subnet), subnet6: subnet6 === undefined ? undefined : prefix(subnet6) },
});

test('leases stand by address, those of IPv6 alone last', (t) => {
  const six = lease('0.0.0.0/0', 'fd00::/64');
  const sorted = [lease('10.5.9.0/24'), lease('10.5.10.0/24'), lease('10.5.100.0/24', 'fd00:1::/64'), six];
  t.deepEqual(sorted.toReversed().toSorted(byAddress), sorted);
  t.is(byAddress(six, six), 0);
});

test('without an owner a reservation is nobody at all, any other lease a flanneld', (t) => {
  const owner = { node: 'n', name: 'host1', claim: 'c' };
  t.is(holderOf({ owner, etcdLease: '0' }), 'host1');
  t.is(holderOf({ owner: undefined, etcdLease: '0' }), '-');
  t.is(holderOf({ owner: undefined, etcdLease: '7' }), '(flanneld)');
});
