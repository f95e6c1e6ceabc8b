/**
 * Who sends to our VXLAN device from an address that no live lease names: a peer that is behind NAT or has two ways, or
 * somebody who pretends to be one.
 *
 *   inner source in no lease ─────────────────────────────────────────────► unknown
 *   in a live lease's subnet ──► asked: the peer's own first address gets a datagram, which its kernel answers
 *                                  ├─ the peer is heard from an address that it names ──► spoofing ─┐ asked again
 *                                  └─ it is not ──► tolerated ──► heard after all ──────────┘  ◄────┘ after a minute
 *
 * All of this comes from the network and may be made up: what is kept, told and let through is limited in number.
 */
import { type Ip, networkAddress, type Prefix } from '../../config/address.ts';
import type { Clock } from '../../config/clock.ts';
import type { Log } from '../../config/log.ts';
import type { FilterPeer, NamedPeers } from './named-peers.ts';
import { StrangerLog } from './stranger-log.ts';

const PROBES = 2;
const PROBE_EVERY_MS = 1_000;
const ASK_AGAIN_MS = 60_000;
const FORGET_MS = 600_000;
/** A peer that speaks once an hour must not lose its first seconds each time. */
const FORGET_TOLERATED_MS = 86_400_000;
/**
 * From how many unnamed addresses one peer may come, and how many of them there may be in all. One that FORGET_MS have
 * passed without gives way.
 */
const TOLERATED = { perPeer: 8, inAll: 1_024 } as const;
const KEPT = 256;

export type Conclusion = 'tolerated' | 'spoofing' | 'unknown';
export type Verdict = 'asked' | Conclusion;

/** What is known of one who sends as `lease` from an address that no lease names. */
export interface StrangerFacts {
  /** Whether a live lease has the subnet that the inner source lies in. */
  readonly isLeased: boolean;
  /** Whether, since the first question, datagrams came from an address that the lease names. */
  readonly isHeard: boolean;
  /** How many questions were asked, and had time to be answered. */
  readonly probes: number;
  /** Whether there is room for another one to be tolerated. */
  readonly hasRoom: boolean;
}

export function judge({ isLeased, isHeard, probes, hasRoom }: StrangerFacts): Verdict {
  if (!isLeased) return 'unknown';
  if (isHeard) return 'spoofing';
  if (probes < PROBES) return 'asked';
  return hasRoom ? 'tolerated' : 'spoofing';
}

/** What the kernel's sets say. */
export interface Sighting {
  readonly source: Ip;
  readonly inner: Ip;
  /** Counted by the set's element. */
  readonly packets: number;
}

export interface Stranger {
  readonly source: Ip;
  /** The one seen last. */
  readonly inner: Ip;
  /** Key of the lease whose subnet that is. */
  readonly lease: string | undefined;
  readonly verdict: Verdict;
  /** Wall clock, ms. */
  readonly since: number;
  /** Wall clock, ms. */
  readonly seen: number;
  readonly packets: number;
}

interface Entry extends Stranger {
  /** Packets from the lease's named addresses when it was asked first. */
  readonly heardBefore: number;
  readonly probes: number;
  /** Monotonic clock, ms: of the last question or verdict. */
  readonly judgedAt: number;
  /** Monotonic clock, ms. */
  readonly seenAt: number;
}

export interface StrangersParts {
  readonly peers: NamedPeers;
  readonly clock: Clock;
  readonly log: Log;
  readonly device: string;
  readonly probe: (ip: Ip) => void;
}

export class Strangers {
  readonly #parts: StrangersParts;
  readonly #entries = new Map<string, Entry>();
  /** Packets by element, as last read. */
  #counted: ReadonlyMap<string, number> = new Map();
  /** Peers, in this look: many who pretend to be one make one question. */
  readonly #asked = new Set<string>();
  readonly #log: StrangerLog;

