import type { Fleet } from './fleet.ts';
import type { Station } from './station.ts';

/** What a fault needs for itself: two on one lane of one host (or on etcd) never overlap. */
export type Lane = 'agent' | 'cable' | 'kernel' | 'lease' | 'etcd' | 'store';

/** What a fault is done with. */
export interface Target {
  readonly fleet: Fleet;
  /** The host chosen; faults of etcd let it be. */
  readonly station: Station;
  /** Uniform in [0, 1): which of several objects. */
  readonly pick: number;
  readonly seconds: number;
}

export interface Fault {
  readonly name: string;
  readonly lane: Lane;
  /** How often it is chosen, compared with others. */
  readonly weight: number;
  /** Least and most seconds until it is lifted; absent: over at once. */
  readonly lasts?: readonly [number, number];
  /** Throws Inapplicable. */
  apply(target: Target): Promise<Broken>;
}

export interface Broken {
  /** What was done, in words. */
  readonly said: string;
  /** Takes it back when its time is over. */
  lift?(): Promise<void> | void;
}

/** There is nothing that the fault could break just now. */
export class Inapplicable extends Error {}
