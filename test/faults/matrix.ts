/** Outcomes as people read them: a line each while they come in, and a table for the README. */
import type { Fault, StoreSize } from './fault.ts';
import { GROUPS } from './fault.ts';
import type { SubjectName } from './subject.ts';
import { faultsFor } from './table.ts';
import type { Outcome } from './trial.ts';
import { brokenPromise } from './verdict.ts';

/** All outcomes of one subject with one etcd. */
export interface Run {
  readonly subject: SubjectName;
  readonly store: StoreSize;
  readonly outcomes: readonly Outcome[];
}

const NAME_WIDTH = 56;

export function duration(ms: number): string {
  return ms < 1_000 ? `${ms.toFixed()} ms` : `${Number((ms / 1_000).toFixed(1))} s`;
}

function healed({ healedMs }: Outcome): string {
  return healedMs === undefined ? 'not healed' : duration(healedMs);
}

function promise({ withinMs, loses }: Fault): string {
  return loses === undefined || loses === Number.POSITIVE_INFINITY
    ? duration(withinMs)
    : `${duration(withinMs)}, ${loses}`;
}

export const HEAD = line('', 'fault', 'promised', 'healed after', 'lost');

function line(group: string, name: string, promised: string, after: string, lost: string): string {
  return `${group.padEnd(7)} ${name.padEnd(NAME_WIDTH)} ${promised.padStart(10)} ${after.padStart(12)} ${lost.padStart(6)}`;
}

/** A line; several where a promise was not kept. */
export function formatOutcome(outcome: Outcome): string {
  const { fault, lost } = outcome;
  const row = line(fault.group, fault.name, promise(fault), healed(outcome), String(lost));
  const broken = brokenPromise(outcome);
  return broken === undefined ? row : `${row}\n${broken.replace(/^/gm, '          ')}`;
}

/** `tartan, etcd of one member: 71 of 71 faults healed, 70 as promised` */
export function formatSum({ subject, store, outcomes }: Run): string {
  const kept = outcomes.filter((outcome) => brokenPromise(outcome) === undefined).length;
  const members = store === 'one' ? 'one member' : 'three members with TLS';
  const all = outcomes.filter(({ healedMs }) => healedMs !== undefined).length;
  return `${subject}, etcd of ${members}: ${all} of ${outcomes.length} faults healed, ${kept} as promised`;
}

const TITLES = {
  drift: 'Drift in the kernel',
  etcd: 'etcd',
  leases: 'Own lease and config',
  input: 'What others write to etcd',
  crash: 'The agent',
  host: 'The host',
} as const;

function cells(run: Run | undefined, fault: Fault): readonly string[] {
  const outcome = run?.outcomes.find((one) => one.fault === fault);
  return outcome === undefined ? ['', ''] : [healed(outcome), String(outcome.lost)];
}

/** Faults of a store that at least one run has met, in the order of the table. */
function metFaults(runs: readonly Run[]): readonly Fault[] {
  const met = new Set(runs.flatMap(({ outcomes }) => outcomes.map(({ fault }) => fault)));
  return runs.length === 0 ? [] : faultsFor('tartan', runs[0]?.store ?? 'one').filter((fault) => met.has(fault));
}

function rowsOf(title: string, faults: readonly Fault[], runs: readonly Run[]): readonly string[] {
  if (faults.length === 0) return [];
  const [tartan, flanneld] = (['tartan', 'flanneld'] as const).map((name) => runs.find((run) => run.subject === name));
  const rows = faults.map((fault) => [fault.name, promise(fault), ...cells(tartan, fault), ...cells(flanneld, fault)]);
  return [[`**${title}**`, '', '', '', '', ''], ...rows].map((row) => `| ${row.join(' | ')} |`);
}

/** Both subjects side by side. Promised: the time, and how many packets may be lost where that is limited. */
export function toMarkdown(runs: readonly Run[]): string {
  const one = runs.filter(({ store }) => store === 'one');
  const three = runs.filter(({ store }) => store === 'three');
  const met = metFaults(one);
  const rows = [
    '| fault | promised | tartan: healed after | packets lost | flanneld: healed after | packets lost |',
    '|---|---|---|---|---|---|',
    ...GROUPS.flatMap((group) =>
      rowsOf(
        TITLES[group],
        met.filter((fault) => fault.group === group),
        one,
      ),
    ),
    ...rowsOf('etcd of three members, with TLS', metFaults(three), three),
  ];
  return `${rows.join('\n')}\n\n${runs.map((run) => `${formatSum(run)}.`).join('\n')}\n`;
}
