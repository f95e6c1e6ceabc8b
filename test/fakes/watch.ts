import type { KeyRange, StoreEvent, WatchEnd, WatchHandler } from '../../leases/store.ts';
import type { FakeEtcd } from './etcd.ts';

const BATCH = 10;

/** One watch: everything up to now is queued in the moment it happens, and delivered a little later. */
export class FakeWatch {
  readonly #etcd: FakeEtcd;
  readonly #range: KeyRange;
  readonly #handler: WatchHandler;
  readonly #onOver: () => void;
  #next: number;
  #queue: StoreEvent[] = [];
  #unsubscribe = (): void => {};
  #over = false;

  constructor(etcd: FakeEtcd, range: KeyRange, fromRevision: number, handler: WatchHandler, onOver: () => void) {
    this.#etcd = etcd;
    this.#range = range;
    this.#next = fromRevision;
    this.#handler = handler;
    this.#onOver = onOver;
  }

  open(trouble: Error | undefined): void {
    if (this.#over) return;
    if (trouble === undefined) this.#begin();
    else this.end(trouble.message);
  }

  progress(): void {
    if (this.#over || this.#queue.length > 0 || this.#next <= this.#etcd.version.revision) return;
    this.#handler.onEvents([], this.#etcd.version);
  }

  /** Undelivered events are lost with the stream. */
  end(reason: string, { compacted = false, renewed = false }: Partial<WatchEnd> = {}): void {
    if (this.#over) return;
    this.stop();
    this.#handler.onEnd({ compacted, renewed, reason });
  }

  stop(): void {
    this.#over = true;
    this.#queue = [];
    this.#unsubscribe();
    this.#onOver();
  }

  #begin(): void {
    this.#handler.onCreated(this.#etcd.version);
    if (this.#over) return;
    if (this.#etcd.since(this.#range, this.#next) === undefined) {
      this.end('compacted', { compacted: true });
      return;
    }
    this.#unsubscribe = this.#etcd.subscribe((change) => {
      if (change === 'restored') this.end('the server went away');
      else this.#take();
    });
    this.#take();
  }

  #take(): void {
    const idle = this.#queue.length === 0;
    this.#queue.push(...(this.#etcd.since(this.#range, this.#next) ?? []));
    this.#next = Math.max(this.#next, this.#etcd.version.revision + 1);
    if (idle && this.#queue.length > 0) queueMicrotask(() => this.#deliver());
  }

  /** A few revisions at a time; one is never split. */
  #deliver(): void {
    const revision = [...new Set(this.#queue.map(revisionOf))].slice(0, BATCH).at(-1);
    if (this.#over || revision === undefined) return;
    const count = this.#queue.filter((event) => revisionOf(event) <= revision).length;
    const events = this.#queue.splice(0, count);
    if (this.#queue.length > 0) queueMicrotask(() => this.#deliver());
    this.#handler.onEvents(events, { clusterId: this.#etcd.version.clusterId, revision });
  }
}

export function revisionOf(event: StoreEvent): number {
  return event.type === 'put' ? event.kv.modRevision : event.modRevision;
}
