/**
 * What is broken when: decided by the seed alone, before anything is broken, so that `--seed` replays it. Faults that
 * would be answered by resting (an agent that repairs one object, or its lease, for the sixth time within a minute waits)
 * are kept below that.
 */
import { Chance } from './chance.ts';
import type { Fault, Lane } from './fault.ts';

export interface Decision {
  readonly number: number;
  /** Since the start of the run. */
  readonly atMs: number;
  readonly fault: Fault;
  /** From 0. */
  readonly host: number;
  readonly seconds: number;
  /** Uniform in [0, 1): which object. */
  readonly pick: number;
}

const PAUSE_MS = [100, 1_700] as const;
/** Between the end of a fault and the next one on the same lane. */
const REST_MS = 1_500;
const MINUTE_MS = 60_000;
const OVERTIME_MS = 3_000;
/** Of these an agent repairs five within a minute at once. */
const A_MINUTE: Partial<Record<Lane, number>> = { kernel: 4, lease: 4 };
const TRIES = 50;

class Lanes {
  readonly #busyUntil = new Map<string, number>();
  readonly #begun = new Map<string, readonly number[]>();

  isFree({ lane }: Fault, host: number, atMs: number): boolean {
    const name = nameOf(lane, host);
    const lately = (this.#begun.get(name) ?? []).filter((begun) => begun > atMs - MINUTE_MS);
    return (this.#busyUntil.get(name) ?? 0) <= atMs && lately.length < (A_MINUTE[lane] ?? Number.POSITIVE_INFINITY);
  }

  take({ lane }: Fault, host: number, atMs: number, seconds: number): void {
    const name = nameOf(lane, host);
    this.#busyUntil.set(name, atMs + seconds * 1000 + REST_MS);
    this.#begun.set(name, [...(this.#begun.get(name) ?? []), atMs]);
  }
}

/** etcd is one for all hosts. */
export function nameOf(lane: Lane, host: number): string {
  return lane === 'etcd' || lane === 'store' ? lane : `${lane} of ${host}`;
}

/** The decisions of `minutes`, in order of time. Pure. */
export function schedule(seed: number, minutes: number, hosts: number, faults: readonly Fault[]): readonly Decision[] {
  const chance = new Chance(seed);
  const lanes = new Lanes();
  const decisions: Decision[] = [];
  let atMs = 0;
  for (;;) {
    atMs += chance.between(...PAUSE_MS);
    if (atMs >= minutes * MINUTE_MS) return decisions;
    const endMs = minutes * MINUTE_MS + OVERTIME_MS;
    const decision = decide(chance, lanes, { atMs, endMs, hosts, faults, number: decisions.length + 1 });
    if (decision !== undefined) decisions.push(decision);
  }
}

interface Choice {
  readonly atMs: number;
  /** Until when a fault has to be over. */
  readonly endMs: number;
  readonly hosts: number;
  readonly faults: readonly Fault[];
  readonly number: number;
}

function decide(chance: Chance, lanes: Lanes, { atMs, endMs, hosts, faults, number }: Choice): Decision | undefined {
  for (let tried = 0; tried < TRIES; tried++) {
    const fault = chance.weighted(faults);
    const host = chance.below(hosts);
    const pick = chance.next();
    const seconds = fault.lasts === undefined ? 0 : Math.round(chance.between(...fault.lasts) * 10) / 10;
    if (atMs + seconds * 1000 > endMs || !lanes.isFree(fault, host, atMs)) continue;
    lanes.take(fault, host, atMs, seconds);
    return { number, atMs: Math.round(atMs), fault, host, seconds, pick };
  }
  return undefined;
}
