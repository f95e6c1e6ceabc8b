import type { Clock } from '../config/clock.ts';
import type { Log } from '../config/log.ts';
import type { Holder } from '../leases/holder.ts';
import type { AgentStatus } from './agent-status.ts';

const LOOK_MS = { least: 1_000, most: 60_000 } as const;

interface ExpiryContext {
  readonly clock: Clock;
  readonly log: Log;
  readonly status: AgentStatus;
}

/** An agent whose lease has run out goes on; that this is no longer safe must not be overlooked. */
export async function watchExpiry(
  { clock, log, status }: ExpiryContext,
  holder: Holder,
  signal: AbortSignal,
): Promise<never> {
  for (let wasTold = false; ; ) {
    const left = holder.held.expiresAt - clock.now();
    if (left <= 0 && !wasTold) {
      const { subnet, expiresAt } = holder.held;
      log.error('the lease has run out unrenewed: another host may take the subnet', {
        ...{ subnet, expiredAt: new Date(expiresAt).toISOString(), why: holder.failing?.error },
      });
      status.announce();
    }
    wasTold = left <= 0;
    await clock.sleep(Math.min(Math.max(left, LOOK_MS.least), LOOK_MS.most), signal);
  }
}
