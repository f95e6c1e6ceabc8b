import test from 'ava';
import { METRICS, Metrics } from '../../../agent/metrics.ts';
import type { Status } from '../../../agent/status.ts';
import { Durations } from '../../../config/durations.ts';
import { readRepository } from '../../support/repository.ts';

const status: Status = {
  ...{ version: '1', pid: 1, node: 'n', name: 'h', startedAt: '2026-01-01T00:00:00.000Z', ready: true, phase: '' },
  etcd: { endpoints: [], prefix: '/p', connected: true, since: '2026-01-01T00:00:00.000Z' },
  ...{
    problems: ['one'],
    devices: [],
    inStep: false,
    missing: [],
    missingCount: 5,
    peers: [],
    refused: [],
    refusedCount: 7,
  },
};

const counters = {
  ...{ leaseEvents: 1, kernelOperations: 2, kernelRefusals: 0, repairs: 3, claimTransactions: 4 },
  ...{ firewallRepairs: 5, packetsDropped: 6, packetsReported: 7 },
};

const timings = {
  ...{ list: new Durations(), plan: new Durations(), apply: new Durations(), change: new Durations() },
  roundTrip: new Durations(),
};
timings.change.add(0.3);
timings.change.add(30);

/** With a data path and probes. */
const busy: Status = {
  ...status,
  dataPaths: [
    {
      ...{ device: 'flannel0', isUp: true, core: 'wasm', features: ['udp-gso'], restarts: 1, refusals: {} },
      ...{ sent: { packets: 3, bytes: 300 }, received: { packets: 2, bytes: 200 }, dropped: { 'tx-no-route': 4 } },
    },
  ],
  probes: [{ device: 'flannel.1', answered: 5, lost: 1, refused: 0 }],
  peers: [
    {
      ...{ subnet: '10.5.1.0/24', publicIp: '192.0.2.1' },
      paths: [{ device: 'flannel.1', state: 'answering', asked: 6, lost: 1, isSmaller: true, pathMtu: 1400 }],
    },
  ],
};

async function samples(of: Status): Promise<Map<string, string>> {
  const { body } = await new Metrics(() => ({ status: of, counters, timings })).render();
  const lines = body.split('\n').filter((line) => line.startsWith('tartan_'));
  return new Map(lines.map((line) => [line.split(' ')[0] ?? '', line.split(' ')[1] ?? '']));
}

test('the README has every metric with its meaning', (t) => {
  const rows = readRepository('agent/README.md').matchAll(/^\| `(tartan_\w+)` \| (.*) \|$/gm);
  const documented = Array.from(rows, ([, name, help]) => ({ name, help }));
  t.deepEqual(
    documented,
    METRICS.map(({ name, help }) => ({ name, help })),
  );
});

test('each is served, read at the moment it is asked for', async (t) => {
  const found = await samples(busy);
  const names = new Set([...found.keys()].map((key) => key.replace(/_(bucket\{.*|sum|count)$|\{.*/, '')));
  t.deepEqual([...names].sort(), METRICS.map(({ name }) => name).sort());
  t.deepEqual([found.get('tartan_ready'), found.get('tartan_in_step'), found.get('tartan_problems')], ['1', '0', '1']);
  t.deepEqual([found.get('tartan_refused_leases'), found.get('tartan_repairs_total')], ['7', '3']);
  t.is(found.get('tartan_missing_objects'), '5');
});

test('what is several is told apart by labels, and nothing is served where there is none', async (t) => {
  const found = await samples(busy);
  t.is(found.get('tartan_data_path_packets_total{device="flannel0",direction="sent"}'), '3');
  t.is(found.get('tartan_data_path_dropped_packets_total{device="flannel0",reason="tx-no-route"}'), '4');
  t.is(found.get('tartan_path_probes_total{device="flannel.1",outcome="lost"}'), '1');
  t.is(found.get('tartan_path_peers{state="answering"}'), '1');
  t.is(found.get('tartan_path_narrow_peers'), '1');
  t.false([...(await samples(status)).keys()].some((name) => name.startsWith('tartan_data_path')));
});

test('how long things took is served as a histogram, also of what came before anybody asked', async (t) => {
  const { body } = await new Metrics(() => ({ status, counters, timings })).render();
  t.regex(body, /^# TYPE tartan_change_seconds histogram$/m);
  t.regex(body, /^tartan_change_seconds_bucket\{le="0.0005"\} 1$/m);
  t.regex(body, /^tartan_change_seconds_bucket\{le="\+Inf"\} 2$/m);
  t.regex(body, /^tartan_change_seconds_count 2$/m);
});

test('one scrape reads the status once, the next one anew', async (t) => {
  let reads = 0;
  const metrics = new Metrics(() => {
    reads += 1;
    return { status, counters: { ...counters, repairs: reads }, timings };
  });
  await metrics.render();
  t.is(reads, 1);
  t.regex((await metrics.render()).body, /^tartan_repairs_total 2$/m);
});

test('no lease is -1 seconds, a reservation has no end', async (t) => {
  const lease = { key: 'k', subnet: '10.5.1.0/24', publicIp: '192.0.2.1', secondsLeft: null, expiresAt: null };
  t.is((await samples(status)).get('tartan_lease_seconds_left'), '-1');
  t.is((await samples({ ...status, lease })).get('tartan_lease_seconds_left'), '+Inf');
});
