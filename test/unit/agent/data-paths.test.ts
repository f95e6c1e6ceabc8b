import test from 'ava';
import { DataPaths } from '../../../agent/data-paths.ts';
import { createBackend } from '../../../backends/backends.ts';
import type { PathState } from '../../../backends/data-path/data-path.ts';
import type { PathFilter } from '../../../backends/data-path/path-settings.ts';
import { parseCommandLine } from '../../../config/command-line.ts';
import { silentLog } from '../../../config/log.ts';
import { VirtualClock } from '../../fakes/clock.ts';
import { DUAL, MACS, OWN, UNDERLAY } from '../backends/values.ts';

const NOTHING: PathState = {
  ...{ device: 'flannel.1', isUp: true, core: 'wasm', features: [], counters: {}, receiveDrops: 0, strangers: [] },
  ...{ addresses: 0, refusals: {}, restarts: 0, since: 0 },
};

/** Data paths that only note what they are told. */
function scene({ peerFilter, adoptedMsAgo }: { readonly peerFilter: PathFilter; readonly adoptedMsAgo?: number }) {
  const clock = new VirtualClock();
  const told: string[] = [];
  let strangers = 0;
  const created = createBackend('vxlan', { Mode: 'user' }, DUAL, UNDERLAY, true);
  const parsed = parseCommandLine([`--peer-filter=${peerFilter}`], {});
  if (!(created.ok && parsed.ok)) throw new Error('the test has bad values');
  const { options } = parsed.invocation;
  const paths = new DataPaths({
    context: { options, env: {}, version: '', clock, log: silentLog },
    status: { watch: () => undefined, carry: () => undefined },
    adoptedAt: adoptedMsAgo === undefined ? undefined : clock.now() - adoptedMsAgo,
    current: () => ({ backend: created.backend, own: OWN, macs: MACS }),
    peers: () => [],
    make: () => ({
      configure: ({ device, filter }) => told.push(`${device} ${filter}`),
      setPeers: (peers) => told.push(`${peers.size} peers`),
      update: (changes) => told.push(`${changes.length} changes`),
      run: (signal) => clock.sleep(Number.POSITIVE_INFINITY, signal).then(() => Promise.reject(signal.reason)),
      state: () => ({ ...NOTHING, counters: { 'rx-stranger': strangers } }),
      problem: () => undefined,
      send: () => undefined,
    }),
  });
  return { clock, told, paths, see: (packets: number) => (strangers += packets) };
}

function start({ paths }: ReturnType<typeof scene>, signal: AbortSignal): void {
  paths.follow();
  for (const task of paths.tasks()) task(signal).catch(() => undefined);
}

test('each device is told what becomes of strangers', (t) => {
  for (const peerFilter of ['strict', 'enforce', 'report', 'off'] as const) {
    const { paths, told } = scene({ peerFilter });
    paths.follow();
    t.deepEqual(told, [`flannel.1 ${peerFilter}`, `flannel-v6.1 ${peerFilter}`]);
  }
});

test('devices are told of no peers before all are known, and then of all', (t) => {
  const { paths, told } = scene({ peerFilter: 'off' });
  paths.follow();
  t.deepEqual(told.splice(0), ['flannel.1 off', 'flannel-v6.1 off']);
  paths.update([]);
  t.deepEqual(told.splice(0), ['0 peers', '0 peers']);
  paths.update([]);
  t.deepEqual(told.splice(0), ['0 changes', '0 changes']);
  paths.follow();
  t.deepEqual(told, ['flannel.1 off', 'flannel-v6.1 off', '0 peers', '0 peers']);
});

test('taken over from a flanneld, strangers are reported for an hour, however the clock is set meanwhile', async (t) => {
  const made = scene({ peerFilter: 'strict', adoptedMsAgo: 600_000 });
  const { clock, told, paths, see } = made;
  const stop = new AbortController();
  start(made, stop.signal);
  t.deepEqual(told.splice(0), ['flannel.1 report', 'flannel-v6.1 report']);
  see(5);
  t.like(paths.state()[0]?.filter, { mode: 'strict', effective: 'report', reported: 5, dropped: 0 });
  clock.setWall(clock.now() - 7_200_000);
  await clock.advance(2_999_000);
  t.deepEqual(told, []);
  await clock.advance(2_000);
  t.deepEqual(told, ['flannel.1 strict', 'flannel-v6.1 strict']);
  see(2);
  t.like(paths.state()[0]?.filter, { mode: 'strict', effective: 'strict', reported: 5, dropped: 2 });
  stop.abort();
});

test('who only wants reports gets nothing else after the hour', async (t) => {
  const made = scene({ peerFilter: 'report', adoptedMsAgo: 0 });
  const stop = new AbortController();
  start(made, stop.signal);
  await made.clock.advance(4_000_000);
  t.deepEqual(made.told, ['flannel.1 report', 'flannel-v6.1 report']);
  stop.abort();
});
