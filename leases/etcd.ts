/**
 * The only file that speaks gRPC (package etcd3). What had to be kept off:
 * - etcd3's own watcher loses events on a reconnect, its calls have no deadline, its pool picks a random endpoint per call
 *   and repeats transactions, and it repeats a call with a stale token without end. So each endpoint is a client of its
 *   own, without etcd3's policies, of which only the connection is used.
 * - grpc-js has no limit for connecting: a SYN that is lost blocks for as long as the kernel repeats it. An attempt that
 *   has hung for too long is thrown away; not earlier, since several calls wait for the same one.
 * - what was given up may still be sent later, see etcd-sockets.ts.
 * - etcd drops clients that ping more often than every 5 s.
 */
import { randomUUID, X509Certificate } from 'node:crypto';
import { noop } from 'cockatiel';
import type { ICallable, IOptions } from 'etcd3';
import { Etcd3 } from 'etcd3';
import { monotonicMs } from '../config/clock.ts';
import { TartanError, toError } from '../config/errors.ts';
import { ANSWERS } from './etcd-answers.ts';
import type { CallOptions, Endpoint, Identity, Outcome, RawStream } from './etcd-calls.ts';
import { EtcdCalls } from './etcd-calls.ts';
import { alterConnectors } from './etcd-connectors.ts';
import { refused, toFailure } from './etcd-failure.ts';
import type { Calls, Streams } from './etcd-messages.ts';
import { leaveOutAddress } from './etcd-server-name.ts';
import { EtcdSockets } from './etcd-sockets.ts';
import { EtcdStore } from './etcd-store.ts';
import type { Store } from './store.ts';

/** A store whose certificates may be changed while it is in use. */
export interface RenewableStore extends Store {
  /**
   * New connections are made with these; those that stand are replaced: calls under way end where they began, watches go
   * on where they were, etcd leases stay.
   * @throws TartanError ETCD_REFUSED for a certificate or key that is no PEM; all stays as it was.
   */
  renewTls(tls: EtcdTls): void;
}

/** PEM texts. A client certificate needs its key. */
export interface EtcdTls {
  /** Without one the system's roots are trusted. */
  readonly ca?: Buffer;
  readonly cert?: Buffer;
  readonly key?: Buffer;
}

export interface EtcdOptions {
  /** http or https URLs. */
  readonly endpoints: readonly string[];
  readonly tls?: EtcdTls;
  readonly username?: string;
  readonly password?: string;
  /** For every call, and for the answer to a ping; default 3000. */
  readonly deadlineMs?: number;
}

const SERVICE = {
  range: 'KV',
  txn: 'KV',
  leaseGrant: 'Lease',
  leaseRevoke: 'Lease',
  leaseTimeToLive: 'Lease',
  leaseKeepAlive: 'Lease',
  authenticate: 'Auth',
  watch: 'Watch',
} as const;

const CHANNEL_OPTIONS = {
  // A second more than etcd asks for: one ping that is held up and the next one that is not are closer to each other.
  'grpc.keepalive_time_ms': 6000,
  'grpc.keepalive_permit_without_calls': 1,
  'grpc.initial_reconnect_backoff_ms': 200,
  'grpc.max_reconnect_backoff_ms': 2000,
  'grpc.max_receive_message_length': -1,
  // An endpoint that was only tried while another failed is let go.
  'grpc.client_idle_timeout_ms': 60_000,
};

/** A SYN is repeated after one second, and then not before the third. */
const HANGS_MS = 2_500;

// grpc.connectivityState
const IDLE = 0;
const CONNECTING = 1;
const READY = 2;
const SHUTDOWN = 4;

type Reached = Parameters<Parameters<ICallable<unknown>['withConnection']>[1]>[0];
type Client = Reached['client'];
type Channel = ReturnType<Client['getChannel']>;
type Method = keyof typeof SERVICE;

/** What the client says of a method: how its requests are written. The answers are read here. */
interface Description {
  readonly path: string;
  readonly requestSerialize: (request: unknown) => Buffer;
}

/** A connection that is being made; `since`: monotonic clock, ms. */
interface Attempt {
  readonly since: number;
}

/** Opens the one thing of etcd3 that is needed: a gRPC client and its headers. */
class Link extends Etcd3 {
  constructor(options: IOptions, sockets: EtcdSockets) {
    super(options);
    alterConnectors(this.pool, (connector) => {
      leaveOutAddress(connector);
      sockets.follow(connector);
    });
  }

