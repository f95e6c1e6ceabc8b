/** Under more traffic than the machine can carry: the agent stays responsive and small, and keeps its lease. */
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import { memoryOf } from '../bench/process-memory.ts';
import { http } from '../integration/agent/scene.ts';
import type { Host } from '../support/host.ts';
import { OURS, PathCluster, type Side } from '../support/path-cluster.ts';

/** Longer than the lease lasts without a renewal. */
const LOAD_MS = 8_000;
const LEASE_SECONDS = 5;
const HEALTH_PORT = 9090;
/** Goal: 120 MB. */
const MOST_MEGABYTES = 120;
/** Goal: 20 ms, on a machine that has processors left for anything else. A loop that moves packets itself has seconds. */
const MOST_LAG_SECONDS = 2;

/** Small packets as fast as they go, for so many seconds. ARGS: address, seconds. */
const FLOOD = `use Socket; my ($to, $seconds) = @ARGV; socket(S, PF_INET, SOCK_DGRAM, 0);
connect(S, sockaddr_in(9, inet_aton($to))); my ($end, $data) = (time + $seconds, 'x' x 200);
while (time < $end) { send(S, $data, 0) for 1 .. 1000 }`;

/** The event loop's delay since it was last asked for, p99, seconds. */
async function lagOf(host: Host): Promise<number> {
  const { body } = await http(host, `http://127.0.0.1:${HEALTH_PORT}/metrics`);
  return Number(/^nodejs_eventloop_lag_p99_seconds (\S+)$/m.exec(body)?.[1]);
}

for (const { title, side } of OURS) {
  test(`${title}: flooded both ways the agent answers, keeps within its memory and renews its lease`, async (t) => {
    const flags = [`--lease-ttl=${LEASE_SECONDS}`, '--healthz-ip=127.0.0.1', `--healthz-port=${HEALTH_PORT}`];
    const loaded: Side = { ...side, flags };
    const pair = await PathCluster.pair(t, [loaded, loaded]);
    if (pair === undefined) return;
    const { one, two } = pair;
    const lease = await one.lease();
    const seconds = String(LOAD_MS / 1000);
    let [peak, lag] = [0, 0];
    // What the start took does not count: each look begins anew.
    await lagOf(one.host);
    const floods = [
      one.host.run('perl', ['-e', FLOOD, two.base, seconds]),
      two.host.run('perl', ['-e', FLOOD, one.base, seconds]),
    ];
    for (let waited = 0; waited < LOAD_MS; waited += 1000) {
      await sleep(1000);
      peak = Math.max(peak, (await memoryOf(one.agent.pid)).resident);
      lag = Math.max(lag, await lagOf(one.host));
    }
    await Promise.all(floods);
    t.log(`resident ${peak.toFixed(1)} MB, event loop delay p99 ${(lag * 1000).toFixed(1)} ms`);
    t.true(peak < MOST_MEGABYTES, `${peak} MB`);
    t.true(lag < MOST_LAG_SECONDS, `${lag} s`);
    const after = await one.lease();
    t.is(after.lease, lease.lease, 'the lease ran out under load');
    t.true((await one.host.ping(two.base, { count: 3 })).ok);
  });
}
