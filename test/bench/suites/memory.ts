import { setTimeout as sleep } from 'node:timers/promises';
import { LARGE_NETWORK } from '../../support/peers.ts';
import { type Course, onCourse, withPeers } from '../course.ts';
import { memoryOf } from '../process-memory.ts';
import { Notebook } from '../statistics.ts';
import type { Plan, Suite } from '../suite.ts';

/** After the last peer's route: what start-up left over is given back, or is not. */
const SETTLE_MS = 3000;
const PEERS = { reduced: [0], usual: [0, 1000], full: [0, 1000, 10_000] } as const;
/** Resident set, MB, by the number of peers. */
const GOALS: Readonly<Record<number, number>> = { 0: 80, 1000: 85, 10000: 95 };

async function measure(course: Course, plan: Plan, notes: Notebook, peers: number): Promise<void> {
  for (const contestant of plan.contestants) {
    const memory = await withPeers(course, contestant, peers, async (run) => {
      await sleep(SETTLE_MS);
      return memoryOf(run.pid);
    });
    const label = peers === 0 ? 'no peers' : `${peers.toLocaleString('en')} peers`;
    notes.add(`peak, ${label}`, 'MB', contestant.name, memory.peak);
    notes.add(`resident in the end, ${label}`, 'MB', contestant.name, memory.resident);
    notes.aim(`resident in the end, ${label}`, GOALS[peers] ?? 0);
  }
}

export const memory: Suite = {
  name: 'memory',
  title: 'peak and resident set some seconds after the start',
  run: (plan) =>
    onCourse(LARGE_NETWORK, async (course) => {
      const notes = new Notebook();
      for (const peers of PEERS[plan.size]) {
        await course.havePeers(peers);
        for (let run = 0; run < plan.runs; run++) {
          plan.say(`memory: ${peers} peers, run ${run + 1} of ${plan.runs}`);
          await measure(course, plan, notes, peers);
        }
      }
      return notes.figures;
    }),
};
