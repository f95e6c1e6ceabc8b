import type { Clock } from '../config/clock.ts';
import type { Cluster } from './cluster.ts';
import type { Memory } from './memory.ts';

/** At most so often the leases are written down while they change … */
const REST_MS = 60_000;
/** … and after a rest, as soon as this after a change. */
const LOOK_MS = 5_000;

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
  const keep = async (): Promise<boolean> => {
    const { settledVersion: version, edition } = cluster;
    if (!version || kept === edition) return false;
    kept = edition;
    const image = { ...version, savedAt: clock.now(), config: config(), leases: cluster.leasesInUse };
    if (!(await memory.keep(image))) kept = undefined;
    return true;
  };
  try {
    for (;;) await clock.sleep((await keep()) ? REST_MS : LOOK_MS, signal);
  } finally {
    // Written by whoever closes the memory.
    void keep();
  }
}
