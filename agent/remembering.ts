import type { Clock } from '../config/clock.ts';
import type { Cluster } from './cluster.ts';
import type { Memory } from './memory.ts';

/** How soon after a change the leases are written down: to write takes a hundredth of the time at most. */
const REST = { shortestMs: 1_000, longestMs: 60_000, timesDuration: 100 } as const;

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
  let restMs: number = REST.shortestMs;
  const keep = async (): Promise<void> => {
    const { settledVersion: version, edition } = cluster;
    if (!version || kept === edition) return;
    kept = edition;
    const image = { ...version, savedAt: clock.now(), config: config(), leases: cluster.leasesInUse };
    if (!(await memory.keep(image))) kept = undefined;
  };
  try {
    for (;;) {
      await clock.sleep(restMs, signal);
      const startedAt = clock.monotonic();
      await keep();
      const tookMs = clock.monotonic() - startedAt;
      restMs = Math.min(Math.max(REST.shortestMs, tookMs * REST.timesDuration), REST.longestMs);
    }
  } finally {
    // Written by whoever closes the memory.
    void keep();
  }
}
