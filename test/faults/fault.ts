/** A line of the table: what is broken, what must hold afterwards, within how long. */
import type { Scene } from './scene.ts';
import type { SubjectName } from './subject.ts';

export const GROUPS = ['drift', 'etcd', 'leases', 'input', 'crash', 'host'] as const;
export type Group = (typeof GROUPS)[number];

/** How many members etcd has: one, or three with TLS. */
export const STORES = ['one', 'three'] as const;
export type StoreSize = (typeof STORES)[number];

export interface Fault {
  readonly group: Group;
  /** Unique in its group. */
  readonly name: string;
  /** What is promised, ms from the moment that `breaks` is through: the cause is over then, or was a single blow. */
  readonly withinMs: number;
  /** How many packets may be lost from before the fault until all is well, of one every 10 to 20 ms. Default: any. */
  readonly loses?: number;
  /** With this subject, or this etcd, only. */
  readonly only?: { readonly subject?: SubjectName; readonly etcd?: StoreSize };
  readonly breaks: (scene: Scene) => Promise<unknown>;
  /** Default: both kernels are as they were before. That packets cross is asked in any case. */
  readonly holds?: (scene: Scene) => Promise<boolean>;
  /** After it is healed: what the proof of life needs, such as an etcd. */
  readonly provesLifeAfter?: (scene: Scene) => Promise<unknown>;
  /** Takes away what the fault put into etcd, so that the next one finds the scene as it was. */
  readonly undo?: (scene: Scene) => Promise<unknown>;
  /** The scene is another one afterwards: the next fault gets a new one. */
  readonly spoils?: true;
}
