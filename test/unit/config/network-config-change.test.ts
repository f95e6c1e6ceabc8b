import test from 'ava';
import type { NetworkConfig } from '../../../config/network-config.ts';
import { parseNetworkConfig } from '../../../config/network-config.ts';
import { compareNetworkConfigs, orphans } from '../../../config/network-config-change.ts';
import { prefix } from '../../support/addresses.ts';

function config(fields: object): NetworkConfig {
  const result = parseNetworkConfig(
    JSON.stringify({ Network: '10.5.0.0/16', Backend: { Type: 'vxlan', VNI: 1 }, ...fields }),
  );
  if (!result.ok) throw new TypeError(result.problems.join('; '));
  return result.config;
}

const IPV6 = { EnableIPv6: true, IPv6Network: 'fd00:5::/48' };

/** The fields that each list names. */
function changed(before: object, after: object) {
  const { live, restart } = compareNetworkConfigs(config(before), config(after));
  const names = (entries: readonly string[]) => entries.map((entry) => entry.slice(0, entry.indexOf(':')));
  return { live: names(live), restart: names(restart) };
}

const changes: readonly (readonly [
  title: string,
  before: object,
  after: object,
  live: readonly string[],
  restart: readonly string[],
])[] = [
  ['the same config', {}, {}, [], []],
  ['a spelt-out default', {}, { SubnetLen: 24, SubnetMin: '10.5.1.0' }, [], []],
  ['a wider network', {}, { Network: '10.4.0.0/15', SubnetMin: '10.5.1.0', SubnetMax: '10.5.255.0' }, ['Network'], []],
  [
    'a narrower network',
    {},
    { Network: '10.5.0.0/17', SubnetMax: '10.5.127.0', SubnetMin: '10.5.1.0' },
    ['SubnetMax'],
    ['Network'],
  ],
  ['another network', {}, { Network: '10.6.0.0/16' }, ['SubnetMin', 'SubnetMax'], ['Network']],
  [
    'another length',
    { SubnetMin: '10.5.1.0', SubnetMax: '10.5.9.0' },
    { SubnetLen: 25, SubnetMin: '10.5.1.0', SubnetMax: '10.5.9.0' },
    ['SubnetLen'],
    [],
  ],
  ['another backend', {}, { Backend: { Type: 'host-gw' } }, [], ['Backend.Type', 'Backend.VNI']],
  ['another case of the type', {}, { Backend: { type: 'VXLAN', vni: 1 } }, [], []],
  ['another value of a backend key', {}, { Backend: { Type: 'vxlan', VNI: 2 } }, [], ['Backend.VNI']],
  ['a new backend key', {}, { Backend: { Type: 'vxlan', VNI: 1, DirectRouting: true } }, [], ['Backend.DirectRouting']],
  ['nftables', {}, { EnableNFTables: true }, [], ['EnableNFTables']],
  ['a new family', {}, IPV6, [], ['EnableIPv6']],
  ['a family less', IPV6, {}, [], ['EnableIPv6']],
  [
    'a wider IPv6 network',
    IPV6,
    { ...IPV6, IPv6Network: 'fd00:4::/31' },
    ['IPv6Network', 'IPv6SubnetMin', 'IPv6SubnetMax'],
    [],
  ],
];

for (const [title, before, after, live, restart] of changes) {
  test(`what ${title} changes`, (t) => t.deepEqual(changed(before, after), { live: [...live], restart: [...restart] }));
}

test('leases outside the new network are orphans, those inside are not, whatever their length', (t) => {
  const leases = ['10.5.1.0/24', '10.6.1.0/24', '10.5.2.0/26', '10.4.0.0/15'].map((text) => ({
    subnet: prefix(text),
    subnet6: undefined,
  }));
  const found = orphans(config({ SubnetLen: 20, SubnetMin: '10.5.128.0' }), leases).map(({ subnet }) =>
    subnet.toString(),
  );
  t.deepEqual(found, ['10.6.1.0/24', '10.4.0.0/15']);
});

test('a family that is gone orphans the leases that have it, a new one orphans none', (t) => {
  const both = { subnet: prefix('10.5.1.0/24'), subnet6: prefix('fd00:5:0:1::/64') };
  const only4 = { subnet: prefix('10.5.2.0/24'), subnet6: undefined };
  const only6 = { subnet: prefix('0.0.0.0/0'), subnet6: prefix('fd00:5:0:3::/64') };
  const leases = [both, only4, only6];
  t.deepEqual(orphans(config({}), leases), [both, only6]);
  t.deepEqual(orphans(config(IPV6), leases), []);
  t.deepEqual(orphans(config({ ...IPV6, EnableIPv4: false }), leases), [both, only4]);
  t.deepEqual(orphans(config({ ...IPV6, IPv6Network: 'fd00:6::/48' }), leases), [both, only6]);
});
