import { setTimeout as sleep } from 'node:timers/promises';
import { LARGE_NETWORK } from '../../support/peers.ts';
import { onCourse, withPeers } from '../course.ts';
import { cpuIn } from '../processor-time.ts';
import { Notebook } from '../statistics.ts';
import type { Suite } from '../suite.ts';

const PEERS = { reduced: [0], usual: [1000], full: [0, 1000, 10_000] } as const;
/** What the start leaves to be done (code compiled, memory given back) is over. */
const SETTLE_MS = 10_000;
/** Tartan reads the whole kernel once in it. */
const WINDOW_MS = { reduced: 10_000, usual: 60_000, full: 60_000 } as const;

export const idle: Suite = {
  name: 'idle',
  title: 'processor time while nothing happens, for a minute',
  run: (plan) =>
    onCourse(LARGE_NETWORK, async (course) => {
      const notes = new Notebook();
      for (const peers of PEERS[plan.size]) {
        await course.havePeers(peers);
        const label = `${peers.toLocaleString('en')} peers`;
        for (let run = 0; run < plan.runs; run++) {
          for (const contestant of plan.contestants) {
            plan.say(`idle: ${label}, run ${run + 1} of ${plan.runs}, ${contestant.name}`);
            const cpu = await withPeers(course, contestant, peers, async (agent) => {
              await sleep(SETTLE_MS);
              return cpuIn(agent.pid, WINDOW_MS[plan.size]);
            });
            notes.add(`CPU, ${label}`, '%', contestant.name, cpu);
          }
        }
        notes.aim(`CPU, ${label}`, 0.2);
      }
      return notes.figures;
    }),
};