  reach(method: Method): Promise<Reached> {
    return this.pool.withConnection(SERVICE[method], (reached) => reached);
  }
}

class GrpcEndpoint implements Endpoint {
  readonly url: string;
  readonly #target: Target;
  readonly #clients = new Set<Client>();
  readonly #sockets = new EtcdSockets();
  #tls: EtcdTls;
  #link: Link;
  #attempt: Attempt | undefined;

  constructor(target: Target, tls: EtcdTls) {
    this.url = target.name;
    this.#target = target;
    this.#link = linkTo(target, tls, this.#sockets);
    this.#tls = tls;
  }

  drop(): void {
    this.#sockets.reset();
  }

  /**
   * @param graceMs by when every call that is under way has ended.
   * @returns what takes the new certificates into use; until then nothing has changed. Throws where they do not load.
   */
  prepare(tls: EtcdTls, graceMs: number): () => void {
    const link = linkTo(this.#target, tls, this.#sockets);
    return () => {
      const former = [...this.#clients];
      this.#link = link;
      this.#tls = tls;
      this.#attempt = undefined;
      const close = (): void => {
        for (const client of former) if (this.#clients.delete(client)) client.close();
      };
      setTimeout(close, graceMs).unref();
    };
  }

  close(): void {
    this.#link.close();
    this.#closeClients();
  }

  async settle(call: Method, deadline: number): Promise<'ready' | 'failed' | 'connecting'> {
    // The wall clock may be set meanwhile.
    const until = monotonicMs() + deadline - Date.now();
    const channel = (await this.#reach(call)).client.getChannel();
    for (;;) {
      const state = channel.getConnectivityState(true);
      if (state === READY) return 'ready';
      // Another call has thrown this attempt away; what comes next waits for a connection of its own.
      if (state === SHUTDOWN) return 'connecting';
      if (state !== IDLE && state !== CONNECTING) return 'failed';
      this.#note(channel, state);
      const leftMs = until - monotonicMs();
      if (leftMs <= 0) break;
      await new Promise<void>((resolve) => channel.watchConnectivityState(state, Date.now() + leftMs, () => resolve()));
    }
    if (this.#attempt && monotonicMs() - this.#attempt.since >= HANGS_MS) this.#reset();
    return 'connecting';
  }

  /** An attempt ends with its state, whether anybody waits for it or not: the next one has its own time. */
  #note(channel: Channel, state: number): void {
    if (this.#attempt) return;
    const attempt: Attempt = { since: monotonicMs() };
    this.#attempt = attempt;
    channel.watchConnectivityState(state, Number.POSITIVE_INFINITY, () => {
      if (this.#attempt === attempt) this.#attempt = undefined;
    });
  }

  async unary<C extends keyof Calls>(
    call: C,
    request: Calls[C]['request'],
    options: CallOptions,
  ): Promise<Outcome<Calls[C]['response']>> {
    try {
      const { client, metadata } = await this.#reach(call, options.token);
      const { path, requestSerialize } = descriptionOf(client, call);
      const read: (bytes: Buffer) => Calls[C]['response'] = ANSWERS[call];
      const value = await new Promise<Calls[C]['response']>((resolve, reject) => {
        client.makeUnaryRequest(path, requestSerialize, read, request, metadata, limitsOf(options), (error, answer) =>
          answer === undefined ? reject(error) : resolve(answer),
        );
      });
      return { ok: true, value };
    } catch (error) {
      return { ok: false, failure: toFailure(error, true) };
    }
  }

  async open<S extends keyof Streams>(
    stream: S,
    options: CallOptions,
  ): Promise<RawStream<Streams[S]['request'], Streams[S]['response']>> {
    const { client, metadata } = await this.#reach(stream, options.token);
    const { path, requestSerialize } = descriptionOf(client, stream);
    return client.makeBidiStreamRequest(path, requestSerialize, ANSWERS[stream], metadata, limitsOf(options));
  }

  async #reach(call: Method, token?: string): Promise<Reached> {
    const reached = await this.#link.reach(call);
    this.#clients.add(reached.client);
    // A member that has lost its leader says so at once instead of letting the call wait.
    reached.metadata.set('hasleader', 'true');
    if (token !== undefined) reached.metadata.set('token', token);
    return reached;
  }

  /** etcd3's own way of closing keeps a connection attempt alive that hangs. */
  #reset(): void {
    this.#attempt = undefined;
    this.#closeClients();
    this.#link = linkTo(this.#target, this.#tls, this.#sockets);
  }

  #closeClients(): void {
    for (const client of this.#clients) client.close();
    this.#clients.clear();
  }
}

function descriptionOf(client: Client, method: Method): Description {
  return Reflect.get(client, method) as Description;
}

function limitsOf({ deadline }: CallOptions): { readonly deadline?: number } {
  return deadline === undefined ? {} : { deadline };
}

/** One endpoint, as gRPC and people name it. */
interface Target {
  readonly url: URL;
  readonly host: string;
  readonly name: string;
  /** How long it may take to answer. */
  readonly deadlineMs: number;
}

function targetOf(text: string, deadlineMs: number): Target {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !['http:', 'https:'].includes(url.protocol) || url.hostname === '') {
    throw new TartanError('USAGE', 'An etcd endpoint must be a URL like https://192.0.2.1:2379');
  }
  const port = url.port === '' ? (url.protocol === 'https:' ? '443' : '80') : url.port;
  const host = `${url.hostname}:${port}`;
  return { url, host, name: `${url.protocol}//${host}`, deadlineMs };
}

/** TLS for https, and, as flannel does, for whatever URL where a client certificate and key are given. */
function credentialsOf(url: URL, tls: EtcdTls): IOptions['credentials'] {
  const pair =
    tls.cert !== undefined && tls.key !== undefined ? { certChain: tls.cert, privateKey: tls.key } : undefined;
  if (url.protocol !== 'https:' && pair === undefined) return undefined;
  // Node takes a CA that is none for an empty one, and then trusts nobody.
  if (tls.ca !== undefined) checkCertificate(tls.ca);
  // etcd3 declares the CA as required; gRPC takes null for the system's roots.
  return { rootCertificate: (tls.ca ?? null) as Buffer, ...pair };
}

/** Throws where it is no PEM. */
function checkCertificate(pem: Buffer): X509Certificate {
  return new X509Certificate(pem);
}

function linkTo({ url, host, name, deadlineMs }: Target, tls: EtcdTls, sockets: EtcdSockets): Link {
  try {
    const credentials = credentialsOf(url, tls);
    const options = {
      hosts: host,
      // gRPC gives channels that it takes for the same one connection, also those of two members that one name stands for.
      grpcOptions: { ...CHANNEL_OPTIONS, 'grpc.keepalive_timeout_ms': deadlineMs, 'tartan.link': randomUUID() },
      faultHandling: { host: () => noop, global: noop },
      ...(credentials === undefined ? {} : { credentials }),
    };
    return new Link(options, sockets);
  } catch (error) {
    throw refused('tls', [name], toError(error).message);
  }
}

class ConnectedStore extends EtcdStore implements RenewableStore {
  readonly #endpoints: readonly GrpcEndpoint[];
  readonly #deadlineMs: number;

  constructor(endpoints: readonly GrpcEndpoint[], identity: Identity | undefined, deadlineMs: number) {
    super(new EtcdCalls(endpoints, identity, deadlineMs));
    this.#endpoints = endpoints;
    this.#deadlineMs = deadlineMs;
  }

  renewTls(tls: EtcdTls): void {
    // What does not load for one endpoint is used for none: only https ones may need them.
    const prepared = this.#endpoints.map((endpoint) => endpoint.prepare(tls, this.#deadlineMs));
    for (const use of prepared) use();
    this.reopenWatches();
  }
}

/**
 * Connects lazily: nothing is sent before the first call.
 * @throws TartanError USAGE for an endpoint that is no http(s) URL; ETCD_REFUSED for a certificate or key that is no PEM.
 */
export function connectEtcd(options: EtcdOptions): RenewableStore {
  const tls = options.tls ?? {};
  const identity =
    options.username === undefined || options.username === ''
      ? undefined
      : { username: options.username, password: options.password ?? '' };
  const { deadlineMs = 3000 } = options;
  const endpoints = options.endpoints.map((text) => new GrpcEndpoint(targetOf(text, deadlineMs), tls));
  return new ConnectedStore(endpoints, identity, deadlineMs);
}
