import type { Log } from '../config/log.ts';
import type { PeerChange } from '../leases/directory.ts';

/** Peers named one by one; of more, the count. */
const LOGGED_PEERS = 20;

export function logPeers(changes: readonly PeerChange[], log: Log): void {
  if (changes.length > LOGGED_PEERS) {
    log.info('peers changed', { appeared: changes.filter(({ after }) => after).length, of: changes.length });
    return;
  }
  for (const { before, after } of changes) {
    const lease = after ?? before;
    if (!lease) continue;
    const what = after ? (before ? 'a peer changed' : 'a peer appeared') : 'a peer left';
    log.info(what, { subnet: lease.subnet, publicIp: lease.publicIp, ...(lease.owner && { name: lease.owner.name }) });
  }
}
