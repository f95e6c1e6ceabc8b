import { setTimeout as sleep } from 'node:timers/promises';
import type { LabEtcd } from '../../support/lab-etcd.ts';
import { LARGE_NETWORK, peerSubnet } from '../../support/peers.ts';
import { type Course, onCourse, type RouteClock, type Run, withPeers } from '../course.ts';
import { cpuIn } from '../processor-time.ts';
import { Notebook } from '../statistics.ts';
import type { Figure, Plan, Suite } from '../suite.ts';

/** What an outage sets off at once is not in the figure; what goes on for as long as it lasts is. */
const SETTLE_MS = 3_000;
const WINDOW_MS = 20_000;
const PEERS = { reduced: [0], usual: [0, 1_000], full: [0, 10_000] } as const;
/** Breaks etcd until the signal is aborted, then mends it. */
type Outage = (etcd: LabEtcd, over: AbortSignal) => Promise<void>;

function until(over: AbortSignal, ms = 2 ** 31 - 1): Promise<void> {
  return sleep(ms, undefined, { signal: over }).catch(() => undefined);
}

const OUTAGES: Readonly<Record<string, Outage>> = {
  'no outage': async (_, over) => until(over),
  // The kernel of its machine still takes what is sent.
  frozen: async (etcd, over) => {
    etcd.freeze();
    await until(over);
    etcd.thaw();
  },
  'link drops': async (etcd, over) => {
    await etcd.member(1).unplug();
    await until(over);
    await etcd.member(1).plug();
  },
  refused: async (etcd, over) => {
    await etcd.stop();
    await until(over);
    await etcd.start();
  },
  flapping: async (etcd, over) => {
    while (!over.aborted) {
      await etcd.stop();
      await until(over, 1_000);
      await etcd.start();
      await until(over, 1_000);
    }
  },
};

class Outages {
  readonly #course: Course;
  readonly #plan: Plan;
  readonly #notes: Notebook;
  #peers = 0;
  /** Peers that are put to see when an agent is in step again have numbers of their own. */
  #next = 12_000;

  constructor(course: Course, plan: Plan, notes: Notebook) {
    this.#course = course;
    this.#plan = plan;
    this.#notes = notes;
  }

  async at(peers: number): Promise<void> {
    await this.#course.havePeers(peers);
    this.#peers = peers;
    for (let run = 0; run < this.#plan.runs; run++) {
      for (const contestant of this.#plan.contestants) {
        await withPeers(this.#course, contestant, peers, async (agent, clock) => {
          for (const [name, outage] of Object.entries(OUTAGES)) {
            this.#plan.say(`outage: ${name}, ${peers} peers, ${contestant.name}, run ${run + 1} of ${this.#plan.runs}`);
            await this.#measure(contestant.name, agent, clock, name, outage);
          }
        });
      }
    }
  }

  async #measure(who: string, agent: Run, clock: RouteClock, name: string, outage: Outage): Promise<void> {
    const label = `${name}, ${this.#peers === 0 ? 'no peers' : `${this.#peers.toLocaleString('en')} peers`}`;
    const over = new AbortController();
    const broken = outage(this.#course.etcd, over.signal);
    await sleep(SETTLE_MS);
    this.#notes.add(`CPU, ${label}`, '%', who, await cpuIn(agent.pid, WINDOW_MS));
    this.#notes.aim(`CPU, ${label}`, 10);
    over.abort();
    await broken;
    const index = this.#next++;
    const [put] = await this.#course.change(index, 1);
    const [arrived = Number.NaN] = await clock.arrivals([peerSubnet(index)]);
    this.#notes.add(`in step after, ${label}`, 'ms', who, arrived - (put?.answeredAt ?? Number.NaN));
  }
}

export const outage: Suite = {
  name: 'outage',
  title: 'processor time of the agent while etcd is away, and how soon after it a new peer is routed',
  run: (plan) => {
    const notes = new Notebook();
    const work = async (course: Course): Promise<readonly Figure[]> => {
      const outages = new Outages(course, plan, notes);
      for (const peers of PEERS[plan.size]) await outages.at(peers);
      return notes.figures;
    };
    return onCourse(LARGE_NETWORK, work, { etcd: {} });
  },
};
