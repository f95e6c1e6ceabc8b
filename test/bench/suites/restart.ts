import { setTimeout as sleep } from 'node:timers/promises';
import { eventually } from '../../support/eventually.ts';
import { LARGE_NETWORK, peerSubnets } from '../../support/peers.ts';
import type { Contestant } from '../contestant.ts';
import { type Course, onCourse, type Run, type WriteClock } from '../course.ts';
import { instant } from '../instant.ts';
import { Notebook } from '../statistics.ts';
import type { Suite } from '../suite.ts';

const PEERS = { reduced: [1000], usual: [1000], full: [1000, 10_000] } as const;
/** Nothing was written for so long: an agent is done. */
const DONE_MS = 3000;
const PORT = 9100;
/** Of each peer that is new: neighbour, FDB entry, route. */
const LEAST_WRITES = 3;

interface Restart {
  /** From exec until the agent says that all is as it should be; flanneld, which does not say: until its last write. */
  readonly ms: number;
  readonly writes: number;
}

/** By the agent's own word, which is asked for only afterwards: to ask takes it time. */
async function untilInStep(course: Course, run: Run, peers: number): Promise<number> {
  await sleep(DONE_MS);
  const since = await eventually('in step', async () => {
    const { inStep, inStepSince, peers: known } = await course.status();
    return inStep && known.length === peers ? inStepSince : undefined;
  });
  const epoch = Date.now() - instant();
  return Date.parse(since) - epoch - run.execAt;
}

async function untilWritten(clock: WriteClock, run: Run): Promise<number> {
  await run.startMs();
  await eventually('the last write', () => instant() - clock.written.lastAt > DONE_MS, { timeoutMs: 60_000 });
  return Math.max(clock.written.lastAt - run.execAt, await run.startMs());
}

async function measure(course: Course, contestant: Contestant, peers: number): Promise<Restart> {
  const clock = await course.countWrites();
  const run = await course.start(contestant);
  try {
    const isOurs = contestant.name === 'tartan';
    const ms = isOurs ? await untilInStep(course, run, peers) : await untilWritten(clock, run);
    return { ms, writes: clock.written.writes };
  } finally {
    await run.stop();
    await clock.stop();
  }
}

/** A host that has run before: lease, files, device and peers are there. */
async function settle(course: Course, contestant: Contestant, peers: number): Promise<void> {
  const [clock, counter] = [await course.clockRoutes(), await course.countWrites()];
  const run = await course.start(contestant);
  await clock.arrivals(peerSubnets(peers));
  await sleep(DONE_MS);
  await run.stop();
  const { writes } = counter.written;
  if (writes < LEAST_WRITES * peers) throw new Error(`of a first start only ${writes} changes were counted`);
  await Promise.all([clock.stop(), counter.stop()]);
}

/** Operations that tartan sent, whether or not the kernel had anything to change for them. */
async function operations(course: Course, ours: Contestant, peers: number): Promise<number> {
  const run = await course.start({ ...ours, argv: [...ours.argv, `--healthz-port=${PORT}`] });
  try {
    await untilInStep(course, run, peers);
    return await course.metric(PORT, 'tartan_kernel_operations_total');
  } finally {
    await run.stop();
  }
}

export const restart: Suite = {
  name: 'restart',
  title:
    'the agent is stopped and started again, nothing has changed: exec → in step, and what it writes to the kernel',
  run: (plan) =>
    onCourse(LARGE_NETWORK, async (course) => {
      const notes = new Notebook();
      for (const peers of PEERS[plan.size]) {
        await course.havePeers(peers);
        const label = `${peers.toLocaleString('en')} peers`;
        for (const contestant of plan.contestants) {
          const { name } = contestant;
          plan.say(`restart: ${label}, ${name}`);
          await settle(course, contestant, peers);
          for (let run = 0; run < plan.runs; run++) {
            plan.say(`restart: ${label}, ${name}, run ${run + 1} of ${plan.runs}`);
            const { ms, writes } = await measure(course, contestant, peers);
            notes.add(`in step, ${label}`, 'ms', name, ms);
            notes.add(`changes in the kernel, ${label}`, '', name, writes);
          }
          const isOurs = name === 'tartan';
          if (isOurs) notes.add(`operations sent, ${label}`, '', name, await operations(course, contestant, peers));
          await course.clean();
        }
        notes.aim(`in step, ${label}`, 500);
        notes.aim(`changes in the kernel, ${label}`, 0);
        notes.aim(`operations sent, ${label}`, 0);
      }
      return notes.figures;
    }),
};
