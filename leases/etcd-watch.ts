import { toError } from '../config/errors.ts';
import type { EtcdCalls, RawStream } from './etcd-calls.ts';
import { toFailure } from './etcd-failure.ts';
import type { WatchRequest, WatchResponse } from './etcd-messages.ts';
import { rangeRequest } from './etcd-messages.ts';
import type { KeyRange, StoreEvent, StoreVersion, WatchEnd, WatchHandler } from './store.ts';

type WatchStream = RawStream<WatchRequest, WatchResponse>;

/**
 * One watch on one stream.
 *
 *   opening ──created──► created ──events, progress──► created ──┐
 *      │                    │                                    │
 *      └──── error, end, cancel, no answer in time, stop ────────┴──► ended
 */
export class EtcdWatch {
  readonly #calls: EtcdCalls;
  readonly #range: KeyRange;
  readonly #fromRevision: number;
  readonly #handler: WatchHandler;
  #stream: WatchStream | undefined;
  #ended = false;
  #opening: NodeJS.Timeout | undefined;
  #fragments: StoreEvent[] = [];

  constructor(calls: EtcdCalls, range: KeyRange, fromRevision: number, handler: WatchHandler) {
    this.#calls = calls;
    this.#range = range;
    this.#fromRevision = fromRevision;
    this.#handler = handler;
  }

  async run(closed: boolean): Promise<void> {
    try {
      // Never before the caller has got hold of the watch.
      await Promise.resolve();
      if (closed) this.end({ reason: 'closed' });
      else await this.#open();
    } catch (error) {
      this.end({ reason: toError(error).message });
    }
  }

  /** Ends it with a word to the handler; only the first time. */
  end({ reason, compacted = false, renewed = false }: Partial<WatchEnd> & { readonly reason: string }): void {
    if (this.#ended) return;
    this.stop();
    this.#handler.onEnd({ compacted, renewed, reason });
  }

  /** Ends it silently. */
  stop(): void {
    this.#ended = true;
    clearTimeout(this.#opening);
    this.#stream?.cancel();
    this.#fragments = [];
  }

  async #open(): Promise<void> {
    if (this.#calls.hasIdentity) await this.#refreshToken();
    if (this.#ended) return;
    this.#opening = setTimeout(() => this.end({ reason: 'the watch was not taken in time' }), this.#calls.deadlineMs);
    const stream = await this.#calls.open('watch');
    stream.on('error', (error) => this.end({ reason: toFailure(error, true).details }));
    stream.on('end', () => this.end({ reason: 'the stream ended' }));
    this.#stream = stream;
    if (this.#ended) {
      stream.cancel();
      return;
    }
    stream.on('data', (response) => this.#receive(response));
    stream.write({
      create_request: {
        ...rangeRequest(this.#range),
        start_revision: String(this.#fromRevision),
        progress_notify: true,
        fragment: true,
      },
    });
  }

  /** A watch with a token that ran out is cancelled, not refused; a read says it clearly, and renews the token. */
  async #refreshToken(): Promise<void> {
    await this.#calls.unary('range', { ...rangeRequest(this.#range), count_only: true });
  }

  #receive(response: WatchResponse): void {
    if (this.#ended) return;
    if (response.canceled) this.#canceled(response);
    else if (response.created) this.#created(response);
    else this.#collect(response);
  }

  #canceled({ compactRevision, cancelReason }: WatchResponse): void {
    const compacted = compactRevision !== 0;
    const reason = compacted ? `compacted at revision ${compactRevision}` : cancelReason;
    this.end({ reason: reason === '' ? 'cancelled by etcd' : reason, compacted });
  }

  #created({ version }: WatchResponse): void {
    clearTimeout(this.#opening);
    this.#handler.onCreated(version);
  }

  #collect({ version, events, fragment }: WatchResponse): void {
    if (!fragment && this.#fragments.length === 0) {
      this.#deliver(events, version);
      return;
    }
    for (const event of events) this.#fragments.push(event);
    if (fragment) return;
    const all = this.#fragments;
    this.#fragments = [];
    this.#deliver(all, version);
  }

  /** While a watch catches up, etcd says what revision the store has, which is ahead of what was delivered. */
  #deliver(events: readonly StoreEvent[], version: StoreVersion): void {
    const last = events.at(-1);
    const revision = last?.type === 'put' ? last.kv.modRevision : (last?.modRevision ?? version.revision);
    this.#handler.onEvents(events, { clusterId: version.clusterId, revision });
  }
}
