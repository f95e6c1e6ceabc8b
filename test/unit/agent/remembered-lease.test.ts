import test from 'ava';
import { isAsPublished, rememberedLease, unfit } from '../../../agent/remembered-lease.ts';
import type { HeldState } from '../../../agent/state-file.ts';
import { createBackend } from '../../../backends/backends.ts';
import { parseNetworkConfig } from '../../../config/network-config.ts';
import { formatLeaseValue } from '../../../leases/codec.ts';
import { ip, mac, prefix } from '../../support/addresses.ts';

const HOUR = 3_600_000;
const NOW = Date.UTC(2026, 0, 1);
const OWNER = { node: 'n1', name: 'host1', claim: '0'.repeat(32) };
const WHO = { prefix: '/net', owner: OWNER, now: NOW };
const MAC = mac('c2:88:f0:5b:5f:ac');
const UNDERLAY = {
  ...{ dev: 'eth0', index: 2, mtuBytes: 1500, ip: ip('192.0.2.1'), ip6: undefined },
  ...{ publicIp: ip('192.0.2.1'), publicIp6: undefined, hostAddresses: new Set([ip('192.0.2.1')]) },
};

function configOf(text: string) {
  const parsed = parseNetworkConfig(text);
  if (!parsed.ok) throw new TypeError(parsed.problems.join());
  return parsed.config;
}

function backendOn(config: ReturnType<typeof configOf>, underlay: typeof UNDERLAY = UNDERLAY) {
  const created = createBackend(config.backendType, config.backend, { ipv4: true, ipv6: false }, underlay);
  if (!created.ok) throw new TypeError(created.problems.join());
  return created.backend;
}

const CONFIG = configOf('{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"}}');
const ADVERTISED = backendOn(CONFIG).advertise(new Map([['flannel.1', MAC]]));

const GOOD: HeldState = {
  ...{ key: '/net/subnets/10.5.1.0-24', value: formatLeaseValue({ ...ADVERTISED, owner: OWNER }) },
  ...{ subnet: prefix('10.5.1.0/24'), subnet6: undefined, publicIp: ip('192.0.2.1') },
  ...{ etcdLease: '7', sideLease: '7', ttlSeconds: 86_400, expiresAt: NOW + 20 * HOUR, modRevision: 9 },
  ...{ clusterId: '1', seen: { clusterId: '1', revision: 12 } },
};

function held(change: Partial<HeldState> = {}) {
  const found = rememberedLease({ ...GOOD, ...change }, WHO);
  if (!found.ok) throw new TypeError(found.reason);
  return found.held;
}

test('a good one is held as it was', (t) => {
  const { publicIp: _, seen: __, ...rest } = GOOD;
  t.deepEqual(held(), { ...rest, attributes: { ...ADVERTISED, owner: OWNER } });
  t.is(unfit(held(), CONFIG, backendOn(CONFIG)), undefined);
});

const value = (owner: Partial<typeof OWNER> | undefined): string =>
  formatLeaseValue({ ...ADVERTISED, owner: owner && { ...OWNER, ...owner } });
const BAD: readonly [string, Partial<HeldState> | undefined, RegExp][] = [
  ['none', undefined, /^no lease is remembered$/],
  ['of another prefix', { key: '/other/subnets/10.5.1.0-24' }, /makes no sense under \/net: not under/],
  ['no lease key', { key: '/net/subnets/10.5.1.1-24' }, /host bits/],
  ['no lease value', { value: '{' }, /makes no sense/],
  ['of another subnet', { subnet: prefix('10.5.2.0/24') }, /contradicts itself/],
  ['of another node', { value: value({ node: 'n2' }) }, /another host \(node n2\)/],
  ['of another state directory', { value: value({ claim: '1'.repeat(32) }) }, /another host/],
  ["a flanneld's", { value: value(undefined) }, /another host \(node unknown\)/],
  ['expired this moment', { expiresAt: NOW }, /ran out at 2026-01-01T00:00:00\.000Z/],
  ['from the future', { expiresAt: NOW + 24 * HOUR + 60_001 }, /from the future .*clock is wrong/],
  ['from no time at all', { expiresAt: 1e300 }, /from the future/],
];
for (const [what, change, reason] of BAD) {
  test(`not gone on with: ${what}`, (t) => {
    const found = rememberedLease(change && { ...GOOD, ...change }, WHO);
    t.regex(found.ok ? '' : found.reason, reason);
  });
}

test('a second before its expiry it is good, and one granted this moment by a clock a minute ahead', (t) => {
  t.is(held({ expiresAt: NOW + 1_000 }).expiresAt, NOW + 1_000);
  t.truthy(held({ expiresAt: NOW + 24 * HOUR + 60_000 }));
});

test('a reservation never expires', (t) => {
  t.is(held({ etcdLease: '0', expiresAt: Number.POSITIVE_INFINITY }).expiresAt, Number.POSITIVE_INFINITY);
});

const moved = { ...UNDERLAY, ip: ip('192.0.2.2'), publicIp: ip('192.0.2.2'), hostAddresses: new Set<never>() };
const UNFIT: readonly [string, string, typeof UNDERLAY, RegExp][] = [
  [
    'another network',
    '{"Network":"10.6.0.0/16","Backend":{"Type":"vxlan"}}',
    UNDERLAY,
    /not in the network remembered/,
  ],
  ['another VNI', '{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan","VNI":2}}', UNDERLAY, /would publish now/],
  ['another type', '{"Network":"10.5.0.0/16","Backend":{"Type":"host-gw"}}', UNDERLAY, /would publish now/],
  [...(['another address', CONFIG.text, moved] as const), /of the public IP 192\.0\.2\.1, this host has 192\.0\.2\.2/],
];
for (const [what, config, underlay, reason] of UNFIT) {
  test(`not fit: ${what}`, (t) => {
    t.regex(unfit(held(), configOf(config), backendOn(configOf(config), underlay)) ?? '', reason);
  });
}

test('a lease without a MAC does not fit a backend with a device', (t) => {
  const plain = backendOn(configOf('{"Network":"10.5.0.0/16","Backend":{"Type":"host-gw"}}')).advertise(new Map());
  const lease = held({ value: formatLeaseValue({ ...plain, owner: OWNER }) });
  t.regex(unfit(lease, CONFIG, backendOn(CONFIG)) ?? '', /names no MAC for flannel\.1/);
});

test('a host with another name is the same; one with another MAC publishes something else', (t) => {
  const renamed = held({ value: value({ name: 'before' }) });
  t.is(unfit(renamed, CONFIG, backendOn(CONFIG)), undefined);
  const other = backendOn(CONFIG).advertise(new Map([['flannel.1', mac('c2:88:f0:5b:5f:ad')]]));
  t.deepEqual([isAsPublished(renamed, ADVERTISED), isAsPublished(renamed, other)], [true, false]);
});

test('a lease without a MAC fits a backend whose device has none', (t) => {
  const config = configOf('{"Network":"10.5.0.0/16","Backend":{"Type":"udp"}}');
  const backend = backendOn(config);
  const lease = held({ value: formatLeaseValue({ ...backend.advertise(new Map()), owner: OWNER }) });
  t.is(unfit(lease, config, backend), undefined);
  t.regex(unfit(held(), config, backend) ?? '', /would publish now/);
});
