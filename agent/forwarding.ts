import { readSysctl, setSysctl } from '../backends/kernel/sysctl.ts';
import type { Log } from '../config/log.ts';
import type { NetworkConfig } from '../config/network-config.ts';

const IPV4 = 'net/ipv4/ip_forward';
const IPV6 = 'net/ipv6/conf/all/forwarding';

/**
 * Switches packet forwarding on for IPv4. For IPv6 it is only looked at: a host that forwards ignores router
 * advertisements, and may lose its own default route by them.
 * @returns how to look again: what is amiss, in words; undefined: nothing.
 */
export function switchForwardingOn({ ranges }: NetworkConfig, log: Log): () => string | undefined {
  const outcome = ranges[4] ? setSysctl(IPV4, '1') : 'unchanged';
  if (outcome === 'changed') log.info('switched packet forwarding on', { sysctl: IPV4 });
  const hint4 = typeof outcome === 'string' ? 'again' : `and can't be set (${outcome.failed})`;
  const hint6 = "(mind that the host then ignores router advertisements, unless the uplink's accept_ra is 2)";
  const look = (): string | undefined => {
    const problems = [...(ranges[4] ? problem(IPV4, hint4) : []), ...(ranges[6] ? problem(IPV6, hint6) : [])];
    return problems.length > 0 ? problems.join('; ') : undefined;
  };
  const amiss = look();
  if (amiss) log.error('packet forwarding is off', { problem: amiss });
  return look;
}

function problem(sysctl: string, hint: string): readonly string[] {
  if (readSysctl(sysctl) === '1') return [];
  const name = sysctl.replaceAll('/', '.');
  return [`containers can't reach other hosts: ${name} is off ${hint}; set it by: sysctl -w ${name}=1`];
}
