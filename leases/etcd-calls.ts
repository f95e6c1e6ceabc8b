/**
 * Calls to a cluster of several endpoints: which one is asked, when another is tried, and who we are.
 *
 * One endpoint is preferred until it fails. A call goes out only over a connection that stands, so a dead endpoint costs
 * waiting, never a lost answer; what may have reached etcd is sent again only if it changes nothing.
 */

import { TartanError } from '../config/errors.ts';
import type { CallFailure } from './etcd-failure.ts';
import {
  etcdError,
  isAnswer,
  isAuthDisabled,
  isStaleToken,
  isTransient,
  isUnexecuted,
  STATUS,
  toFailure,
  unavailable,
} from './etcd-failure.ts';
import type { Calls, Streams } from './etcd-messages.ts';

export interface RawStream<Request, Response> {
  write(request: Request): void;
  /** No more requests; answers may still come. */
  end(): void;
  cancel(): void;
  on(event: 'data', listener: (response: Response) => void): unknown;
  on(event: 'error', listener: (error: Error) => void): unknown;
  on(event: 'end', listener: () => void): unknown;
}

export interface CallOptions {
  /** Milliseconds since the epoch, as gRPC counts. */
  readonly deadline?: number;
  readonly token: string | undefined;
}

export type Outcome<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly failure: CallFailure };

/** One member of the cluster, connected to when first used. */
export interface Endpoint {
  /** For people; without credentials. */
  readonly url: string;
  /** Waits until the connection stands or has failed, at most until `deadline`. */
  settle(call: keyof Calls | keyof Streams, deadline: number): Promise<'ready' | 'failed' | 'connecting'>;
  unary<C extends keyof Calls>(
    call: C,
    request: Calls[C]['request'],
    options: CallOptions,
  ): Promise<Outcome<Calls[C]['response']>>;
  open<S extends keyof Streams>(
    stream: S,
    options: CallOptions,
  ): Promise<RawStream<Streams[S]['request'], Streams[S]['response']>>;
  /** Lets the connection go, with every byte that etcd has not got yet. */
  drop(): void;
  close(): void;
}

export interface Identity {
  readonly username: string;
  readonly password: string;
}

/** Those that change nothing, or nothing more when sent twice. */
const REPEATABLE: ReadonlySet<keyof Calls> = new Set(['range', 'leaseTimeToLive', 'leaseRevoke', 'authenticate']);

export class EtcdCalls {
  readonly urls: readonly string[];
  readonly deadlineMs: number;
  readonly #endpoints: readonly Endpoint[];
  readonly #identity: Identity | undefined;
  #preferred: Endpoint;
  #token: Promise<string | undefined> | undefined;

  constructor(endpoints: readonly Endpoint[], identity: Identity | undefined, deadlineMs: number) {
    this.#endpoints = endpoints;
    this.#identity = identity;
    this.deadlineMs = deadlineMs;
    this.urls = endpoints.map((endpoint) => endpoint.url);
    this.#preferred = at(endpoints, Math.floor(Math.random() * endpoints.length));
  }

  get hasIdentity(): boolean {
    return this.#identity !== undefined;
  }

  /** As `attempt`. @throws TartanError for every failure. */
  async unary<C extends keyof Calls>(call: C, request: Calls[C]['request']): Promise<Calls[C]['response']> {
    const outcome = await this.attempt(call, request);
    if (outcome.ok) return outcome.value;
    throw etcdError(outcome.failure, this.urls);
  }

