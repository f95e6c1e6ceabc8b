import type { Clock } from '../config/clock.ts';
import { coverage } from '../leases/coverage.ts';
import { candidates, type Self } from '../leases/identity.ts';
import type { StoredLease } from '../leases/lease.ts';
import type { AgentStatus } from './agent-status.ts';
import type { Cluster } from './cluster.ts';
import type { Memory } from './memory.ts';

const LOOK_MS = 1_000;

interface RivalsContext {
  readonly cluster: Pick<Cluster, 'version' | 'edition' | 'directory'>;
  readonly memory: Pick<Memory, 'current' | 'update'>;
  readonly status: Pick<AgentStatus, 'setProblem'>;
  readonly clock: Clock;
}

/**
 * Looks out for leases that stand for this host beside the one it holds, until the signal is aborted: the next start then
 * looks at all leases before it goes on with one. A reservation, which an operator made for this host, is told.
 * @param self this host as it is now. @param key of the lease held.
 */
export async function watchRivals(
  { cluster, memory, status, clock }: RivalsContext,
  self: () => Self,
  key: string,
  signal: AbortSignal,
): Promise<never> {
  for (let seen: number | undefined; ; ) {
    await clock.sleep(LOOK_MS, signal);
    if (cluster.version === undefined || seen === cluster.edition) continue;
    seen = cluster.edition;
    const rivals = candidates(self(), cluster.directory.all()).filter(({ lease }) => lease.key !== key);
    const hasRivals = rivals.length > 0;
    if (hasRivals !== (memory.current.hasRivals ?? false)) memory.update({ hasRivals });
    const reserved = rivals.find(({ lease }) => lease.etcdLease === '0')?.lease;
    status.setProblem('reservation', reserved && problem(reserved));
  }
}

function problem(lease: StoredLease): string {
  return `${coverage(lease).join(' ')} is reserved for this host, which holds another lease; restart the agent to go over to it, then Docker`;
}
