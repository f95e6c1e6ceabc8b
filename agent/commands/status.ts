import { setTimeout as sleep } from 'node:timers/promises';
import { TartanError } from '../../config/errors.ts';
import type { Invocation } from '../../config/invocation.ts';
import { renderStatus } from '../status.ts';
import { readStatus } from '../status-socket.ts';

const POLL_MS = 200;

/** `tartan status`. @returns 0, or with --check the status of NOT_READY where something is amiss. */
export async function status({ options }: Invocation): Promise<number> {
  const found = await readStatus(options.statusSocket);
  process.stdout.write(options.json ? `${JSON.stringify(found, null, 2)}\n` : renderStatus(found, Date.now()));
  const good = found.ready && found.inStep;
  return options.check && !good ? new TartanError('NOT_READY', '').exitStatus : 0;
}

/** `tartan wait`: until the agent is ready. Rejects with NOT_READY when the time is over, PERMISSION where waiting can't help. */
export async function wait({ options }: Invocation): Promise<number> {
  const deadline = options.timeout === 0 ? Number.POSITIVE_INFINITY : Date.now() + options.timeout * 1000;
  for (;;) {
    let reason: string;
    try {
      const found = await readStatus(options.statusSocket);
      if (found.ready) return 0;
      reason = [found.phase, ...found.problems].join('; ');
    } catch (error) {
      if (!(error instanceof TartanError) || error.code !== 'NOT_RUNNING') throw error;
      reason = error.message;
    }
    if (Date.now() >= deadline) {
      throw new TartanError('NOT_READY', `the agent is not ready after ${options.timeout} s: ${reason}`);
    }
    await sleep(POLL_MS);
  }
}
