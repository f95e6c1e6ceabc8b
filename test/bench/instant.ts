/** What the measuring programs tell: lines of JSON on stdout, with instants on the one clock that all processes share. */
import { constants, setPriority } from 'node:os';
import { monotonicMs } from '../../config/clock.ts';

/** Who only looks at the clock must not wait for a core: what it reads late it would have seen late. */
export function comeFirst(): void {
  setPriority(constants.priority.PRIORITY_HIGHEST);
}

/** CLOCK_MONOTONIC, ms since boot: comparable between processes. */
export function instant(): number {
  return monotonicMs();
}

export function tell(event: string, fields: object): void {
  process.stdout.write(`${JSON.stringify({ event, ...fields })}\n`);
}

/** stopwatch.ts, event `exec`: the agent was started. */
export interface Started {
  readonly at: number;
  readonly pid: number;
}

/** stopwatch.ts, event `file`: its subnet file is in place. */
export interface Published {
  readonly at: number;
}

/** route-clock.ts, event `routes`: these came into the main table, or went. */
export interface Arrived {
  readonly routes: readonly { readonly dst: string; readonly at: number; readonly gone: boolean }[];
}

/** committer.ts, event `put`: these peers were put into etcd. */
export interface Committed {
  readonly puts: readonly ({ readonly dst: string } & Answered)[];
}

/** From a request until etcd's answer. */
export interface Answered {
  readonly sentAt: number;
  readonly answeredAt: number;
}

/** committer.ts, event `burst`: from the first put to the last answer; the etcd lease that all hang on. */
export interface Burst extends Answered {
  readonly lease: string;
}

/** programmer.ts, event `programmed`. */
export interface Programmed {
  /** From the reconciler's being told to the kernel's last acknowledgement. */
  readonly allMs: number;
  /** Of that, the time between handing operations to the kernel's side and their results. */
  readonly applyMs: number;
  /** On a processor, of all threads, in that time. */
  readonly cpuMs: number;
}

/** sender.c, event `sent`. */
export interface Sent {
  readonly ms: number;
  readonly cpuMs: number;
  readonly messages: number;
  readonly refusals: number;
}

/** write-clock.ts, event `writes`: how many there were since the clock was started. */
export interface Written {
  readonly writes: number;
  readonly lastAt: number;
}

/** resyncer.ts, event `resynced`. */
export interface Resynced {
  /** Of the event loop, for one look at everything. */
  readonly activeMs: number;
  /** The longest that the loop was held up in one go. */
  readonly longestMs: number;
  /** On a processor. */
  readonly cpuMs: number;
}

/** claimant.ts, event `claimed`: what one process of agents did from the signal on. */
export interface Claims {
  readonly startedAt: number;
  readonly endedAt: number;
  readonly cpuMs: number;
  /** Asked of etcd. */
  readonly requests: { readonly txn: number; readonly list: number; readonly grant: number; readonly other: number };
  /** `transactions`: those that were to take a subnet. */
  readonly claimed: readonly { readonly key: string; readonly transactions: number }[];
}

/** fleet.ts, event `heard`: all agents of the process have heard of a change, `put KEY` or `delete KEY`. */
export interface Heard {
  readonly what: string;
  readonly firstAt: number;
  readonly lastAt: number;
}

/** etcd-gauge.ts, event `gauge`: what etcd did in the last `seconds`. */
export interface Gauged {
  readonly at: number;
  readonly seconds: number;
  readonly requests: number;
  readonly sentBytes: number;
  /** Delivered to watches. */
  readonly events: number;
}
