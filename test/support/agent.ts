/** Agents on a lab's hosts: ours, or a flanneld. Both take flannel's flags and write flannel's files. */
import { bundledProgram } from './bundle.ts';
import { eventually, type Patience } from './eventually.ts';
import type { Host } from './host.ts';
import type { Lab } from './hosts.ts';
import type { Argv, LabProcess, Outcome } from './process.ts';
import type { SubnetEnv } from './subnet-env.ts';

/** The command without its flags. */
export interface Agent {
  readonly name: string;
  readonly argv: Argv;
}

/** `tartan` itself, for its other commands. */
export const TARTAN: Argv = [process.execPath, bundledProgram()];

export const tartan: Agent = { name: 'tartan', argv: [...TARTAN, 'run'] };

export function flanneldAt(path: string): Agent {
  return { name: 'flanneld', argv: [path] };
}

export const PREFIX = '/coreos.com/network';

/** Starts the agent with the lab's etcd and `--iface=eth0`; `flags` come after these and win. */
export function startAgent(lab: Lab, host: Host, agent: Agent, flags: readonly string[] = []): LabProcess {
  const [command, ...args] = agent.argv;
  return host.spawn(command, [...args, ...lab.etcd.flags, '--iface=eth0', ...flags]);
}

/** Another command of tartan on a host, with the lab's etcd: `tartanOn(lab, host, ['leases', '--json'])`. */
export function tartanOn(lab: Lab, host: Host, args: readonly string[], input?: string): Promise<Outcome> {
  const [node, ...main] = TARTAN;
  const { env } = lab.etcd;
  return host.exec(node, [...main, ...args], input === undefined ? { env } : { env, input });
}

/** The subnet file that the agent writes; rejects with its last lines where it ends or the deadline passes. */
export function subnetOf(host: Host, agent: LabProcess, patience: Patience = {}): Promise<SubnetEnv> {
  return eventually(
    `${host.name} publishes its subnet`,
    async () => {
      const env = await host.subnetEnv();
      if (env === undefined && !agent.running) return 'ended';
      return env;
    },
    { context: () => agent.tail(), ...patience },
  ).then((env) => {
    if (env === 'ended') throw new Error(`${host.name}: the agent ended\n${agent.tail()}`);
    return env;
  });
}
