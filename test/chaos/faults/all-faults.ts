import type { Fault } from '../fault.ts';
import { agentFaults } from './agent-faults.ts';
import { etcdFaults } from './etcd-faults.ts';
import { hostFaults } from './host-faults.ts';
import { kernelFaults } from './kernel-faults.ts';
import { leaseFaults } from './lease-faults.ts';

export const ALL_FAULTS: readonly Fault[] = [
  ...agentFaults,
  ...kernelFaults,
  ...hostFaults,
  ...etcdFaults,
  ...leaseFaults,
];
