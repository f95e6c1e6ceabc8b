import { readFileSync } from 'node:fs';
import test from 'ava';
import fc from 'fast-check';
import { dual, duration, renderStatus, type Status, table } from '../../../agent/status.ts';

const NOW = Date.UTC(2026, 0, 2, 3, 4, 5);
const ago = (seconds: number): string => new Date(NOW - seconds * 1000).toISOString();

const starting: Status = {
  ...{ version: '1.2.3', pid: 4711, node: 'a1b2', name: 'host1', startedAt: ago(12), ready: false },
  ...{ phase: 'waiting for etcd', problems: ['etcd at http://192.0.2.1:2379 did not answer'] },
  etcd: {
    ...{ endpoints: ['http://192.0.2.1:2379'], prefix: '/coreos.com/network', connected: false, since: ago(12) },
    reason: 'etcd at http://192.0.2.1:2379 did not answer',
  },
  ...{ devices: [], inStep: false, missing: [], missingCount: 0, peers: [], refused: [], refusedCount: 0 },
};

const running: Status = {
  ...{ version: '1.2.3', pid: 4711, node: 'a1b2', name: 'host1', startedAt: ago(90_000), ready: true },
  ...{ phase: 'holding the lease', problems: ['restart the agent to follow the network config: Backend.VNI: 1 -> 2'] },
  etcd: {
    ...{ endpoints: ['https://192.0.2.1:2379', 'https://192.0.2.2:2379'], prefix: '/coreos.com/network' },
    ...{ connected: true, since: ago(75) },
  },
  network: { ranges: ['10.5.0.0/16 in /24s', 'fd00:5::/48 in /64s'], backend: 'vxlan' },
  lease: {
    ...{ key: '/coreos.com/network/subnets/10.5.66.0-24', subnet: '10.5.66.0/24', subnet6: 'fd00:5:0:12::/64' },
    ...{ publicIp: '192.168.77.11', publicIp6: 'fd77::b', secondsLeft: 82_800, expiresAt: ago(-82_800) },
    renewalFailing: { since: ago(5), attempts: 2, error: 'etcd did not answer' },
  },
  underlay: { dev: 'eth0', ip: '192.168.77.11', ip6: 'fd77::b' },
  devices: [{ name: 'flannel.1', mac: 'c2:88:f0:5b:5f:ac', mtu: 1450 }, { name: 'flannel-v6.1' }],
  ...{ mtu: 1430, inStep: true, inStepSince: ago(3_700) },
  firewall: { program: 'iptables 1.8.9 (nf_tables)', inPlaceSince: ago(3_600), repairs: 2, notes: ['a note'] },
  peerFilters: [
    {
      ...{ device: 'flannel.1', mode: 'enforce', effective: 'report', why: 'adopted from a flanneld', addresses: 3 },
      ...{ dropped: 0, reported: 12, passed: 4, hasMoreStrangers: true },
      strangers: [
        {
          ...{ source: '203.0.113.5', inner: '10.5.1.0', lease: '/coreos.com/network/subnets/10.5.1.0-24' },
          ...{ verdict: 'tolerated', since: ago(60), seen: ago(3), packets: 4 },
        },
        { source: '203.0.113.9', inner: '10.5.9.9', verdict: 'unknown', since: ago(50), seen: ago(50), packets: 12 },
      ],
    },
    {
      ...{ device: 'flannel-v6.1', mode: 'enforce', effective: 'enforce', addresses: 2, dropped: 5, reported: 0 },
      ...{ passed: 0, strangers: [], hasMoreStrangers: false },
    },
  ],
  dataPaths: [
    {
      ...{
        device: 'flannel.1',
        isUp: true,
        core: 'wasm',
        features: ['tun-offload', 'udp-gso', 'wasm'],
        restarts: 0,
        refusals: {},
      },
      ...{ sent: { packets: 12, bytes: 1_200 }, received: { packets: 9, bytes: 900 }, dropped: {} },
    },
    {
      ...{ device: 'flannel-v6.1', isUp: false, features: [], restarts: 2, refusals: { 'send ENETUNREACH': 3 } },
      ...{ sent: { packets: 0, bytes: 0 }, received: { packets: 3, bytes: 300 } },
      dropped: { 'tx-no-route': 4, 'rx-length': 1 },
    },
  ],
  note: 'VXLAN in user space: this kernel makes no vxlan devices',
  probes: [
    { device: 'flannel.1', answered: 5, lost: 1, refused: 0 },
    { device: 'flannel-v6.1', answered: 0, lost: 0, refused: 0, problem: 'a raw ICMP socket needs CAP_NET_RAW' },
  ],
  missing: [{ object: 'route 10.5.3.0/24', since: ago(2), attempts: 3, error: 'ENETUNREACH' }],
  missingCount: 1,
  peers: [
    {
      ...{ subnet: '10.5.1.0/24', publicIp: '192.168.77.12', name: 'host2', node: 'b2' },
      paths: [
        {
          ...{ device: 'flannel.1', state: 'answering', since: ago(300), asked: 32, lost: 2, roundTripMs: 0.31 },
          ...{ pathMtu: 1_400, isSmaller: true },
        },
      ],
    },
    {
      ...{ subnet: '10.5.200.0/24', publicIp: '192.168.77.13' },
      paths: [{ device: 'flannel.1', state: 'silent', since: ago(70), asked: 32, lost: 9, isSmaller: false }],
    },
    { subnet: '0.0.0.0/0', subnet6: 'fd00:5:0:99::/64', publicIp: '0.0.0.0', publicIp6: 'fd77::c', name: 'host4' },
  ],
  refused: [{ key: '/coreos.com/network/subnets/0.0.0.0-0', reason: '0.0.0.0/0 is the default route' }],
  refusedCount: 1,
};

