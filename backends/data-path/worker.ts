/** The worker thread's program: packets between a device and a socket until the main thread says stop. */
import { workerData } from 'node:worker_threads';
import { addressOf } from '../kernel/libc.ts';
import type { WorkerStart } from './assignment.ts';
import { BatchedPath } from './batched-path.ts';
import { openPacketCore, shippedPacketCore } from './packet-core.ts';
import { PlainPath } from './plain-path.ts';
import { WorkerInbox } from './worker-inbox.ts';

const start: WorkerStart = workerData;

async function work(): Promise<void> {
  const core = await openPacketCore(start.features.has('wasm') ? shippedPacketCore() : undefined);
  if (start.features.has('batches')) {
    const base = addressOf(new Uint8Array(core.memory));
    new BatchedPath(new WorkerInbox(start, core, base), start.doorbell, Number(base)).run();
  } else {
    // It reads pointers itself, as offsets.
    await new PlainPath(new WorkerInbox(start, core, 0n), start.doorbell).run();
  }
  start.port.close();
}

void work();