  constructor(parts: StrangersParts) {
    this.#parts = parts;
    this.#log = new StrangerLog(parts);
  }

  list(): Stranger[] {
    return [...this.#entries.values()];
  }

  /** Whether an answer is being waited for. */
  get isAsking(): boolean {
    return this.#verdicts('asked').length > 0;
  }

  /** Whether there is anything to be judged that the last look did not know. */
  isNews(seen: readonly Sighting[]): boolean {
    return this.isAsking || seen.some((sighting) => this.#counted.get(elementOf(sighting)) !== sighting.packets);
  }

  /** Who is let through, and for which subnet. */
  tolerated(): { source: Ip; subnet: Prefix }[] {
    return this.#verdicts('tolerated').flatMap(({ source, lease }) => {
      const subnet = lease === undefined ? undefined : this.#parts.peers.get(lease)?.subnet;
      return subnet === undefined ? [] : [{ source, subnet }];
    });
  }

  /** What an agent before this one let through, and still stands in the kernel. */
  adopt(tolerated: Iterable<{ source: Ip; inner: Ip }>, heard: (peer: FilterPeer) => number): void {
    for (const { source, inner } of tolerated) {
      const peer = this.#parts.peers.holderOf(inner);
      if (!peer || this.#parts.peers.addresses.has(source) || !this.#hasRoom(peer)) continue;
      this.#set({ ...this.#newcomer({ source, inner, packets: 0 }, peer, heard(peer)), verdict: 'tolerated' });
    }
  }

  /**
   * Judges by one reading of the kernel's sets. Elements of `seen` that have not grown were not seen again.
   * @param heard packets from the addresses that the peer names
   */
  look(seen: readonly Sighting[], heard: (peer: FilterPeer) => number): void {
    this.#asked.clear();
    this.#note(seen, heard);
    for (const entry of [...this.#entries.values()]) this.#judge(entry, heard);
  }

  #note(seen: readonly Sighting[], heard: (peer: FilterPeer) => number): void {
    const counted = new Map<string, number>();
    for (const sighting of seen) {
      const { source, inner, packets } = sighting;
      const element = elementOf(sighting);
      const before = this.#counted.get(element) ?? 0;
      counted.set(element, packets);
      const grown = packets < before ? packets : packets - before;
      if (grown === 0 || this.#parts.peers.addresses.has(source)) continue;
      const peer = this.#parts.peers.holderOf(inner);
      const known =
        this.#entries.get(keyOf(source, peer?.key)) ?? this.#newcomer(sighting, peer, peer ? heard(peer) : 0);
      const { clock } = this.#parts;
      const seenInner = known.verdict === 'tolerated' ? known.inner : inner;
      this.#set({
        ...known,
        inner: seenInner,
        packets: known.packets + grown,
        seen: clock.now(),
        seenAt: clock.monotonic(),
      });
    }
    this.#counted = counted;
  }

  #newcomer({ source, inner }: Sighting, peer: FilterPeer | undefined, heardBefore: number): Entry {
    const now = this.#parts.clock.now();
    const monotonic = this.#parts.clock.monotonic();
    return {
      source,
      inner,
      lease: peer?.key,
      verdict: peer ? 'asked' : 'unknown',
      since: now,
      seen: now,
      packets: 0,
      heardBefore,
      probes: 0,
      judgedAt: Number.NEGATIVE_INFINITY,
      seenAt: monotonic,
    };
  }

