/** What a wire of the lab takes over from the hosts: a veth carries packets of 64 KB whole, no network card does. */
import type { Host } from './host.ts';
import type { Lab } from './hosts.ts';

const OFFLOADS = ['tso', 'gso', 'tx-udp-segmentation', 'tx'] as const;

/**
 * `off`: frames of MTU size with finished checksums, as with a card that offloads nothing; what is captured then is what
 * a real wire would carry. The host gathers received ones again (GRO), which any card's driver lets it. Needs ethtool.
 */
export async function setOffloads(lab: Lab, host: Host, wanted: 'on' | 'off'): Promise<void> {
  const changes = OFFLOADS.flatMap((name) => [name, wanted]);
  await host.run('ethtool', ['-K', 'eth0', ...changes, 'gro', wanted === 'off' ? 'on' : 'off']);
  await lab.switch.run('ethtool', ['-K', host.port, ...changes]);
}
