/** Prometheus metrics. prom-client is loaded when they are first asked for: start-up does not wait for it. */
import type { Registry } from 'prom-client';
import { DURATION_BOUNDS, type Durations } from '../config/durations.ts';
import type { Status } from './status.ts';

export interface Counters {
  readonly leaseEvents: number;
  readonly kernelOperations: number;
  readonly kernelRefusals: number;
  readonly repairs: number;
  readonly claimTransactions: number;
  readonly firewallRepairs: number;
  /** Of the peer filters. */
  readonly packetsDropped: number;
  readonly packetsReported: number;
}

/** How long each of these took. */
export interface Timings {
  readonly list: Durations;
  readonly plan: Durations;
  readonly apply: Durations;
  readonly change: Durations;
}

/** All that one scrape is made from, so that its samples fit together. */
export interface Snapshot {
  readonly status: Status;
  readonly counters: Counters;
  readonly timings: Timings;
}

interface Reading {
  readonly name: string;
  readonly help: string;
  readonly read: (status: Status) => number;
}

const GAUGES: readonly Reading[] = [
  { name: 'tartan_ready', help: '1 once device, lease and files are there.', read: (s) => Number(s.ready) },
  { name: 'tartan_in_step', help: '1 while the kernel holds what the leases say.', read: (s) => Number(s.inStep) },
  { name: 'tartan_etcd_connected', help: '1 while the watch on etcd is up.', read: (s) => Number(s.etcd.connected) },
  {
    name: 'tartan_from_memory',
    help: '1 while it runs from memory: etcd has not answered since the start.',
    read: (s) => Number(s.fromMemory !== undefined),
  },
  { name: 'tartan_peers', help: 'Peer leases in use.', read: (s) => s.peers.length },
  { name: 'tartan_refused_leases', help: 'Leases that are kept out of the kernel.', read: (s) => s.refusedCount },
  {
    name: 'tartan_missing_objects',
    help: 'Kernel objects that could not be programmed.',
    read: (s) => s.missingCount,
  },
  {
    name: 'tartan_firewall_in_place',
    help: '1 while all firewall rules are as wanted.',
    read: (s) => Number(s.firewall?.inPlaceSince !== undefined),
  },
  {
    name: 'tartan_peer_filter_enforced',
    help: '1 while VXLAN packets from addresses that no live lease names are dropped.',
    read: (s) => Number(s.peerFilters?.every((one) => one.effective === 'enforce') ?? false),
  },
  {
    name: 'tartan_strangers',
    help: 'Addresses that no live lease names and that sent VXLAN packets lately.',
    read: (s) => (s.peerFilters ?? []).reduce((sum, one) => sum + one.strangers.length, 0),
  },
  { name: 'tartan_problems', help: 'Problems that `tartan status` lists.', read: (s) => s.problems.length },
  {
    name: 'tartan_lease_seconds_left',
    help: 'Seconds until the own lease runs out; -1 without one, +Inf for a reservation.',
    read: (s) => (s.lease ? (s.lease.secondsLeft ?? Number.POSITIVE_INFINITY) : -1),
  },
];

const COUNTERS: readonly { readonly name: string; readonly help: string; readonly field: keyof Counters }[] = [
  { name: 'tartan_lease_events_total', help: 'Lease changes seen.', field: 'leaseEvents' },
  { name: 'tartan_kernel_operations_total', help: 'Operations sent to the kernel.', field: 'kernelOperations' },
  { name: 'tartan_kernel_refusals_total', help: 'Operations that the kernel refused.', field: 'kernelRefusals' },
  { name: 'tartan_repairs_total', help: 'Objects put right that somebody else had changed.', field: 'repairs' },
  { name: 'tartan_claim_transactions_total', help: 'Transactions that claims took.', field: 'claimTransactions' },
  {
    name: 'tartan_firewall_repairs_total',
    help: 'Firewall rules put right that somebody else had changed.',
    field: 'firewallRepairs',
  },
  {
    name: 'tartan_peer_filter_dropped_packets_total',
    help: 'VXLAN packets dropped, from addresses that no live lease names.',
    field: 'packetsDropped',
  },
  {
    name: 'tartan_peer_filter_reported_packets_total',
    help: 'Such packets that were let through and only counted.',
    field: 'packetsReported',
  },
];

const HISTOGRAMS: readonly { readonly name: string; readonly help: string; readonly field: keyof Timings }[] = [
  {
    name: 'tartan_list_seconds',
    help: 'A whole list of the leases, from the question to the last page.',
    field: 'list',
  },
  { name: 'tartan_plan_seconds', help: 'Working out what to change in the kernel.', field: 'plan' },
  { name: 'tartan_apply_seconds', help: 'Changing it, until the kernel has confirmed.', field: 'apply' },
  { name: 'tartan_change_seconds', help: "A peer's change, from the event to the kernel's answer.", field: 'change' },
];

/** Every metric's name and help, for the documentation. */
export const METRICS: readonly { readonly name: string; readonly help: string }[] = [
  ...GAUGES,
  ...COUNTERS,
  ...HISTOGRAMS,
];

export class Metrics {
  readonly #read: () => Snapshot;
  readonly #setters: ((snapshot: Snapshot) => void)[] = [];
  #registry: Promise<Registry> | undefined;

  constructor(read: () => Snapshot) {
    this.#read = read;
  }

  /** The exposition text and its content type. */
  async render(): Promise<{ readonly contentType: string; readonly body: string }> {
    this.#registry ??= this.#load();
    const registry = await this.#registry;
    const snapshot = this.#read();
    for (const set of this.#setters) set(snapshot);
    const histograms = HISTOGRAMS.map(({ name, help, field }) => histogramText(name, help, snapshot.timings[field]));
    return { contentType: registry.contentType, body: [await registry.metrics(), ...histograms].join('') };
  }

  async #load(): Promise<Registry> {
    const { Registry, Gauge, Counter, collectDefaultMetrics } = await import('prom-client');
    const registry = new Registry();
    collectDefaultMetrics({ register: registry });
    for (const { name, help, read } of GAUGES) {
      const gauge = new Gauge({ name, help, registers: [registry] });
      this.#setters.push(({ status }) => gauge.set(read(status)));
    }
    for (const { name, help, field } of COUNTERS) {
      const counter = new Counter({ name, help, registers: [registry] });
      this.#setters.push(({ counters }) => {
        counter.reset();
        counter.inc(counters[field]);
      });
    }
    return registry;
  }
}

/** In Prometheus' text format: prom-client's own could not be told what was counted before it was loaded. */
function histogramText(name: string, help: string, { cumulated, count, sumSeconds }: Durations): string {
  const buckets = DURATION_BOUNDS.map((bound, i) => `${name}_bucket{le="${bound}"} ${cumulated[i]}\n`);
  const head = `\n# HELP ${name} ${help}\n# TYPE ${name} histogram\n`;
  return `${head}${buckets.join('')}${name}_bucket{le="+Inf"} ${count}\n${name}_sum ${sumSeconds}\n${name}_count ${count}\n`;
}
