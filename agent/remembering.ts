import type { Clock } from '../config/clock.ts';
import type { Cluster } from './cluster.ts';
import type { Memory } from './memory.ts';

/** How soon after a change the leases are written down; the rests double up to the longest while they go on changing. */
const REST_MS = { shortest: 1_000, longest: 60_000 } as const;

/**
 * Keeps what the cluster says on disk, for a start without etcd, until the signal is aborted, and once more then. What a
 * store says that is not settled is not written down: restored to what it was before, it must be known as gone back.
 * @param config the text of the network config that this agent works by.
 */
export async function keepRemembering(
  { cluster, memory, clock }: { readonly cluster: Cluster; readonly memory: Memory; readonly clock: Clock },
  config: () => string,
  signal: AbortSignal,
): Promise<never> {
  let kept: number | undefined;
  let restMs: number = REST_MS.shortest;
  const keep = async (): Promise<boolean> => {
    const { settledVersion: version, edition } = cluster;
    if (!version || kept === edition) return false;
    kept = edition;
    const image = { ...version, savedAt: clock.now(), config: config(), leases: cluster.leasesInUse };
    if (!(await memory.keep(image))) kept = undefined;
    return true;
  };
  try {
    for (;;) {
      await clock.sleep(restMs, signal);
      restMs = (await keep()) ? Math.min(restMs * 2, REST_MS.longest) : Math.max(restMs / 2, REST_MS.shortest);
    }
  } finally {
    // Written by whoever closes the memory.
    void keep();
  }
}
