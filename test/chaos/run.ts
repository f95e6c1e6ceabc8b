/** One chaos run: everything is broken as the schedule says, then lifted, then compared. */
import { setTimeout as sleep } from 'node:timers/promises';
import { PREFIX } from '../support/agent.ts';
import { difference } from '../support/difference.ts';
import { expected, found } from '../support/kernel-comparison.ts';
import { type Lease, LeaseHistory } from '../support/lease-history.ts';
import { type Broken, type Fault, Inapplicable } from './fault.ts';
import { Fleet } from './fleet.ts';
import { Journal } from './journal.ts';
import { type Decision, nameOf, schedule } from './schedule.ts';

/** Until every lease that nobody renews has run out, and then some. */
const SETTLE_WITHIN_MS = 60_000;
/** An agent that never saw the store before (a reinstalled host) takes nothing away in its first minute. */
const SWEPT_WITHIN_MS = 75_000;

export interface ChaosOptions {
  readonly minutes: number;
  readonly hosts: number;
  readonly seed: number;
  readonly faults: readonly Fault[];
  readonly say: (line: string) => void;
}

export interface Verdict {
  /** Invariants that did not hold; empty: all did. */
  readonly violations: readonly string[];
  /** What was done and seen, with times. */
  readonly history: readonly string[];
  readonly summary: readonly string[];
  /** The last lines of the agents that the violations name. */
  readonly tails: readonly string[];
  /** All lines of all agents, by host. */
  readonly logs: ReadonlyMap<string, string>;
}

export async function runChaos(options: ChaosOptions): Promise<Verdict> {
  const { seed, minutes, hosts, faults, say } = options;
  const journal = new Journal(say);
  const decisions = schedule(seed, minutes, hosts, faults);
  journal.note(`seed ${seed}: ${decisions.length} faults within ${minutes} min on ${hosts} hosts`);
  const fleet = await Fleet.open(hosts, journal);
  try {
    journal.note('all hosts are in step: the faults begin');
    await breakAll(fleet, decisions);
    journal.note('all faults are lifted');
    await fleet.settle(SETTLE_WITHIN_MS);
    await compare(fleet);
    return verdictOf(fleet);
  } finally {
    await fleet.close();
  }
}

async function breakAll(fleet: Fleet, decisions: readonly Decision[]): Promise<void> {
  const startedAt = Date.now();
  // Two on one lane never overlap, even where one is late.
  const lanes = new Map<string, Promise<void>>();
  for (const decision of decisions) {
    await sleep(Math.max(0, startedAt + decision.atMs - Date.now()));
    const lane = nameOf(decision.fault.lane, decision.host);
    lanes.set(
      lane,
      (lanes.get(lane) ?? Promise.resolve()).then(() => breakOne(fleet, decision)),
    );
  }
  await Promise.all(lanes.values());
}

async function breakOne(fleet: Fleet, { fault, host, seconds, pick, number }: Decision): Promise<void> {
  const { journal } = fleet;
  const station = fleet.stations[host];
  if (station === undefined) return;
  const where = fault.lane === 'etcd' ? 'etcd' : station.name;
  const title = `#${number} ${where}: ${fault.name}`;
  let broken: Broken;
  try {
    broken = await fault.apply({ fleet, station, pick, seconds });
    journal.count(fault.name);
    journal.note(`${title}: ${broken.said}`);
  } catch (fault: unknown) {
    if (!(fault instanceof Inapplicable)) throw fault;
    return journal.note(`${title}: nothing to break (${fault.message})`);
  }
  if (broken.lift === undefined) return;
  await sleep(seconds * 1000);
  await broken.lift();
  journal.note(`#${number} ${where}: ${fault.name}: over`);
}

/** The leases as etcd has them now, asked once more. */
async function leasesInEtcd(fleet: Fleet): Promise<readonly Lease[]> {
  const now = new LeaseHistory();
  const entries = await fleet.lab.etcd.list(`${PREFIX}/subnets/`);
  now.apply(entries.map(({ key, value, modRevision }) => ({ type: 'put', key, value, revision: modRevision })));
  if (entries.length !== fleet.stations.length) {
    fleet.journal.violate(
      `etcd has ${entries.length} keys for ${fleet.stations.length} hosts: ${entries.map(({ key }) => key)}`,
    );
  }
  return now.leases;
}

async function lastingDifference(look: () => Promise<readonly string[]>): Promise<readonly string[]> {
  for (const until = Date.now() + SWEPT_WITHIN_MS; ; await sleep(1_000)) {
    const wrong = await look();
    if (wrong.length === 0 || Date.now() > until) return wrong;
  }
}

async function compare(fleet: Fleet): Promise<void> {
  const leases = await leasesInEtcd(fleet);
  for (const { name, host } of fleet.stations) {
    const own = leases.find(({ publicIp }) => publicIp === host.ip);
    if (own === undefined) {
      fleet.journal.violate(`${name} holds no lease in the end`);
      continue;
    }
    const wanted = expected(
      own,
      leases.filter((lease) => lease !== own),
    );
    const wrong = await lastingDifference(async () => difference(wanted, await found(host)));
    if (wrong.length > 0) fleet.journal.violate(`kernel and leases differ on ${name}:\n  ${wrong.join('\n  ')}`);
  }
  for (const [index, foreigners] of fleet.foreigners.entries()) {
    const harm = await foreigners.harm();
    if (harm.length > 0) fleet.journal.violate(`host${index + 1} has lost what is not ours:\n  ${harm.join('\n  ')}`);
  }
  fleet.journal.note(`compared the kernels of ${fleet.stations.length} hosts with ${leases.length} leases`);
}

function verdictOf({ journal, history, stations }: Fleet): Verdict {
  const concerned = stations.filter(({ name }) =>
    journal.violations.some((one) => new RegExp(`\\b${name}\\b`).test(one)),
  );
  const counts = [...journal.counts].map(([what, count]) => `${String(count).padStart(8)}  ${what}`).sort();
  return {
    violations: journal.violations,
    history: journal.lines,
    summary: [...counts, `${String(history.revision).padStart(8)}  revisions of etcd, each judged`],
    tails: concerned.map((station) => station.logTail()),
    logs: new Map(stations.map(({ name, log }) => [name, log])),
  };
}
