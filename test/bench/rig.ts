/** The agent's own reconciler on a host, without etcd: leases in, entries in the kernel out. */
import type { Kernel } from '../../backends/kernel/kernel.ts';
import { Reconciler } from '../../backends/reconciler.ts';
import { createVxlan } from '../../backends/vxlan/vxlan.ts';
import { silentLog } from '../../config/log.ts';
import { decodeLease } from '../../leases/codec.ts';
import type { PeerChange } from '../../leases/directory.ts';
import { ip, mac, prefix } from '../support/addresses.ts';
import { PREFIX } from '../support/agent.ts';
import { eventually } from '../support/eventually.ts';
import { LARGE_NETWORK, peerLease } from '../support/peers.ts';
import { realClock } from '../support/real-clock.ts';

export const DEVICE = 'flannel.1';
/** Not a peer's. */
const OWN = prefix('10.127.0.0/24');
const MAC = mac('02:00:00:00:00:10');
const LOCAL = ip('192.168.77.11');
const UNDERLAY = {
  ...{ index: 2, dev: 'eth0', mtuBytes: 1500, ip: LOCAL, ip6: undefined },
  ...{ publicIp: LOCAL, publicIp6: undefined, hostAddresses: new Set([LOCAL]) },
};
/** The same each time the device is made: recorded messages name it. */
const INDEX = 1000;

/** For `ip -batch`: the device as the reconciler wants it, so that it finds nothing to do. */
export const MAKE_DEVICE: readonly string[] = [
  `link add ${DEVICE} index ${INDEX} mtu 1450 address ${MAC} type vxlan id 1 dstport 8472 local ${LOCAL} dev eth0 nolearning`,
  `link set ${DEVICE} up`,
  `addr add 10.127.0.0/32 dev ${DEVICE}`,
];

/** Peers as the directory tells of them when they come. */
export function arrivals(count: number): readonly PeerChange[] {
  return Array.from({ length: count }, (_, index) => {
    const { key, value } = peerLease(index);
    const decoded = decodeLease(PREFIX, { key, value, createRevision: index + 1, modRevision: index + 1, lease: '1' });
    if (!decoded.ok) throw new Error(decoded.reason);
    return { key, before: undefined, after: decoded.lease };
  });
}

/** A reconciler that has found its device in place, and runs until the signal is aborted. */
export async function startReconciler(kernel: Kernel, nexthopObjects: boolean, signal: AbortSignal) {
  const made = createVxlan({}, { ipv4: true, ipv6: false }, UNDERLAY);
  if (!made.ok) throw new Error(made.problems.join('; '));
  const reconciler = await Reconciler.start({
    ...{ kernel, backend: made.backend, underlay: 'eth0', networks: [prefix(LARGE_NETWORK)], nexthopObjects },
    ...{ resyncSeconds: 100_000, clock: realClock, log: silentLog },
  });
  const own = { subnet: OWN, subnet6: undefined, networks: [prefix(LARGE_NETWORK)] };
  await reconciler.setDevice(made.backend.device(own, new Map([[DEVICE, MAC]])));
  if (reconciler.counters.operations > 0) throw new Error(`${DEVICE} is not as the reconciler wants it`);
  void reconciler.run(signal).catch(() => undefined);
  return reconciler;
}

/** Looked at by a timer: the loop's turns, which the programmer counts, stay its own. */
export async function inStep(reconciler: Reconciler): Promise<void> {
  await eventually('in step', () => reconciler.step().inStep, { everyMs: 5, timeoutMs: 60_000 });
}
