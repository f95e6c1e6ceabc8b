/**
 * The peer filter of one VXLAN device: datagrams to our port with our VNI whose source no live lease names are dropped and
 * counted. Keeps its nftables table (peer-filter-script.ts) as the leases say, whatever happened meanwhile.
 *
 *   leases change ──────────────► elements, one script for all that came meanwhile ──┐
 *   every look: nft list ──► strangers judged; what others changed ──────────────────┼──► nft -f -, atomic
 *   every 20 s ───────────────────► the port's guard renewed ────────────────────────┘
 *
 * One pass after the other. Nothing is written before mode and peers are known: an empty set would drop everything.
 */
import type { Ip } from '../../config/address.ts';
import type { Clock } from '../../config/clock.ts';
import { toError } from '../../config/errors.ts';
import type { Log } from '../../config/log.ts';
import { Wakeup } from '../../config/wakeup.ts';
import type { WatchRuleset } from '../kernel/ruleset-monitor.ts';
import { Troubles } from '../trouble.ts';
import { type FilterPeer, NamedPeers } from './named-peers.ts';
import { type Elements, type Listing, readListing, readStranger } from './peer-filter-listing.ts';
import {
  type GuardedDevice,
  peerFilterName,
  peerFilterTable,
  STRANGERS_KEPT,
  toleratedElement,
} from './peer-filter-script.ts';
import { COUNTED, PeerFilterTable, type PeerFilterWanted } from './peer-filter-table.ts';
import type { Outcome, Programs } from './programs.ts';
import { type Sighting, type Stranger, Strangers } from './strangers.ts';

const RENEW_MS = 20_000;
const ASKING_MS = 1_000;
/** How soon after another one a change that the kernel tells is looked at. */
const SPACING_MS = 1_000;
/** Who sends to us is no change that the kernel tells. */
const TOLD_LOOK_MS = 5_000;
/** Nor how many packets were counted: for this alone the whole table is read where nothing else asks for it. */
const TOLD_WHOLE_LOOK_MS = 30_000;
/** What a look at the whole table costs grows with the peers: so long, for each of them, until the next. */
const REST_MS = { usual: 5, asking: 0.4 } as const;
const TABLE = 'table';
const NO_NFT = 'there is no program nft';

export type PeerFilterMode = 'enforce' | 'report' | 'off';

export interface PeerFilterWish {
  readonly mode: PeerFilterMode;
  /** Wall clock, ms: until then `enforce` is `report`, since the device was adopted from a flanneld. */
  readonly reportUntil?: number | undefined;
}

export interface PeerFilterParts extends GuardedDevice {
  readonly programs: Programs;
  readonly clock: Clock;
  readonly log: Log;
  readonly resyncSeconds: number;
  /** Sends a datagram to an address inside the network, which a kernel answers. Never throws. */
  readonly probe: (ip: Ip) => void;
  readonly onChange?: WatchRuleset;
  /** Adds addresses to a set of a table of ours at once, where it can: who is new need not wait for nft. */
  readonly admit?: (table: string, set: string, ips: readonly Ip[]) => void;
}

export interface PeerFilterState {
  readonly mode: PeerFilterMode;
  /** What is in force; `off` too while the table could not be made. */
  readonly effective: PeerFilterMode;
  /** Why that is not what was asked for. */
  readonly why: string | undefined;
  /** Wall clock, ms: since when the table is as it should be. */
  readonly inPlaceSince: number | undefined;
  /** How many addresses are named. */
  readonly addresses: number;
  /** Since the agent's start. `passed`: of tolerated strangers. */
  readonly packets: { readonly dropped: number; readonly reported: number; readonly passed: number };
  readonly strangers: readonly Stranger[];
  /** Whether there were, at the last look, more strangers than the kernel keeps. */
  readonly hasMoreStrangers: boolean;
  /** How often others' changes were put right. */
  readonly repairs: number;
}

