import { setTimeout as sleep } from 'node:timers/promises';
import { PREFIX } from '../../support/agent.ts';
import { eventually } from '../../support/eventually.ts';
import { createLab, type Lab } from '../../support/hosts.ts';
import { peerLease } from '../../support/peers.ts';
import type { LabProcess } from '../../support/process.ts';
import { type Gauged, type Heard, instant } from '../instant.ts';
import { memoryOf } from '../process-memory.ts';
import { cpuIn, cpuSeconds } from '../processor-time.ts';
import { isEvent, launch } from '../programs.ts';
import { Notebook, quantile } from '../statistics.ts';
import type { Plan, Suite } from '../suite.ts';

const AGENTS = { reduced: 100, usual: 1000, full: 10_000 } as const;
/** Ten thousand that a machine of two cores would have to make anew after the restart keep it busy for a minute. */
const CONNECTIONS = { reduced: 100, usual: 1000, full: 2000 } as const;
const PROCESSES = 2;
/** Ten thousand that list ten thousand take their time; anything longer is a fault. */
const JOIN_LIMIT_MS = 30 * 60_000;
const HEARD_LIMIT_MS = 180_000;
const QUIET_MS = 10_000;
/** A hundred joins and a hundred leaves a minute. */
const CHANGES = 34;
const CHANGE_EVERY_MS = 300;
const AWAY_MS = 2000;
const AFTER_MS = 15_000;
/** The agents' leases end below these. */
const FIRST_PEER = 12_500;
const CONFIG = {
  Network: '10.64.0.0/10',
  SubnetLen: 24,
  SubnetMax: '10.111.255.0',
  Backend: { Type: 'vxlan' },
};

/** The agents, and what they hear. */
class Fleet {
  readonly #parts: readonly LabProcess[];
  readonly size: number;

