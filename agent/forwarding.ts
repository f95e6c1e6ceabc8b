/**
 * The kernel's settings that packets between containers need, kept so while the agent runs. What was changed of the
 * host's own is in the journal, and put back by `tartan down`.
 */
import { readdirSync } from 'node:fs';
import type { DeviceObject } from '../backends/backend.ts';
import type { Kernel } from '../backends/kernel/kernel.ts';
import { readSysctl, setSysctl, sysctlName } from '../backends/kernel/sysctl.ts';
import { type Sysctl, Sysctls } from '../backends/sysctls.ts';
import { familyOf } from '../config/address.ts';
import type { NetworkConfig } from '../config/network-config.ts';
import type { AgentContext } from './agent-context.ts';
import type { AgentStatus } from './agent-status.ts';
import { ownPart } from './config-families.ts';
import type { Joined } from './joining.ts';
import { bootId, withSysctls } from './journal.ts';
import type { Memory } from './memory.ts';
import type { Tasks } from './tasks.ts';

const IPV4 = 'net/ipv4/ip_forward';
const IPV6 = 'net/ipv6/conf/all/forwarding';
const REDIRECTS = 'net/ipv4/conf/all/accept_redirects';
const ON = '1';

export interface ForwardingParts {
  readonly context: AgentContext;
  readonly tasks: Tasks;
  readonly kernel: Kernel;
  readonly memory: Memory;
  readonly status: AgentStatus;
  readonly joined: Joined;
}

/** Resolves when the settings are as needed, or could not be made so, which is a problem to show; and keeps them. */
export async function keepForwarding({
  context,
  tasks,
  kernel,
  memory,
  status,
  joined,
}: ForwardingParts): Promise<void> {
  const { options, clock, log } = context;
  const { config, backend, held, macs } = joined;
  const device = backend.device(ownPart(held, config), macs);
  const sysctls = new Sysctls({
    ...{ wanted: neededSysctls(config, device), devices: backend.devices, resyncSeconds: options.resync },
    ...{ clock, log },
    beforeChange: async ({ name, isHosts }, found) => {
      if (!isHosts) return;
      memory.update({ journal: withSysctls(memory.current.journal, bootId(), beforeChange(name, found)) });
      await memory.settled();
    },
  });
  await kernel.monitor((event) => sysctls.hear(event));
  await sysctls.look();
  const amiss = forwardingProblem(config);
  if (amiss) log.error('packet forwarding is off', { problem: amiss });
  status.watch(() => forwardingProblem(config));
  status.watch(() => troubleText(sysctls));
  tasks.start((signal) => sysctls.run(signal));
}

function troubleText(sysctls: Sysctls): string | undefined {
  const all = sysctls.troubles().map(({ object, error }) => `${object}: ${error}`);
  return all.length > 0 ? all.join('; ') : undefined;
}

/**
 * Forwarding for IPv4, and what our devices must have. IPv6 forwarding is only looked at: a host that forwards ignores
 * router advertisements, and may lose its own default route by them.
 */
function neededSysctls({ ranges }: NetworkConfig, device: readonly DeviceObject[]): readonly Sysctl[] {
  const addresses = device.flatMap((one) => (one.kind === 'address' ? [one] : []));
  return [
    ...(ranges[4] ? [{ name: IPV4, value: ON, isHosts: true }] : []),
    ...addresses.flatMap(({ dev: name, ip }) => [
      ...(familyOf(ip) === 4
        ? [{ name: `net/ipv4/conf/${name}/forwarding`, value: ON, isHosts: false }]
        : [{ name: `net/ipv6/conf/${name}/disable_ipv6`, value: '0', isHosts: false }]),
      { name: `net/ipv6/conf/${name}/accept_ra`, value: '0', isHosts: false },
    ]),
  ];
}

/**
 * What is to be written down before a setting is changed: itself, and what would not be as it was when it is put back.
 * For switching ip_forward switches forwarding on every device with it, and the acceptance of redirects the other way.
 */
function beforeChange(name: string, found: string): ReadonlyMap<string, string> {
  const before = new Map([[name, found]]);
  if (name !== IPV4) return before;
  for (const dev of devicesWithSettings()) {
    const forwarding = `net/ipv4/conf/${dev}/forwarding`;
    if (dev !== 'all' && readSysctl(forwarding) === ON) before.set(forwarding, ON);
  }
  if (readSysctl(REDIRECTS) === '0') before.set(REDIRECTS, '0');
  return before;
}

function devicesWithSettings(): readonly string[] {
  try {
    return readdirSync('/proc/sys/net/ipv4/conf');
  } catch {
    return [];
  }
}

interface PutBack {
  /** In words, for the operator. */
  readonly said: readonly string[];
  /** What could not be put back. */
  readonly failed: readonly string[];
}

/**
 * Puts back what `beforeChange` wrote down: where the setting still is as we made it, and what goes with it where
 * nobody has changed that since. A second time, or after half of it, comes to the same.
 */
export function putBack(before: ReadonlyMap<string, string>): PutBack {
  const was = before.get(IPV4);
  const now = readSysctl(IPV4);
  if (was === undefined || now === undefined) return { said: [], failed: [] };
  const name = sysctlName(IPV4);
  if (now !== ON && now !== was) return { said: [`left ${name} at ${now}: somebody has changed it`], failed: [] };
  const others = [...before].filter(([other]) => other !== IPV4);
  const targets = others.map(([other, value]) => [other, now === was ? value : (readSysctl(other) ?? value)] as const);
  const outcome = setSysctl(IPV4, was);
  if (typeof outcome !== 'string') return { said: [], failed: [`${name} stays at ${now}: ${outcome.failed}`] };
  const failed = targets.flatMap(([other, value]) => {
    if (readSysctl(other) === undefined) return [];
    const result = setSysctl(other, value);
    return typeof result === 'string' ? [] : [`${sysctlName(other)} could not be put back: ${result.failed}`];
  });
  const said = `set ${name} back to ${was}, as it was before tartan; what else needs it (Docker, a router) must set it again`;
  return { said: outcome === 'changed' ? [said] : [], failed };
}

/** What is amiss, in words; undefined: nothing. */
function forwardingProblem({ ranges }: NetworkConfig): string | undefined {
  const hint6 = " (mind that the host then ignores router advertisements, unless the uplink's accept_ra is 2)";
  const problems = [...(ranges[4] ? problem(IPV4, '') : []), ...(ranges[6] ? problem(IPV6, hint6) : [])];
  return problems.length > 0 ? problems.join('; ') : undefined;
}

function problem(sysctl: string, hint: string): readonly string[] {
  if (readSysctl(sysctl) === ON) return [];
  const name = sysctlName(sysctl);
  return [`containers can't reach other hosts: ${name} is off${hint}; set it by: sysctl -w ${name}=1`];
}