test('status while it waits, for people', (t) => {
  t.is(renderStatus(starting, NOW), readFileSync('test/golden/status/waiting.txt', 'utf8'));
});

test('status with everything in it, for people', (t) => {
  t.is(renderStatus(running, NOW), readFileSync('test/golden/status/running.txt', 'utf8'));
});

test('a reservation does not expire', (t) => {
  const lease = running.lease && { ...running.lease, secondsLeft: null, expiresAt: null };
  t.true(renderStatus({ ...running, ...(lease && { lease }) }, NOW).includes('does not expire'));
});

test('durations read as a person says them', (t) => {
  const shown = [0, 59, 60, 75, 3_599, 3_600, 86_400, 90_061].map(duration);
  t.deepEqual(shown, ['0s', '59s', '1m00s', '1m15s', '59m59s', '1h00m', '24h00m', '25h01m']);
});

test('what a lease of one family has for the other is left out', (t) => {
  t.is(dual('10.5.1.0/24', undefined), '10.5.1.0/24');
  t.is(dual('10.5.1.0/24', 'fd00::/64'), '10.5.1.0/24 fd00::/64');
  t.is(dual('0.0.0.0/0', 'fd00::/64'), 'fd00::/64');
  t.is(dual('0.0.0.0/0', null), '0.0.0.0/0');
});

test('columns are as wide as they need to be', (t) => {
  t.is(
    table([
      ['A', 'LONG', 'B'],
      ['longer', 'x', ''],
    ]),
    'A       LONG  B\nlonger  x',
  );
});

test('no text from etcd breaks a line or moves the cursor', (t) => {
  const cell = fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom('\u001b[2J', '\u009b', '\u202e', 'a\nb'));
  fc.assert(
    fc.property(fc.array(fc.tuple(cell, cell), { minLength: 1, maxLength: 4 }), (rows) => {
      const text = table(rows);
      t.is(text.split('\n').length, rows.length);
      t.notRegex(text.replaceAll('\n', ''), /\p{Cc}/u);
    }),
  );
});