  constructor(lab: Lab, agents: number, connections: number) {
    const each = agents / PROCESSES;
    this.size = agents;
    this.#parts = Array.from({ length: PROCESSES }, (_, i) =>
      launch(lab.switch, 'fleet.js', [lab.etcd.endpoint, ...[i * each, each, connections / PROCESSES].map(String)]),
    );
  }

  /** Every agent holds its lease. */
  claimed(): Promise<unknown> {
    return this.#all('claimed');
  }

  /** Every agent follows the leases. */
  joined(): Promise<unknown> {
    for (const part of this.#parts) part.signal('SIGUSR2');
    return this.#all('joined');
  }

  #all(event: string): Promise<unknown> {
    return Promise.all(this.#parts.map((part) => part.until((line) => isEvent(line, event), JOIN_LIMIT_MS)));
  }

  /** When the first and the last of all agents had heard of the change; rejects where somebody does not. */
  async heard(what: string): Promise<Pick<Heard, 'firstAt' | 'lastAt'>> {
    const all = await Promise.all(this.#parts.map((part) => this.#heardIn(part, what)));
    const [firsts, lasts] = [all.map(({ firstAt }) => firstAt), all.map(({ lastAt }) => lastAt)];
    return { firstAt: Math.min(...firsts), lastAt: Math.max(...lasts) };
  }

  async #heardIn(part: LabProcess, what: string): Promise<Heard> {
    const isIt = (line: string) => isEvent(line, 'heard') && line.includes(`"what":"${what}"`);
    const heard: Heard = JSON.parse(await part.until(isIt, HEARD_LIMIT_MS));
    return heard;
  }

  async stop(): Promise<void> {
    await Promise.all(this.#parts.map((part) => part.kill()));
  }
}

/** What etcd does meanwhile. */
class Gauge {
  readonly #process: LabProcess;

  constructor(lab: Lab) {
    this.#process = launch(lab.switch, 'etcd-gauge.js', [lab.etcd.endpoint]);
  }

  since(at: number): readonly Gauged[] {
    const all: Gauged[] = this.#process.lines.filter((line) => isEvent(line, 'gauge')).map((line) => JSON.parse(line));
    return all.filter((one) => one.at > at);
  }

  stop(): Promise<unknown> {
    return this.#process.kill();
  }
}

function total(all: readonly Gauged[], of: (one: Gauged) => number): number {
  return all.reduce((sum, one) => sum + of(one), 0);
}

class Observation {
  readonly #lab: Lab;
  readonly #fleet: Fleet;
  readonly #gauge: Gauge;
  readonly #notes: Notebook;
  readonly #say: (text: string) => void;

  constructor(lab: Lab, fleet: Fleet, notes: Notebook, say: (text: string) => void) {
    this.#lab = lab;
    this.#fleet = fleet;
    this.#gauge = new Gauge(lab);
    this.#notes = notes;
    this.#say = say;
  }

  get #etcdPid(): number {
    return this.#lab.etcd.process?.pid ?? -1;
  }

  async all(): Promise<void> {
    try {
      await this.#quiet();
      await this.#changes();
      await this.#outage();
    } finally {
      await this.#gauge.stop();
    }
  }

  async #quiet(): Promise<void> {
    this.#say('cluster: nothing happens');
    const from = instant();
    this.#notes.add('nothing happens: CPU of etcd', '%', 'tartan', await cpuIn(this.#etcdPid, QUIET_MS));
    const seen = this.#gauge.since(from);
    const rate = total(seen, ({ requests }) => requests) / total(seen, ({ seconds }) => seconds);
    const { resident } = await memoryOf(this.#etcdPid);
    this.#notes.add('nothing happens: resident set of etcd', 'MB', 'tartan', resident);
    this.#notes.add('nothing happens: requests a second', '', 'tartan', rate);
  }

  async #changes(): Promise<void> {
    this.#say('cluster: a hundred joins and leaves a minute');
    const [from, cpuBefore] = [instant(), await cpuSeconds(this.#etcdPid)];
    const delays: number[] = [];
    for (let i = 0; i < CHANGES; i++) {
      const next = sleep(CHANGE_EVERY_MS);
      delays.push(await this.#change(i));
      await next;
    }
    const seconds = (instant() - from) / 1000;
    const cpu = ((await cpuSeconds(this.#etcdPid)) - cpuBefore) / seconds;
    const sent = total(this.#gauge.since(from), ({ sentBytes }) => sentBytes);
    const notes = this.#notes;
    notes.add('joins and leaves: CPU of etcd', '%', 'tartan', cpu * 100);
    notes.add(
      'joins and leaves: a minute, as fast as the agents here take them',
      '',
      'tartan',
      (CHANGES * 60) / seconds,
    );
    notes.add('joins and leaves: sent by etcd', 'KB/s', 'tartan', sent / 1024 / seconds);
    notes.add('joins and leaves: bytes to each agent for each', '', 'tartan', sent / CHANGES / this.#fleet.size);
    notes.add('joins and leaves: the slowest agent behind the first, p50', 'ms', 'tartan', quantile(delays, 0.5));
    notes.add('joins and leaves: the slowest agent behind the first, most', 'ms', 'tartan', quantile(delays, 1));
  }

  /** A peer joins, or the one before leaves. @returns how much later than the first agent the last one heard, ms */
  async #change(i: number): Promise<number> {
    const { key, value } = peerLease(FIRST_PEER + (i >> 1));
    const isJoin = i % 2 === 0;
    await this.#lab.etcd.ctl(isJoin ? ['put', key] : ['del', key], isJoin ? { input: value } : {});
    const { firstAt, lastAt } = await this.#fleet.heard(`${isJoin ? 'put' : 'delete'} ${key}`);
    return lastAt - firstAt;
  }

  async #outage(): Promise<void> {
    this.#say('cluster: etcd is killed and started');
    const { etcd } = this.#lab;
    await etcd.stop();
    await sleep(AWAY_MS);
    const from = instant();
    await etcd.start();
    const [backAt, cpuBefore] = [instant(), await cpuSeconds(this.#etcdPid)];
    const { key, value } = peerLease(FIRST_PEER + CHANGES);
    await etcd.put(key, value);
    const { lastAt } = await this.#fleet.heard(`put ${key}`);
    await sleep(Math.max(0, AFTER_MS - (instant() - backAt)));
    const cpu = (await cpuSeconds(this.#etcdPid)) - cpuBefore;
    const seen = this.#gauge.since(from);
    this.#say(
      `cluster: requests in each half second from the start on: ${seen.map(({ requests }) => requests).join(' ')}`,
    );
    const peak = Math.max(...seen.map(({ requests, seconds }) => requests / seconds));
    const notes = this.#notes;
    notes.add('etcd restarts: until the slowest agent is in step again', 'ms', 'tartan', lastAt - backAt);
    notes.add(
      'etcd restarts: requests of each agent',
      '',
      'tartan',
      total(seen, (one) => one.requests) / this.#fleet.size,
    );
    notes.add('etcd restarts: most requests a second', '', 'tartan', peak);
    notes.add("etcd restarts: etcd's processor time", 'ms', 'tartan', cpu * 1000);
  }
}

async function measure(plan: Plan, notes: Notebook): Promise<void> {
  const lab = await createLab({ hosts: 0 });
  const agents = AGENTS[plan.size];
  try {
    await lab.etcd.put(`${PREFIX}/config`, JSON.stringify(CONFIG));
    plan.say(`cluster: ${agents} agents join`);
    const startedAt = instant();
    const fleet = new Fleet(lab, agents, CONNECTIONS[plan.size]);
    await fleet.claimed();
    await eventually('as many leases', async () => (await lab.etcd.list(`${PREFIX}/subnets/`)).length === agents);
    plan.say(
      `cluster: all hold a lease after ${Math.round((instant() - startedAt) / 1000)} s; now they follow each other's`,
    );
    await fleet.joined();
    plan.say(`cluster: all watches stand after ${Math.round((instant() - startedAt) / 1000)} s`);
    await new Observation(lab, fleet, notes, plan.say).all();
    await fleet.stop();
  } finally {
    lab.destroy();
  }
}

export const cluster: Suite = {
  name: 'cluster',
  title:
    'agents without a kernel on one etcd, each with its own lease and watches, and up to 1,000 of them with its own connection (10,000 share 2,000); most of the time is theirs, who have hosts of their own otherwise',
  onlyByName: true,
  run: async (plan) => {
    const notes = new Notebook();
    for (let run = 0; run < plan.runs; run++) await measure(plan, notes);
    return notes.figures;
  },
};
