/**
 * The data path of one device in user space, as the main thread sees it. Packets never come here: a worker thread moves
 * them between the device and a UDP socket. Both are opened here and lent to it, so that a worker which dies takes
 * nothing along; what the kernel has buffered waits for the next one.
 *
 *    settings, peers ──► DataPath ──messages, doorbell──► worker ──► device, socket
 *    state, problem  ◄──          ◄──counters, faults────
 */
import { closeSync } from 'node:fs';
import type { Ip } from '../../config/address.ts';
import { type Clock, within } from '../../config/clock.ts';
import { DATA_PATH_FEATURES, type DataPathFeature } from '../../config/data-path-features.ts';
import type { Log } from '../../config/log.ts';
import { Wakeup } from '../../config/wakeup.ts';
import type { KernelRefusal } from '../kernel/kernel.ts';
import { mayBatch, type OpenSocket, openPacketSocket, receiveDrops, sendTo } from '../kernel/packet-calls.ts';
import { type OpenTun, openTun, tunState } from '../kernel/tun.ts';
import type { FromWorker, PeerChange } from './assignment.ts';
import type { Refusals } from './loop-counts.ts';
import { PathEnd } from './path-end.ts';
import { isSamePeer, type PathPeer } from './path-peer.ts';
import type { PathSettings } from './path-settings.ts';
import { PathStrangers, type SeenStranger } from './path-strangers.ts';
import { PathTotals } from './path-totals.ts';
import { PathWorker } from './path-worker.ts';
import { Revival } from './revival.ts';

/** How often it is looked whether the device still is ours and the worker goes round. */
const WATCH_MS = 2_000;
/** So many looks without a sign of life: the worker is killed. */
const MISSED_BEATS = 3;
/** A worker that is told to stop finishes its batch. */
const STOPS_WITHIN_MS = 2_000;
/** Peers in one message: what is cloned at a time must not hold up the main thread. */
const PEERS_AT_ONCE = 500;

/** What a data path does, and how. */
export interface PathState {
  readonly device: string;
  /** Whether packets can cross once peers are known: device and socket are there, and a worker has them. */
  readonly isUp: boolean;
  /** undefined: no worker has begun yet. */
  readonly core: 'wasm' | 'js' | undefined;
  /** What is in use. */
  readonly features: readonly DataPathFeature[];
  /** By name, since `since`, over all workers. */
  readonly counters: Readonly<Record<string, number>>;
  /** Datagrams that came faster than they were taken, since the socket was opened. */
  readonly receiveDrops: number;
  readonly strangers: readonly SeenStranger[];
  /** Outer addresses that packets may come from. */
  readonly addresses: number;
  /** What the kernel refused to send or to take, by call and error: `send ENETUNREACH`. Of the worker that works now. */
  readonly refusals: Refusals;
  /** How many workers had to be started anew. */
  readonly restarts: number;
  /** Wall clock, ms. */
  readonly since: number;
}

interface Lent {
  readonly fd: number;
  /** From this assignment on the worker does not use it. */
  readonly until: number;
}

export class DataPath {
  readonly #log: Log;
  readonly #clock: Clock;
  /** What may be used. */
  readonly #features: ReadonlySet<DataPathFeature>;
  readonly #since: number;
  readonly #wakeup = new Wakeup();
  readonly #tun: PathEnd<PathSettings, OpenTun>;
  readonly #socket: PathEnd<PathSettings, OpenSocket>;
  readonly #revival: Revival;
  readonly #totals = new PathTotals();
  readonly #strangers: PathStrangers;
  #peers = new Map<string, PathPeer>();
  /** What the worker is still to be told. */
  #untold = new Map<string, PathPeer | undefined>();
  #isTelling = false;
  #arePeersKnown = false;
  /** Whether the worker that works now was told of all of them once. */
  #isTableWhole = false;
  #settings: PathSettings | undefined;
  #worker: PathWorker | undefined;
  #core: 'wasm' | 'js' | undefined;
  /** Of the worker that works now. */
  #hasBegun = false;
  #unplaced: string | undefined;
  #refusals: Refusals = {};
  #serial = 0;
  #lent: Lent[] = [];
  #watchAt = 0;
  #isClosed = false;

