import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as pause } from 'node:timers/promises';
import test from 'ava';
import { eventually } from '../../../support/eventually.ts';
import { FarSide } from '../../../support/far-side.ts';
import { enterFreshNamespace } from '../../../support/netns.ts';
import { searchPath } from '../../../support/process.ts';
import { addressOf, farSide, NEAR, ping, startPath } from './pair.ts';

enterFreshNamespace();
const far = await FarSide.connect();

const FLOOD_MS = 3_000;
/** More than the queues and buffers of a path may ever come to. */
const GROWTH_BYTES = 60_000_000;

/** Datagrams of all sizes, as fast as can be. */
const FLOOD = `
const socket = require('node:dgram').createSocket('udp4');
const sizes = [64, 200, 1400, 9000, 60000];
let i = 0;
function burst() {
  for (let n = 0; n < 64; n++) socket.send(Buffer.alloc(sizes[i++ % sizes.length]), 7, process.argv[1], () => {});
  setImmediate(burst);
}
burst();
`;

function flood(enter: string, to: string): { stop(): Promise<unknown> } {
  const [command = '', ...args] = [...enter.split(' '), process.execPath].filter((word) => word !== '');
  const child = spawn(command, [...args, '-e', FLOOD, to], { env: { PATH: searchPath() }, stdio: 'ignore' });
  return {
    stop: () => {
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      return ended;
    },
  };
}

for (const without of [[], ['batches']] as const) {
  const how = without.length === 0 ? 'batched' : 'one by one';
  test(`${how}: more than can be carried, both ways: memory is bounded, the main thread is not held up`, async (t) => {
    const near = startPath(t, 'udp', NEAR, { without });
    const remote = far.inside(() => startPath(t, 'udp', farSide(far), { without }));
    t.regex(ping('udp'), / 0% packet loss/);
    const before = process.memoryUsage.rss();
    const delay = monitorEventLoopDelay({ resolution: 1 });
    delay.enable();
    const floods = [flood('', addressOf('udp', 2)), flood(far.enter, addressOf('udp', 1))];
    await pause(FLOOD_MS);
    const growth = process.memoryUsage.rss() - before;
    delay.disable();
    await Promise.all(floods.map((one) => one.stop()));
    const { counters } = near.state();
    const rate = (name: string): string => `${Math.round((counters[name] ?? 0) / FLOOD_MS)} k/s`;
    t.log(
      `event loop delay p99 ${(delay.percentile(99) / 1e6).toFixed(1)} ms, resident memory +${(growth / 1e6).toFixed(1)} MB`,
    );
    t.log(`packets out ${rate('tx-packets')}, in ${rate('rx-packets')}`);
    t.true(growth < GROWTH_BYTES, `${growth} bytes`);
    await eventually('packets cross again', () => / 0% packet loss/.test(ping('udp', '-W', '1')));
    t.deepEqual([near.problem(), remote.problem()], [undefined, undefined]);
    t.deepEqual([near.state().restarts, remote.state().restarts], [0, 0]);
  });
}

test('a wire slower than what is offered: the device waits for the socket, and what comes in is not kept waiting', async (t) => {
  const near = startPath(t, 'udp', NEAR);
  far.inside(() => startPath(t, 'udp', farSide(far)));
  NEAR.run('tc qdisc add dev eth0 root tbf rate 20mbit burst 100k limit 100m');
  const out = flood('', addressOf('udp', 2));
  const counter = (name: string): number => near.state().counters[name] ?? 0;
  await eventually('the socket is full', () => counter('tx-waits') > 3);
  const inbound = flood(far.enter, addressOf('udp', 1));
  const before = counter('rx-packets');
  await eventually('packets come in', () => counter('rx-packets') > before + 10_000);
  const waits = counter('tx-waits');
  await eventually('it still is', () => counter('tx-waits') > waits);
  await Promise.all([out.stop(), inbound.stop()]);
  NEAR.run('tc qdisc delete dev eth0 root');
  await eventually('packets cross again', () => / 0% packet loss/.test(ping('udp', '-W', '1')));
  t.deepEqual(near.state().refusals, {});
  t.is(near.problem(), undefined);
});
