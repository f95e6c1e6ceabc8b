import { setTimeout as sleep } from 'node:timers/promises';
import { TartanError } from '../../config/errors.ts';

const RETRY_MS = 500;

/** Where many agents share a machine etcd may seem away to one of them: it tries again, as an agent does. */
export async function untilAnswered<T>(work: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof TartanError) || error.code !== 'ETCD_UNAVAILABLE') throw error;
      await sleep(RETRY_MS);
    }
  }
}