  /** @param without what is to be left out though the kernel may know it */
  constructor(parts: { readonly log: Log; readonly clock: Clock; readonly without?: ReadonlySet<DataPathFeature> }) {
    this.#log = parts.log;
    this.#clock = parts.clock;
    this.#features = allowed(parts.without ?? new Set());
    this.#since = parts.clock.now();
    this.#strangers = new PathStrangers(parts.clock);
    this.#revival = new Revival(parts.clock);
    const letGo = (fd: number): void => this.#letGo(fd);
    this.#tun = new PathEnd({
      keyOf: ({ device, encapsulation }) => `${device} ${encapsulation.kind}`,
      open: ({ device, encapsulation }) =>
        openTun(device, encapsulation.kind === 'vxlan' ? 2 : 3, this.#features.has('tun-offload')),
      letGo,
    });
    this.#socket = new PathEnd({
      keyOf: ({ local, port }) => `${local} ${port}`,
      open: ({ local, port }) => this.#openSocket(local, port),
      letGo,
    });
  }

  #openSocket(local: Ip, port: number): OpenSocket | KernelRefusal {
    const opened = openPacketSocket(local, port, { gro: this.#features.has('udp-gro') });
    return 'errno' in opened ? opened : { ...opened, gso: opened.gso && this.#features.has('udp-gso') };
  }

  /**
   * What is to be done from now on. What is missing is opened at once; what can't be, is tried again while `run` runs.
   * Never throws.
   */
  configure(settings: PathSettings): void {
    const isFirst = this.#settings === undefined;
    this.#settings = settings;
    this.#tun.hurry();
    this.#converge(true);
    if (isFirst) this.#watchAt = this.#clock.monotonic() + WATCH_MS;
    this.#wakeup.ring();
  }

  /** All peers, by any key that is theirs. Until it was called no packet is moved: what comes waits in the kernel. */
  setPeers(peers: ReadonlyMap<string, PathPeer>): void {
    for (const key of this.#peers.keys()) if (!peers.has(key)) this.#untold.set(key, undefined);
    for (const [key, peer] of peers) {
      const known = this.#peers.get(key);
      if (known === undefined || !isSamePeer(known, peer)) this.#untold.set(key, peer);
    }
    this.#peers = new Map(peers);
    this.#arePeersKnown = true;
    this.#tellPeers();
  }

  update(changes: PeerChange): void {
    for (const [key, peer] of changes) {
      if (peer) this.#peers.set(key, peer);
      else this.#peers.delete(key);
      this.#untold.set(key, peer);
    }
    this.#tellPeers();
  }

  /** A few at a time: the first ones at once, the others in later turns of the loop. */
  #tellPeers(): void {
    if (this.#isTelling || this.#worker === undefined) return;
    if (this.#untold.size === 0 && (this.#isTableWhole || !this.#arePeersKnown)) return;
    const changes: [string, PathPeer | undefined][] = [];
    for (const change of this.#untold) {
      if (changes.length === PEERS_AT_ONCE) break;
      changes.push(change);
      this.#untold.delete(change[0]);
    }
    this.#isTableWhole ||= this.#arePeersKnown && this.#untold.size === 0;
    this.#worker.tell({ kind: 'peers', changes, isWhole: this.#isTableWhole });
    if (this.#untold.size === 0) return;
    this.#isTelling = true;
    setImmediate(() => {
      this.#isTelling = false;
      this.#tellPeers();
    });
  }

  /** Keeps it so until the signal comes; rejects with its reason. */
  async run(signal: AbortSignal): Promise<never> {
    try {
      for (;;) {
        this.#watch();
        this.#converge(false);
        await this.#wakeup.wait(this.#restMs(), this.#clock, signal);
      }
    } finally {
      await this.close();
    }
  }

  #restMs(): number {
    const now = this.#clock.monotonic();
    const revival = this.#worker === undefined ? this.#revival.restMs() : Number.POSITIVE_INFINITY;
    return Math.max(0, Math.min(this.#tun.restMs(now), this.#socket.restMs(now), revival, this.#watchAt - now));
  }

  /** What nobody tells: the device has another name, or is another one by now; the worker goes round no more. */
  #watch(): void {
    const now = this.#clock.monotonic();
    if (now < this.#watchAt) return;
    this.#watchAt = now + WATCH_MS;
    const tun = this.#tun.got;
    if (tun && tunState(tun.fd)?.name !== this.#settings?.device) this.#dropDevice(tun.fd, 'another name');
    const missed = this.#worker?.missedBeats() ?? 0;
    if (missed >= MISSED_BEATS) void this.#worker?.kill(`gave no sign of life for ${missed * WATCH_MS} ms`);
  }

  #dropDevice(fd: number, why: string): void {
    if (!this.#tun.drop(fd)) return;
    this.#log.info('data path lost its device', { device: this.#settings?.device, why });
    this.#assign();
  }

  #converge(hasNewSettings: boolean): void {
    const settings = this.#settings;
    if (settings === undefined || this.#isClosed) return;
    const now = this.#clock.monotonic();
    const before = this.problem();
    const hasNewTun = this.#tun.converge(settings, now);
    const hasNewSocket = this.#socket.converge(settings, now);
    if (this.#worker === undefined) this.#startWorker(settings.device);
    else if (hasNewSettings || hasNewTun || hasNewSocket) this.#assign();
    this.#logChange(before);
  }

  #logChange(before: string | undefined): void {
    const problem = this.problem();
    if (problem === before) return;
    const { device } = this.#settings ?? {};
    if (problem === undefined) this.#log.info('data path is up', { device });
    else this.#log.warn('data path has a problem', { device, problem });
  }

  #startWorker(device: string): void {
    if (this.#revival.restMs() > 0) return;
    this.#revival.started();
    const worker = new PathWorker(device, this.#features, {
      heard: (message) => this.#heard(message),
      ended: (fault) => this.#ended(worker, fault),
    });
    this.#worker = worker;
    this.#hasBegun = false;
    this.#untold = new Map(this.#peers);
    this.#isTableWhole = false;
    this.#assign();
    this.#tellPeers();
  }

  #assign(): void {
    const settings = this.#settings;
    if (settings === undefined) return;
    this.#serial += 1;
    const assignment = { serial: this.#serial, settings, tun: this.#tun.got, socket: this.#socket.got };
    this.#worker?.tell({ kind: 'assign', assignment });
  }

  /** The next assignment does not name it. */
  #letGo(fd: number): void {
    if (this.#worker === undefined) closeSync(fd);
    else this.#lent.push({ fd, until: this.#serial + 1 });
  }

  #closeLent(until: number): void {
    for (const { fd } of this.#lent.filter((one) => one.until <= until)) closeSync(fd);
    this.#lent = this.#lent.filter((one) => one.until > until);
  }

  #heard(message: FromWorker): void {
    if (message.kind === 'assigned') {
      this.#closeLent(message.serial);
      this.#begun(message.core);
    } else if (message.kind === 'lost') {
      this.#dropDevice(message.fd, message.errno);
      this.#wakeup.ring();
    } else if (message.kind === 'gaveUp') {
      this.#giveUp(message);
    } else if (message.kind === 'strangers') {
      this.#strangers.saw(message.seen);
    } else if (message.kind === 'refusals') {
      this.#refusals = message.refusals;
    } else {
      this.#unplaced = message.peers === 0 ? undefined : `${message.peers} peers are left out: ${message.why}`;
    }
  }

  #begun(core: 'wasm' | 'js'): void {
    if (this.#hasBegun) return;
    this.#hasBegun = true;
    this.#core = core;
    const { device, features } = this.state();
    this.#log.info('packets are moved in user space', { device, core, features });
  }

  #giveUp({ feature, fd, errno }: Extract<FromWorker, { kind: 'gaveUp' }>): void {
    const { got } = this.#socket;
    if (got?.fd !== fd) return;
    this.#socket.amend({ ...got, gso: false });
    this.#log.warn('data path does without', { device: this.#settings?.device, feature, errno });
  }

  #ended(worker: PathWorker, fault: Error | undefined): void {
    this.#totals.add(worker.counters());
    this.#worker = undefined;
    // What it said was of itself alone.
    this.#core = undefined;
    this.#unplaced = undefined;
    this.#refusals = {};
    this.#closeLent(Number.POSITIVE_INFINITY);
    if (this.#isClosed) return;
    this.#revival.ended(fault ?? new Error('it was stopped'));
    this.#log.error('data path worker died, a new one is started', { device: this.#settings?.device, error: fault });
    this.#converge(false);
    this.#wakeup.ring();
  }

  /** What keeps packets from crossing, and what to do; undefined: nothing. */
  problem(): string | undefined {
    const settings = this.#settings;
    if (settings === undefined) return undefined;
    const problems = [
      this.#tun.refusal && deviceProblem(this.#tun.refusal, settings),
      this.#socket.refusal && socketProblem(this.#socket.refusal, settings),
      this.#revival.problem(),
      this.#unplaced,
    ].filter((one) => one !== undefined);
    return problems.length > 0 ? problems.join('; ') : undefined;
  }

  state(): PathState {
    const tun = this.#tun.got;
    const socket = this.#socket.got;
    const uses: Readonly<Record<DataPathFeature, boolean>> = {
      'tun-offload': tun?.offloads.tcp === true,
      'udp-gso': socket?.gso === true,
      'udp-gro': socket?.gro === true,
      wasm: this.#core === 'wasm',
      batches: this.#features.has('batches'),
    };
    return {
      device: this.#settings?.device ?? '',
      isUp: tun !== undefined && socket !== undefined && this.#core !== undefined,
      core: this.#core,
      features: DATA_PATH_FEATURES.filter((one) => uses[one]),
      counters: this.#totals.with(this.#worker?.counters()),
      receiveDrops: socket ? (receiveDrops(socket.fd) ?? 0) : 0,
      strangers: this.#strangers.list(),
      addresses: new Set([...this.#peers.values()].flatMap(({ sources }) => sources)).size,
      refusals: this.#refusals,
      restarts: this.#revival.restarts,
      since: this.#since,
    };
  }

  /**
   * One datagram from the path's own socket, to the port that all hosts share.
   * @returns the error's name where it was not taken, ENOTCONN where there is no socket
   */
  send(frame: Buffer, endpoint: Ip): string | undefined {
    const socket = this.#socket.got;
    if (socket === undefined || this.#settings === undefined) return 'ENOTCONN';
    return sendTo(socket.fd, frame, endpoint, this.#settings.port);
  }

  /** For good. Resolves when device and socket are given back. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const worker = this.#worker;
    if (worker !== undefined) {
      worker.stop();
      const hasEnded = await within(
        this.#clock,
        STOPS_WITHIN_MS,
        worker.ended.then(() => true),
      );
      if (hasEnded !== true) await worker.kill('did not stop');
    }
    this.#tun.drop();
    this.#socket.drop();
  }
}

/** Who handles packets one by one has no use for many at a time. */
function allowed(without: ReadonlySet<DataPathFeature>): ReadonlySet<DataPathFeature> {
  const batches = !without.has('batches') && mayBatch();
  const rest = DATA_PATH_FEATURES.filter((one) => !without.has(one));
  return new Set(batches ? rest : rest.filter((one) => one === 'wasm'));
}

function deviceProblem({ errno, detail }: KernelRefusal, { device }: PathSettings): string {
  return detail === '' ? `${device} can't be opened: ${errno}` : detail;
}

function socketProblem({ errno, detail }: KernelRefusal, { local, port }: PathSettings): string {
  if (errno === 'EADDRINUSE')
    return `UDP port ${port} of ${local} is taken, by another process or a vxlan device: see ss -ulpn and ip -d link show type vxlan`;
  if (errno === 'EADDRNOTAVAIL') return `${local} is no address of this host: UDP port ${port} can't be opened`;
  return `UDP port ${port} of ${local} can't be opened: ${detail || errno}`;
}
