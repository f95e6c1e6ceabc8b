import { closeSync } from 'node:fs';
import { join } from 'node:path';
import { MessageChannel, type MessagePort, SHARE_ENV, Worker } from 'node:worker_threads';
import type { DataPathFeature } from '../../config/data-path-features.ts';
import { toError } from '../../config/errors.ts';
import { makeDoorbell, ringDoorbell } from '../kernel/packet-calls.ts';
import type { FromWorker, ToWorker, WorkerStart } from './assignment.ts';
import { PATH_COUNTERS } from './loop-counts.ts';
import { SharedPage } from './shared-page.ts';

/** Packets are no objects in there; peers are, and of those there may be 32,767. */
const LIMITS = { maxOldGenerationSizeMb: 64, maxYoungGenerationSizeMb: 2 };

/** Beside this file: as it is shipped, in one file with others, or as it is compiled. */
const PROGRAM = join(import.meta.dirname, import.meta.filename.endsWith('.cjs') ? 'data-path-worker.cjs' : 'worker.js');

interface Listener {
  /** Something that it says. */
  heard(message: FromWorker): void;
  /** It has ended, and uses no descriptor any more. @param fault undefined: it was told to. */
  ended(fault: Error | undefined): void;
}

/** One worker thread, as the main thread sees it. It waits in the kernel: whatever it is told, its doorbell is rung. */
export class PathWorker {
  readonly #worker: Worker;
  readonly #port: MessagePort;
  readonly #doorbell: number;
  readonly #page = new SharedPage(PATH_COUNTERS.length);
  /** Resolves when it uses no descriptor any more, after `ended` was called. */
  readonly ended: Promise<void>;
  readonly #ring = (): void => ringDoorbell(this.#doorbell);
  #fault: Error | undefined;
  #isStopping = false;
  #hasEnded = false;
  #beatsSeen = -1;
  #missedBeats = 0;

  constructor(device: string, features: ReadonlySet<DataPathFeature>, listener: Listener, program = PROGRAM) {
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    this.#doorbell = makeDoorbell();
    const start: WorkerStart = { port: port2, doorbell: this.#doorbell, page: this.#page.buffer, features };
    this.#worker = new Worker(program, {
      workerData: start,
      transferList: [port2],
      name: `data path ${device}`,
      resourceLimits: LIMITS,
      env: SHARE_ENV,
      execArgv: [],
    });
    port1.on('message', (message: FromWorker) => listener.heard(message));
    this.#worker.on('error', (error) => {
      this.#fault = toError(error);
    });
    this.ended = new Promise((resolve) => {
      this.#worker.on('exit', (status) => {
        this.#end();
        listener.ended(this.#isStopping ? undefined : (this.#fault ?? new Error(`ended with status ${status}`)));
        resolve();
      });
    });
    // Node waits for its threads, and this one may wait in the kernel.
    process.once('exit', this.#ring);
  }

  #end(): void {
    this.#hasEnded = true;
    process.removeListener('exit', this.#ring);
    this.#port.close();
    closeSync(this.#doorbell);
  }

  tell(message: ToWorker): void {
    if (this.#hasEnded) return;
    this.#port.postMessage(message);
    this.#page.announceMail();
    this.#ring();
  }

  stop(): void {
    this.#isStopping = true;
    this.tell({ kind: 'stop' });
  }

  /** In the order of PATH_COUNTERS. Those of a worker that has ended stay as they were. */
  counters(): Float64Array {
    return this.#page.counters();
  }

  /**
   * Wakes it, to see next time whether it went round.
   * @returns how many times in a row it had not since it was last woken
   */
  missedBeats(): number {
    if (this.#hasEnded) return 0;
    const beats = this.#page.beats();
    this.#missedBeats = beats === this.#beatsSeen ? this.#missedBeats + 1 : 0;
    this.#beatsSeen = beats;
    this.#ring();
    return this.#missedBeats;
  }

  /** It neither throws nor listens. Resolves as `ended`. */
  async kill(why: string): Promise<void> {
    this.#fault = new Error(why);
    if (this.#hasEnded) return;
    const terminated = this.#worker.terminate();
    this.#ring();
    await terminated;
  }
}