  /** Logs in if need be, and once more where the token ran out meanwhile: etcd has then not looked at the request. */
  async attempt<C extends keyof Calls>(call: C, request: Calls[C]['request']): Promise<Outcome<Calls[C]['response']>> {
    const deadline = Date.now() + this.deadlineMs;
    const login = this.#login(deadline);
    const first = await this.#somewhere(call, request, { deadline, token: await login });
    if (first.ok || !this.hasIdentity || !isStaleToken(first.failure)) return first;
    if (this.#token === login) this.#token = undefined;
    return this.#somewhere(call, request, { deadline, token: await this.#login(deadline) });
  }

  /** Opens a stream at the first endpoint that is connected; `deadline` bounds the stream's whole life. */
  async open<S extends keyof Streams>(
    stream: S,
    options: { readonly deadline?: number } = {},
  ): Promise<RawStream<Streams[S]['request'], Streams[S]['response']>> {
    const deadline = options.deadline ?? Date.now() + this.deadlineMs;
    const token = await this.#login(deadline);
    const endpoint = await this.#connected(stream, deadline);
    const opened = await endpoint.open(stream, { ...options, token });
    opened.on('error', (error) => {
      if (isTransient(toFailure(error, true))) this.#leave(endpoint);
    });
    return opened;
  }

  reconnect(): void {
    for (const endpoint of this.#endpoints) endpoint.drop();
  }

  close(): void {
    for (const endpoint of this.#endpoints) endpoint.close();
  }

  #login(deadline: number): Promise<string | undefined> {
    if (this.#identity === undefined) return Promise.resolve(undefined);
    if (this.#token !== undefined) return this.#token;
    const login = this.#authenticate(this.#identity, deadline);
    this.#token = login;
    login.catch(() => {
      if (this.#token === login) this.#token = undefined;
    });
    return login;
  }

  async #authenticate(identity: Identity, deadline: number): Promise<string | undefined> {
    const request = { name: identity.username, password: identity.password };
    const outcome = await this.#somewhere('authenticate', request, { deadline, token: undefined });
    if (outcome.ok) return outcome.value.token;
    if (isAuthDisabled(outcome.failure)) return undefined;
    throw etcdError(outcome.failure, this.urls);
  }

  async #somewhere<C extends keyof Calls>(
    call: C,
    request: Calls[C]['request'],
    options: { readonly deadline: number; readonly token: string | undefined },
  ): Promise<Outcome<Calls[C]['response']>> {
    const others = this.#candidates();
    let outcome: Outcome<Calls[C]['response']> = notConnected();
    for (let endpoint = others.shift(); endpoint !== undefined; endpoint = others.shift()) {
      const until = share(options.deadline, others.length);
      const whole = others.length === 0 || !REPEATABLE.has(call);
      outcome = await this.#at(
        endpoint,
        call,
        request,
        { ...options, deadline: whole ? options.deadline : until },
        until,
      );
      if (outcome.ok || !isTransient(outcome.failure)) return this.#stay(endpoint, outcome);
      this.#leave(endpoint);
      if (!REPEATABLE.has(call) && !isUnexecuted(outcome.failure)) return this.#giveUp(endpoint, outcome);
    }
    return outcome;
  }

  async #at<C extends keyof Calls>(
    endpoint: Endpoint,
    call: C,
    request: Calls[C]['request'],
    options: CallOptions,
    until: number,
  ): Promise<Outcome<Calls[C]['response']>> {
    const state = await endpoint.settle(call, until);
    if (state === 'connecting') return notConnected();
    const outcome = await endpoint.unary(call, request, options);
    if (outcome.ok || state === 'ready') return outcome;
    return { ok: false, failure: { ...outcome.failure, sent: false } };
  }

  async #connected(stream: keyof Streams, deadline: number): Promise<Endpoint> {
    const others = this.#candidates();
    let failed: Endpoint | undefined;
    for (let endpoint = others.shift(); endpoint !== undefined; endpoint = others.shift()) {
      const state = await endpoint.settle(stream, share(deadline, others.length));
      if (state === 'ready') return this.#stay(endpoint, endpoint);
      this.#leave(endpoint);
      if (state === 'failed') failed ??= endpoint;
    }
    // The stream over a failed connection ends at once and says why it failed.
    if (failed !== undefined) return failed;
    throw unavailable(this.urls, 'no connection in time');
  }

  /** The preferred endpoint, then those after it. */
  #candidates(): Endpoint[] {
    const start = this.#endpoints.indexOf(this.#preferred);
    return [...this.#endpoints.slice(start), ...this.#endpoints.slice(0, start)];
  }

  #stay<T>(endpoint: Endpoint, result: T): T {
    this.#preferred = endpoint;
    return result;
  }

  /** What is still on its way must not be carried out when nobody expects it any more. */
  #giveUp<T>(endpoint: Endpoint, outcome: { readonly ok: false; readonly failure: CallFailure }): Outcome<T> {
    if (!isAnswer(outcome.failure)) endpoint.drop();
    return outcome;
  }

  #leave(endpoint: Endpoint): void {
    if (this.#preferred !== endpoint) return;
    const index = this.#endpoints.indexOf(endpoint);
    this.#preferred = at(this.#endpoints, index + 1);
  }
}

function at(endpoints: readonly Endpoint[], index: number): Endpoint {
  const endpoint = endpoints[index % endpoints.length];
  if (endpoint === undefined) throw new TartanError('USAGE', 'No etcd endpoint is given');
  return endpoint;
}

/** Half of the time that is left, as long as there are others to try. */
function share(deadline: number, others: number): number {
  const now = Date.now();
  return others === 0 ? deadline : now + Math.max(0, deadline - now) / 2;
}

function notConnected(): { readonly ok: false; readonly failure: CallFailure } {
  return { ok: false, failure: { status: STATUS.DEADLINE_EXCEEDED, details: 'no connection in time', sent: false } };
}
