/** Prometheus metrics. prom-client is loaded when they are first asked for: start-up does not wait for it. */
import type { Registry } from 'prom-client';
import { DURATION_BOUNDS, type Durations } from '../config/durations.ts';
import type { Status, StatusPath } from './status.ts';

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
  readonly roundTrip: Durations;
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
    help: '1 while packets from addresses that no live lease names are dropped.',
    read: (s) =>
      Number(s.peerFilters?.every(({ effective }) => effective === 'enforce' || effective === 'strict') ?? false),
  },
  {
    name: 'tartan_strangers',
    help: 'Addresses that no live lease names and that sent packets of the network lately.',
    read: (s) => (s.peerFilters ?? []).reduce((sum, one) => sum + one.strangers.length, 0),
  },
  {
    name: 'tartan_path_narrow_peers',
    help: 'Peers to which only smaller packets cross than our device sends.',
    read: (s) => paths(s).filter(({ isSmaller }) => isSmaller).length,
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
    help: 'Packets of the network dropped, from addresses that no live lease names.',
    field: 'packetsDropped',
  },
  {
    name: 'tartan_peer_filter_reported_packets_total',
    help: 'Such packets that were let through and only counted.',
    field: 'packetsReported',
  },
];

/** A metric of several samples, told apart by their labels. */
interface Labelled {
  readonly name: string;
  readonly help: string;
  readonly kind: 'gauge' | 'counter';
  readonly labels: readonly string[];
  /** Values of the labels in their order, and the sample's. */
  readonly read: (status: Status) => readonly (readonly [labels: readonly string[], value: number])[];
}

const LABELLED: readonly Labelled[] = [
  {
    name: 'tartan_data_path_up',
    help: '1 while packets can cross, of a device whose packets the agent itself wraps and sends.',
    kind: 'gauge',
    labels: ['device'],
    read: (s) => (s.dataPaths ?? []).map(({ device, isUp }) => [[device], Number(isUp)]),
  },
  {
    name: 'tartan_data_path_packets_total',
    help: 'Packets that it sent to peers, and received from them and took.',
    kind: 'counter',
    labels: ['device', 'direction'],
    read: (s) => traffic(s, 'packets'),
  },
  {
    name: 'tartan_data_path_bytes_total',
    help: 'Bytes of these packets.',
    kind: 'counter',
    labels: ['device', 'direction'],
    read: (s) => traffic(s, 'bytes'),
  },
  {
    name: 'tartan_data_path_dropped_packets_total',
    help: "Packets that went no further, by reason; the peer filter's are not among them.",
    kind: 'counter',
    labels: ['device', 'reason'],
    read: (s) =>
      (s.dataPaths ?? []).flatMap(({ device, dropped }) =>
        Object.entries(dropped).map(([reason, packets]) => [[device, reason], packets] as const),
      ),
  },
  {
    name: 'tartan_data_path_restarts_total',
    help: 'How often its thread had to be started anew.',
    kind: 'counter',
    labels: ['device'],
    read: (s) => (s.dataPaths ?? []).map(({ device, restarts }) => [[device], restarts]),
  },
  {
    name: 'tartan_path_probes_total',
    help: 'Path probes, by what came of them; refused: this host could not send them.',
    kind: 'counter',
    labels: ['device', 'outcome'],
    read: (s) =>
      (s.probes ?? []).flatMap(({ device, ...outcomes }) =>
        PROBE_OUTCOMES.map((outcome) => [[device, outcome], outcomes[outcome]] as const),
      ),
  },
  {
    name: 'tartan_path_peers',
    help: 'Peers whose path is probed, by what is known of it; silent: nothing was heard lately.',
    kind: 'gauge',
    labels: ['state'],
    read: (s) => PATH_STATES.map((state) => [[state], paths(s).filter((path) => path.state === state).length]),
  },
];

const PROBE_OUTCOMES = ['answered', 'lost', 'refused'] as const;
const PATH_STATES = ['unknown', 'answering', 'silent'] as const;

function traffic({ dataPaths = [] }: Status, what: 'packets' | 'bytes'): readonly (readonly [string[], number])[] {
  return dataPaths.flatMap(({ device, sent, received }) => [
    [[device, 'sent'], sent[what]] as const,
    [[device, 'received'], received[what]] as const,
  ]);
}

function paths({ peers }: Status): readonly StatusPath[] {
  return peers.flatMap((peer) => peer.paths ?? []);
}

const HISTOGRAMS: readonly { readonly name: string; readonly help: string; readonly field: keyof Timings }[] = [
  {
    name: 'tartan_list_seconds',
    help: 'A whole list of the leases, from the question to the last page.',
    field: 'list',
  },
  { name: 'tartan_plan_seconds', help: 'Working out what to change in the kernel.', field: 'plan' },
  { name: 'tartan_apply_seconds', help: 'Changing it, until the kernel has confirmed.', field: 'apply' },
  {
    name: 'tartan_path_round_trip_seconds',
    help: 'Round trips of path probes that were answered.',
    field: 'roundTrip',
  },
  { name: 'tartan_change_seconds', help: "A peer's change, from the event to the kernel's answer.", field: 'change' },
];

/** Every metric's name and help, for the documentation. */
export const METRICS: readonly { readonly name: string; readonly help: string }[] = [
  ...GAUGES,
  ...COUNTERS,
  ...LABELLED,
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
    for (const { kind, read, labels, ...named } of LABELLED) {
      const options = { ...named, labelNames: [...labels], registers: [registry] };
      const metric = kind === 'gauge' ? new Gauge(options) : new Counter(options);
      this.#setters.push(({ status }) => {
        metric.reset();
        for (const [values, value] of read(status)) {
          metric.inc(Object.fromEntries(labels.map((label, i) => [label, values[i] ?? ''])), value);
        }
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
