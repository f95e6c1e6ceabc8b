/** The peers that the core knows: each by the key that others know it by, and by its number there. */
import { type Family, familyOf } from '../../config/address.ts';
import { addressWords, macWords, prefixWords } from './address-words.ts';
import { PEERS_MAX } from './core/layout.ts';
import type { PathPeer } from './path-peer.ts';
import type { CoreFunctions } from './script-core.ts';

/** Entries of the core's table that are one peer's: so many of everybody always find room. */
const ROOM_OF_ONE_PEER = 6;
/** A MAC and a source besides. A lease has one. */
const MOST_SUBNETS = ROOM_OF_ONE_PEER - 2;

interface Known {
  readonly number: number;
  readonly peer: PathPeer;
}

/** What a peer is reached by. */
interface Outer {
  readonly family: Family;
  readonly port: number;
}

export class PeerNumbers {
  readonly #core: CoreFunctions;
  readonly #known = new Map<string, Known>();
  readonly #refused = new Map<string, { readonly peer: PathPeer; readonly why: string }>();
  readonly #free: number[] = [];
  #used = 0;
  #outer: Outer = { family: 4, port: 0 };

  constructor(core: CoreFunctions) {
    this.#core = core;
  }

  /** Whom the core does not know, by key, and why. */
  get refused(): ReadonlyMap<string, string> {
    return new Map([...this.#refused].map(([key, { why }]) => [key, why]));
  }

  get size(): number {
    return this.#known.size;
  }

  /** Tells the core everything again, which has forgotten all of it. */
  restore(outer: Outer): void {
    const peers = [...this.#known].map(([key, { peer }]) => [key, peer] as const);
    const refused = [...this.#refused].map(([key, { peer }]) => [key, peer] as const);
    this.#known.clear();
    this.#refused.clear();
    this.#free.length = 0;
    this.#used = 0;
    this.#outer = outer;
    for (const [key, peer] of [...peers, ...refused]) this.set(key, peer);
  }

  /**
   * Why the core does not take it; it is then not known at all, not even as it was before. Of many sources it takes the
   * first ones, four where there is one subnet: a peer's public IP comes first.
   */
  set(key: string, peer: PathPeer): string | undefined {
    // Its room is its own: nobody else's who waits for some.
    this.#drop(key);
    const why = this.#objection(peer) ?? this.#add(key, peer);
    if (why !== undefined) this.#refused.set(key, { peer, why });
    return why;
  }

  remove(key: string): void {
    this.#drop(key);
    this.#placeRefused();
  }

  #drop(key: string): void {
    this.#refused.delete(key);
    const known = this.#known.get(key);
    if (known === undefined) return;
    this.#known.delete(key);
    this.#forget(known);
  }

  /** There is room again: as many as find some. */
  #placeRefused(): void {
    for (const [key, { peer }] of this.#refused) {
      if (this.#objection(peer) !== undefined) continue;
      if (this.#add(key, peer) !== undefined) return;
      this.#refused.delete(key);
    }
  }

  #objection({ endpoint, subnets }: PathPeer): string | undefined {
    if (familyOf(endpoint) !== this.#outer.family) return `${endpoint} is not IPv${this.#outer.family}`;
    if (subnets.length > MOST_SUBNETS) return `more than ${MOST_SUBNETS} subnets`;
    return undefined;
  }

  #add(key: string, peer: PathPeer): string | undefined {
    const number = this.#free.pop() ?? this.#unused();
    if (number === undefined) return `there is room for ${PEERS_MAX - 1} peers`;
    const known = {
      number,
      peer: { ...peer, sources: peer.sources.slice(0, ROOM_OF_ONE_PEER - 1 - peer.subnets.length) },
    };
    this.#tell(known);
    this.#known.set(key, known);
    return undefined;
  }

  /** Number 0 is nobody's. */
  #unused(): number | undefined {
    return this.#used + 1 < PEERS_MAX ? ++this.#used : undefined;
  }

  #tell({ number, peer: { endpoint, subnets, sources, mac } }: Known): void {
    const core = this.#core;
    core.setEndpoint(number, familyOf(endpoint), this.#outer.port, ...addressWords(endpoint));
    for (const subnet of subnets) core.addSubnet(number, ...prefixWords(subnet));
    for (const source of sources) core.addSource(number, familyOf(source), ...addressWords(source));
    if (mac !== undefined) core.addMac(number, ...macWords(mac));
  }

  #forget({ number, peer: { subnets, sources, mac } }: Known): void {
    for (const subnet of subnets) this.#core.removeSubnet(number, ...prefixWords(subnet));
    for (const source of sources) this.#core.removeSource(number, familyOf(source), ...addressWords(source));
    if (mac !== undefined) this.#core.removeMac(number, ...macWords(mac));
    this.#free.push(number);
  }
}