export class PeerFilter {
  readonly #parts: PeerFilterParts;
  readonly #table: string;
  readonly #peers: NamedPeers;
  readonly #strangers: Strangers;
  readonly #troubles: Troubles;
  readonly #doorbell = new Wakeup();
  #wish: PeerFilterWish | undefined;
  /** Monotonic clock, ms: the host's may be set meanwhile. */
  #reportsUntil = Number.NEGATIVE_INFINITY;
  #arePeersKnown = false;
  #pass: Promise<void> = Promise.resolve();
  readonly #inKernel: PeerFilterTable;
  #isRemoved = false;
  /** Monotonic clock, ms. */
  #renewedAt = Number.NEGATIVE_INFINITY;
  #lookAt = Number.NEGATIVE_INFINITY;
  #wholeLookAt = Number.NEGATIVE_INFINITY;
  #wholeLookedAt = Number.NEGATIVE_INFINITY;
  #isTold = false;
  #signal: AbortSignal | undefined;
  /** Changes of ours that the kernel has not told yet. */
  #untold = 0;
  #lacksNft = false;
  #hasTaken = false;
  #inPlaceSince: number | undefined;
  #hasMoreStrangers = false;
  #repairs = 0;
  #heard: Elements = new Map();
  readonly #counters = new Map<string, number>();
  readonly #packets = { dropped: 0, reported: 0, passed: 0 };

  constructor(parts: PeerFilterParts) {
    this.#parts = parts;
    this.#table = peerFilterTable(parts.device);
    this.#peers = new NamedPeers(parts.family);
    this.#strangers = new Strangers({ ...parts, peers: this.#peers });
    this.#troubles = new Troubles(parts.clock, 'nft monitor');
    this.#inKernel = new PeerFilterTable(parts);
  }

  /** Followed at once. */
  set(wish: PeerFilterWish): void {
    const { clock } = this.#parts;
    this.#wish = wish;
    this.#reportsUntil = clock.monotonic() + (wish.reportUntil ?? Number.NEGATIVE_INFINITY) - clock.now();
    this.#isRemoved = false;
    this.#doorbell.ring();
  }