  #judge(entry: Entry, heard: (peer: FilterPeer) => number): void {
    const { peers, clock } = this.#parts;
    const peer = entry.lease === undefined ? undefined : peers.get(entry.lease);
    const now = clock.monotonic();
    const isOver = entry.lease !== undefined && (!peer || peers.holderOf(entry.inner) !== peer);
    const forgetMs = entry.verdict === 'tolerated' ? FORGET_TOLERATED_MS : FORGET_MS;
    if (isOver || peers.addresses.has(entry.source) || entry.seenAt <= now - forgetMs) {
      this.#entries.delete(keyOf(entry.source, entry.lease));
      return;
    }
    if (peer) this.#judgeOf(entry, peer, heard(peer));
    else this.#conclude(entry, 'unknown');
  }

  #judgeOf(entry: Entry, peer: FilterPeer, packets: number): void {
    const { heardBefore, probes, verdict: before, judgedAt } = entry;
    if (before === 'spoofing') {
      this.#doubt(entry, peer, packets);
      return;
    }
    if (before === 'asked' && this.#parts.clock.monotonic() - judgedAt < PROBE_EVERY_MS) return;
    // A counter that is lower than it was began anew.
    const isHeard = packets < heardBefore ? packets > 0 : packets > heardBefore;
    if (before === 'tolerated' && !isHeard) return;
    const verdict = judge({ isLeased: true, isHeard, probes, hasRoom: this.#hasRoom(peer) });
    if (verdict === 'asked') this.#ask(entry, peer);
    else {
      if (verdict === 'tolerated') this.#giveWay(peer);
      this.#conclude(entry, verdict);
    }
  }

  /** The peer may have moved behind a NAT since. */
  #doubt(entry: Entry, peer: FilterPeer, heardBefore: number): void {
    const { judgedAt, seenAt } = entry;
    if (this.#parts.clock.monotonic() - judgedAt < ASK_AGAIN_MS || seenAt < judgedAt) return;
    this.#ask({ ...entry, verdict: 'asked', probes: 0, heardBefore }, peer);
  }

  #ask(entry: Entry, peer: FilterPeer): void {
    this.#set({ ...entry, probes: entry.probes + 1, judgedAt: this.#parts.clock.monotonic() });
    if (this.#asked.has(peer.key)) return;
    this.#asked.add(peer.key);
    this.#parts.probe(networkAddress(peer.subnet));
  }

  #conclude(entry: Entry, verdict: Conclusion): void {
    this.#set({ ...entry, verdict, judgedAt: this.#parts.clock.monotonic() });
    this.#log.tell(entry, verdict);
  }

  #hasRoom(peer: FilterPeer): boolean {
    const since = this.#parts.clock.monotonic() - FORGET_MS;
    const tolerated = this.#verdicts('tolerated').filter(({ seenAt }) => seenAt > since);
    const ofPeer = tolerated.filter(({ lease }) => lease === peer.key);
    return tolerated.length < TOLERATED.inAll && ofPeer.length < TOLERATED.perPeer;
  }

  /** Where there are as many as there may be, there is one that has not been seen for long. */
  #giveWay(peer: FilterPeer): void {
    const tolerated = this.#verdicts('tolerated').sort((a, b) => a.seenAt - b.seenAt);
    const ofPeer = tolerated.filter(({ lease }) => lease === peer.key);
    const [eldest] = ofPeer.length >= TOLERATED.perPeer ? ofPeer : tolerated.length >= TOLERATED.inAll ? tolerated : [];
    if (eldest) this.#entries.delete(keyOf(eldest.source, eldest.lease));
  }

  #verdicts(verdict: Verdict): Entry[] {
    return [...this.#entries.values()].filter((entry) => entry.verdict === verdict);
  }

  #set(entry: Entry): void {
    const key = keyOf(entry.source, entry.lease);
    if (!this.#entries.has(key)) this.#makeRoom();
    this.#entries.set(key, entry);
  }

  #makeRoom(): void {
    const others = [...this.#entries].filter(([, { verdict }]) => verdict !== 'tolerated');
    const [eldest] = others;
    if (eldest && others.length >= KEPT) this.#entries.delete(eldest[0]);
  }
}

function elementOf({ source, inner }: Sighting): string {
  return `${source} ${inner}`;
}

function keyOf(source: Ip, lease: string | undefined): string {
  return `${source} ${lease ?? ''}`;
}
