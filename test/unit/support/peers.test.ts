import test from 'ava';
import { containsPrefix } from '../../../config/address.ts';
import { decodeLease, formatLeaseValue } from '../../../leases/codec.ts';
import { prefix } from '../../support/addresses.ts';
import { PREFIX } from '../../support/agent.ts';
import { LARGE_NETWORK, peerLease, peerSubnet } from '../../support/peers.ts';

const INDICES = [0, 254, 255, 256, 1023, 9999, 14_099];

test('made-up peers are leases as a host writes them, each in the network', (t) => {
  for (const index of INDICES) {
    const { key, value } = peerLease(index);
    const kv = { key, value, createRevision: 1, modRevision: 1, lease: '1' };
    const decoded = decodeLease(PREFIX, kv);
    if (!decoded.ok) return t.fail(decoded.reason);
    t.is(formatLeaseValue(decoded.lease), value);
    t.is(decoded.lease.subnet, prefix(peerSubnet(index)));
    t.true(containsPrefix(prefix(LARGE_NETWORK), decoded.lease.subnet));
  }
});

test('no two are alike', (t) => {
  const values = Array.from({ length: 15_000 }, (_, index) => peerLease(index));
  t.is(new Set(values.map(({ key }) => key)).size, values.length);
  for (const field of ['PublicIP', 'VtepMAC', 'node']) {
    const found = values.map(({ value }) => new RegExp(`"${field}":"([^"]*)"`).exec(value)?.[1]);
    t.is(new Set(found).size, values.length, field);
  }
});
