/** Whose healing is looked at, and what of a fault depends on it. */
import { type Agent, flanneldAt, tartan as tartanAgent } from '../support/agent.ts';

export const SUBJECTS = ['tartan', 'flanneld'] as const;
export type SubjectName = (typeof SUBJECTS)[number];

export interface Subject {
  readonly name: SubjectName;
  readonly agent: Agent;
  readonly flags: readonly string[];
  /** Of the routes that it makes. */
  readonly protocol: number;
  /** How long a fault is watched before it counts as not healed, ms; `promised`: its own promise. */
  readonly patienceMs: (promised: number) => number;
}

export const tartan: Subject = {
  name: 'tartan',
  agent: tartanAgent,
  flags: ['--log-format=human'],
  protocol: 84,
  // Whatever the machine is busy with: the matrix says how long it took, a test only whether it happens.
  patienceMs: (promised) => Math.max(15_000, Math.min(10 * promised, promised + 60_000)),
};

export function flanneld(path: string): Subject {
  return {
    name: 'flanneld',
    agent: flanneldAt(path),
    flags: [],
    protocol: 3,
    patienceMs: (promised) => Math.max(15_000, promised + 10_000),
  };
}
