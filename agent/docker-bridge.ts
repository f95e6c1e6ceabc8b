/**
 * Docker addresses docker0 when it starts, and never again: a lease that has become another one since stays without
 * Docker until that is started again. Containers keep the addresses that they have until they are, too; nothing that an
 * agent could do to the bridge meanwhile would help them.
 */
import type { Kernel } from '../backends/kernel/kernel.ts';
import type { AddressInfo } from '../backends/state.ts';
import { containsIp, type Prefix } from '../config/address.ts';
import { type Clock, jittered } from '../config/clock.ts';
import type { Log } from '../config/log.ts';
import { Wakeup } from '../config/wakeup.ts';
import type { LeaseSubnets } from '../leases/lease.ts';

const BRIDGE = 'docker0';
/** Docker takes the old address away before it sets the new one. */
const LASTS_MS = 1_000;

/** Whose addresses docker0 is to have. */
export interface BridgeBasis {
  readonly networks: readonly Prefix[];
  readonly own: LeaseSubnets;
}

/** What is amiss with docker0, in words. One outside the network is somebody's own choice, and none of our business. */
export function bridgeProblem(addresses: readonly AddressInfo[], { networks, own }: BridgeBasis): string | undefined {
  const isOurs = ({ ip }: AddressInfo): boolean =>
    [own.subnet, own.subnet6].some((subnet) => subnet !== undefined && containsIp(subnet, ip));
  const isNetworks = ({ ip }: AddressInfo): boolean => networks.some((network) => containsIp(network, ip));
  const stray = addresses.filter((one) => one.dev === BRIDGE && isNetworks(one) && !isOurs(one));
  if (stray.length === 0) return undefined;
  const has = stray.map(({ ip, length }) => `${ip}/${length}`).join(', ');
  return `${BRIDGE} has ${has}, which is not in this host's lease ${own.subnet}: no other host reaches its containers; restart Docker (systemctl restart docker); with live-restore stop its containers first`;
}

interface WatchParts {
  readonly kernel: Kernel;
  readonly clock: Clock;
  readonly log: Log;
  readonly resyncSeconds: number;
  current(): BridgeBasis;
  onProblem(problem: string | undefined): void;
}

/** Looks at docker0 after every change of its addresses, and now and then, until the signal is aborted. */
export async function watchDockerBridge(parts: WatchParts, signal: AbortSignal): Promise<never> {
  const { kernel, clock, log, resyncSeconds, current, onProblem } = parts;
  const doorbell = new Wakeup();
  await kernel.monitor((event) => {
    if (event.verb === 'lost' || ('address' in event && event.address.dev === BRIDGE)) doorbell.ring();
  });
  for (let told: string | undefined; ; ) {
    const problem = await look(kernel, current()).catch(() => told);
    if (problem !== told) {
      if (problem === undefined) log.info('docker0 is on the lease again');
      else log.error('docker0 is not on the lease', { problem });
      onProblem(problem);
      told = problem;
    }
    await doorbell.wait(jittered(clock, resyncSeconds * 1000), clock, signal);
    await clock.sleep(LASTS_MS, signal);
  }
}

async function look(kernel: Kernel, basis: BridgeBasis): Promise<string | undefined> {
  const families = basis.own.subnet6 === undefined ? ([4] as const) : ([4, 6] as const);
  const found: AddressInfo[] = [];
  for (const family of families) found.push(...(await kernel.addresses(family)));
  return bridgeProblem(found, basis);
}