  /** All peers; only what differs is written. */
  setPeers(peers: Iterable<FilterPeer>): void {
    const wanted = new Map(Array.from(peers, (peer) => [peer.key, peer]));
    const gone = [...this.#peers.keys].filter((key) => !wanted.has(key));
    this.#arePeersKnown = true;
    this.update([...gone.map((key) => [key, undefined] as const), ...wanted]);
  }

  /** Some peers by key; undefined: it is gone. Costs what changes. Before all are known, who is new is let in. */
  update(changes: Iterable<readonly [key: string, peer: FilterPeer | undefined]>): void {
    const fresh = new Set<Ip>();
    for (const [key, peer] of changes) {
      for (const ip of peer?.sources ?? []) if (!this.#peers.addresses.has(ip)) fresh.add(ip);
      this.#peers.set(key, peer);
    }
    this.#admit([...fresh].filter((ip) => this.#peers.addresses.has(ip)));
    this.#doorbell.ring();
  }

  /** Into the table of an earlier run too, where there is one. nft adds them as well, and looks whether they are there. */
  #admit(fresh: readonly Ip[]): void {
    const { admit, device } = this.#parts;
    if (!admit || fresh.length === 0 || this.#wish?.mode === 'off') return;
    if (this.#isTold && this.#inPlaceSince !== undefined) this.#untold += 1;
    admit(peerFilterName(device), 'peers', fresh);
  }

  /** One look at the whole table, and what is amiss put right. Never rejects: what fails is state. */
  look(): Promise<void> {
    this.#wholeLookAt = Number.NEGATIVE_INFINITY;
    this.#lookAt = Number.NEGATIVE_INFINITY;
    return this.#next();
  }

  /** Rejects with the signal's reason. */
  async run(signal: AbortSignal): Promise<never> {
    this.#signal = signal;
    const unwatch = this.#parts.onChange?.(() => this.#hear());
    this.#isTold = unwatch !== undefined;
    if (unwatch) signal.addEventListener('abort', unwatch, { once: true });
    for (;;) {
      signal.throwIfAborted();
      await this.#next();
      await this.#doorbell.wait(this.#idleMs(), this.#parts.clock, signal);
    }
  }

  /** For the operator: what could not be done or is fought over, and what to do. */
  problem(): string | undefined {
    if (this.#wish === undefined || this.#wish.mode === 'off') return undefined;
    const [trouble] = this.#troubles.list();
    if (!trouble) return undefined;
    const cure = this.#troubles.isRefused(TABLE) ? '; `--peer-filter=off` goes without it' : '';
    return `nftables table ${this.#table}: ${trouble.error}${cure}`;
  }

  state(): PeerFilterState {
    const mode = this.#wish?.mode ?? 'off';
    const effective = this.#inPlaceSince === undefined ? 'off' : this.#inKernel.drops ? 'enforce' : 'report';
    return {
      mode,
      effective,
      why: mode === effective ? undefined : this.#why(),
      inPlaceSince: this.#inPlaceSince,
      addresses: this.#peers.addresses.size,
      packets: { ...this.#packets },
      strangers: this.#strangers.list(),
      hasMoreStrangers: this.#hasMoreStrangers,
      repairs: this.#repairs,
    };
  }

  #why(): string {
    const until = this.#wish?.reportUntil;
    if (!this.#arePeersKnown) return 'not before etcd has told all peers';
    if (this.#lacksNft) return 'there is no nft: anybody can send to it; install nftables';
    if (this.#inPlaceSince === undefined) return this.problem() ?? 'it is being made';
    if (until !== undefined && this.#reportsUntil > this.#parts.clock.monotonic()) {
      return `adopted from a flanneld: nothing is dropped before ${new Date(until).toISOString()}`;
    }
    return 'it is being changed';
  }

  /** Somebody has changed nftables: where it was not we, the whole table is looked at, though not too often. */
  #hear(): void {
    if (this.#untold > 0) {
      this.#untold -= 1;
      return;
    }
    const restMs = Math.max(SPACING_MS, this.#peers.addresses.size * REST_MS.usual);
    this.#wholeLookAt = Math.min(this.#wholeLookAt, this.#wholeLookedAt + restMs);
    this.#lookAt = Math.min(this.#lookAt, this.#wholeLookAt);
    this.#doorbell.ring();
  }

  #next(): Promise<void> {
    this.#pass = this.#pass
      .then(() => this.#work())
      .catch((error: unknown) => {
        if (!this.#signal?.aborted) this.#refused(toError(error).message);
      });
    return this.#pass;
  }

  async #work(): Promise<void> {
    if (this.#wish?.mode === 'off') return await this.#remove();
    if (this.#wish === undefined || !this.#arePeersKnown) return;
    const listing = await this.#list();
    if (listing === 'no nft' || this.#troubles.isWaiting(TABLE)) return;
    const { lines, amiss } = this.#inKernel.plan(listing, this.#wanted());
    if (amiss !== undefined && !this.#mayRepair(amiss)) {
      this.#inPlaceSince = undefined;
      return this.#inKernel.forget();
    }
    await this.#write(lines);
  }

  /** @returns undefined where there was no need to look; 'absent' where there is no such table. */
  async #list(): Promise<Listing | 'absent' | 'no nft' | undefined> {
    const now = this.#parts.clock.monotonic();
    const isWhole = !this.#inKernel.isKnown || now >= this.#wholeLookAt;
    if (!isWhole && now < this.#lookAt) return undefined;
    if (!isWhole && (await this.#bringsNoNews())) {
      this.#lookAt = this.#parts.clock.monotonic() + this.#everyMs();
      return undefined;
    }
    return await this.#listAll();
  }

  /** Costs little, and tells of a table that is gone, and of peers that the kernel no longer knows. */
  async #bringsNoNews(): Promise<boolean> {
    const outcome = await this.#nft(['list', 'set', ...this.#table.split(' '), 'strangers']);
    return outcome?.ok === true && !this.#strangers.isNews(this.#sightings(readListing(outcome.stdout), 'strangers'));
  }

  async #listAll(): Promise<Listing | 'absent' | 'no nft'> {
    const outcome = await this.#nft(['list', 'table', ...this.#table.split(' ')]);
    this.#lacksNft = outcome === undefined;
    const listing = outcome?.ok ? readListing(outcome.stdout) : undefined;
    if (listing) this.#take(listing);
    else this.#begin();
    const now = this.#parts.clock.monotonic();
    // One that the kernel failed to tell must not hide another's change for ever.
    this.#untold = 0;
    this.#wholeLookedAt = now;
    this.#lookAt = now + this.#everyMs();
    const restMs = this.#isTold && !this.#strangers.isAsking ? TOLD_WHOLE_LOOK_MS : this.#everyMs();
    this.#wholeLookAt = now + Math.max(restMs, this.#peers.addresses.size * REST_MS.usual);
    if (outcome !== undefined) return listing ?? 'absent';
    this.#inPlaceSince = undefined;
    return 'no nft';
  }

  /** There is no table: what is counted in the next one begins at nothing. */
  #begin(): void {
    this.#hasTaken = true;
    this.#counters.clear();
  }

  #take(listing: Listing): void {
    const isFirst = !this.#hasTaken;
    this.#hasTaken = true;
    this.#heard = listing.sets.get('peers') ?? new Map();
    this.#count(listing, isFirst);
    const heard = (peer: FilterPeer): number => peer.sources.reduce((sum, ip) => sum + (this.#heard.get(ip) ?? 0), 0);
    const tolerated = this.#sightings(listing, 'tolerated');
    if (isFirst) this.#strangers.adopt(tolerated, heard);
    const strangers = this.#sightings(listing, 'strangers');
    this.#hasMoreStrangers = strangers.length >= STRANGERS_KEPT;
    this.#strangers.look([...tolerated, ...strangers], heard);
  }

  #sightings(listing: Listing, set: 'strangers' | 'tolerated'): Sighting[] {
    const found: Sighting[] = [];
    for (const [element, packets] of listing.sets.get(set) ?? []) {
      const [first = ''] = element.split('-');
      const stranger = readStranger(first, this.#parts.family);
      if (stranger) found.push({ ...stranger, packets });
    }
    return found;
  }

  #count({ counters }: Listing, isFirst: boolean): void {
    for (const name of COUNTED) {
      const now = counters.get(name) ?? 0;
      const before = isFirst ? now : (this.#counters.get(name) ?? 0);
      this.#packets[name] += now < before ? now : now - before;
      this.#counters.set(name, now);
    }
  }

  #wanted(): PeerFilterWanted {
    const { mode } = this.#wish ?? { mode: 'off' };
    const { clock } = this.#parts;
    return {
      drops: mode === 'enforce' && this.#reportsUntil <= clock.monotonic(),
      addresses: this.#peers.addresses,
      changed: this.#peers.takeChanged(),
      tolerated: new Set(this.#strangers.tolerated().map(({ source, subnet }) => toleratedElement(source, subnet))),
      renewsGuard: clock.monotonic() >= this.#renewedAt + RENEW_MS,
      forgetsStrangers: this.#hasMoreStrangers,
    };
  }

  #mayRepair(why: string): boolean {
    if (!this.#troubles.mayRepair(TABLE, why)) return false;
    this.#repairs += 1;
    this.#parts.log.warn('another program changed the peer filter: put right', { table: this.#table, why });
    return true;
  }

  async #write(lines: readonly string[]): Promise<void> {
    if (lines.length > 0) {
      if (this.#isTold) this.#untold += 1;
      const outcome = await this.#nft(['-f', '-'], `${lines.join('\n')}\n`);
      if (!outcome?.ok) {
        this.#untold = 0;
        return this.#refused(outcome?.failure ?? NO_NFT);
      }
      if (lines.some((line) => line.includes(' guarded { '))) this.#renewedAt = this.#parts.clock.monotonic();
    }
    this.#inKernel.settle();
    this.#inPlaceSince ??= this.#parts.clock.now();
    this.#troubles.settled(TABLE);
  }

  /** All is read again, and next time the table is made anew: what can't be changed can be replaced. */
  #refused(failure: string): void {
    const [detail = ''] = failure.split('\n', 1);
    const isNew = !this.#troubles.isRefused(TABLE);
    this.#troubles.refused(new Map([[TABLE, { errno: detail, detail: '' }]]));
    if (isNew) this.#parts.log.warn('the peer filter could not be written', { table: this.#table, detail });
    this.#inKernel.distrust();
    this.#inPlaceSince = undefined;
  }

  async #remove(): Promise<void> {
    if (this.#isRemoved) return;
    this.#isRemoved = true;
    this.#inKernel.gone();
    this.#inPlaceSince = undefined;
    this.#troubles.settled(TABLE);
    // Where there is none, nft says so, and that is what is wanted.
    await this.#nft(['delete', 'table', ...this.#table.split(' ')]);
  }

  #nft(args: readonly string[], input?: string): Promise<Outcome | undefined> {
    const options = { signal: this.#signal, ...(input !== undefined && { input }) };
    return this.#parts.programs.run('nft', args, options);
  }

  #everyMs(): number {
    if (this.#strangers.isAsking) return Math.max(ASKING_MS, this.#peers.addresses.size * REST_MS.asking);
    return this.#isTold ? TOLD_LOOK_MS : 0.8 * this.#parts.resyncSeconds * 1_000;
  }

  #idleMs(): number {
    const { clock } = this.#parts;
    if (this.#wish === undefined || this.#wish.mode === 'off' || !this.#arePeersKnown) return RENEW_MS;
    const now = clock.monotonic();
    const until = this.#reportsUntil - now;
    const next = Math.min(this.#lacksNft ? Number.POSITIVE_INFINITY : this.#renewedAt + RENEW_MS, this.#lookAt) - now;
    const wait = this.#troubles.size > 0 ? Math.max(this.#troubles.nextMs(), 100) : next;
    return Math.max(0, Math.min(wait, this.#everyMs(), until > 0 ? until : wait));
  }
}
