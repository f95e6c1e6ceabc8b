/**
 * Runs on a host: the agent's reconciler has programmed peers and looks at everything again and again.
 *
 *     node resyncer.js PEERS
 */
import { monitorEventLoopDelay, performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { openKernel } from '../../backends/kernel/linux-kernel.ts';
import { silentLog } from '../../config/log.ts';
import { prefix } from '../support/addresses.ts';
import { LARGE_NETWORK } from '../support/peers.ts';
import { tell } from './instant.ts';
import { arrivals, inStep, startReconciler } from './rig.ts';
import { quantile } from './statistics.ts';

const TIMES = 5;
/** Between two, so that what one leaves to be collected is part of it. */
const REST_MS = 100;

const stop = new AbortController();
const kernel = await openKernel(silentLog);
const reconciler = await startReconciler(kernel, true, stop.signal);
reconciler.update(arrivals(Number(process.argv[2])), true);
await inStep(reconciler);
const { operations } = reconciler.counters;

/** As at --resync, but now: the networks, the same ones, put everything in doubt, and have all of it planned anew. */
async function resync(): Promise<void> {
  reconciler.setNetworks([prefix(LARGE_NETWORK)]);
  await inStep(reconciler);
  await sleep(REST_MS);
}

/** In the kernel, too, and of all threads: to collect garbage is part of it. */
async function cpu(): Promise<number> {
  const before = process.cpuUsage();
  await resync();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}

async function active(): Promise<number> {
  const before = performance.eventLoopUtilization();
  await resync();
  return performance.eventLoopUtilization(before).active;
}

/** The timer that measures is due every millisecond. */
async function longest(): Promise<number> {
  const delays = monitorEventLoopDelay({ resolution: 1 });
  delays.enable();
  await resync();
  delays.disable();
  return delays.max / 1e6 - 1;
}

async function repeat(measure: () => Promise<number>): Promise<number> {
  const samples: number[] = [];
  for (let i = 0; i < TIMES; i++) samples.push(await measure());
  return quantile(samples, 0.5);
}

await resync();
const [activeMs, longestMs, cpuMs] = [await repeat(active), await repeat(longest), await repeat(cpu)];
tell('resynced', { activeMs, longestMs, cpuMs });
if (reconciler.counters.operations !== operations) throw new Error('something was written though nothing had changed');
stop.abort();
kernel.close();
