/** Whom the live leases name: by address, and by the subnet that is theirs. A change costs what it is about. */
import { type Family, familyOf, type Ip, type Prefix, prefixLength, prefixOf } from '../../config/address.ts';
import type { StoredLease } from '../../leases/lease.ts';
import { leasePart, subnetOf } from '../lease-part.ts';

export interface FilterPeer {
  /** The lease's key. */
  readonly key: string;
  readonly subnet: Prefix;
  /** Where its datagrams come from, as it says itself: public IP, and another address where it published one. */
  readonly sources: readonly Ip[];
}

/** What one family of a lease names; undefined where it has none of that family. */
export function filterPeerOf(lease: StoredLease, family: Family): FilterPeer | undefined {
  const subnet = subnetOf(lease, family);
  const { publicIp } = leasePart(lease, family);
  if (subnet === undefined || publicIp === undefined) return undefined;
  return { key: lease.key, subnet, sources: [publicIp, ...(lease.sources ?? [])] };
}

export class NamedPeers {
  readonly #family: Family;
  readonly #peers = new Map<string, FilterPeer>();
  /** How many leases name an address. */
  readonly #sources = new Map<Ip, number>();
  readonly #subnets = new Map<Prefix, FilterPeer>();
  /** How many subnets have each length. */
  readonly #lengths = new Map<number, number>();
  /** Addresses that were named, or no longer are, since `takeChanged`. */
  #changed = new Set<Ip>();

  constructor(family: Family) {
    this.#family = family;
  }

  get addresses(): ReadonlyMap<Ip, number> {
    return this.#sources;
  }

  get keys(): Iterable<string> {
    return this.#peers.keys();
  }

  /** `peer` undefined: it is gone. What is of the other family is not of interest. */
  set(key: string, peer: FilterPeer | undefined): void {
    const before = this.#peers.get(key);
    if (before && peer && isSame(before, peer)) return;
    // The new address first: one that stays is never without a lease.
    if (peer && familyOf(peer.subnet) === this.#family) this.#add(peer);
    else this.#peers.delete(key);
    if (before) this.#remove(before);
  }

  takeChanged(): Iterable<Ip> {
    const changed = this.#changed;
    this.#changed = new Set();
    return changed;
  }

  get hasChanged(): boolean {
    return this.#changed.size > 0;
  }

  /** Whose subnet the address lies in. */
  holderOf(inner: Ip): FilterPeer | undefined {
    for (const length of this.#lengths.keys()) {
      const holder = this.#subnets.get(prefixOf(inner, length));
      if (holder) return holder;
    }
    return undefined;
  }

  get(key: string): FilterPeer | undefined {
    return this.#peers.get(key);
  }

  #add(peer: FilterPeer): void {
    this.#peers.set(peer.key, peer);
    this.#subnets.set(peer.subnet, peer);
    count(this.#lengths, prefixLength(peer.subnet), 1);
    for (const source of this.#own(peer)) if (count(this.#sources, source, 1) === 1) this.#changed.add(source);
  }

  #remove(peer: FilterPeer): void {
    if (this.#subnets.get(peer.subnet) === peer) this.#subnets.delete(peer.subnet);
    count(this.#lengths, prefixLength(peer.subnet), -1);
    for (const source of this.#own(peer)) if (count(this.#sources, source, -1) === 0) this.#changed.add(source);
  }

  #own({ sources }: FilterPeer): Iterable<Ip> {
    return new Set(sources.filter((source) => familyOf(source) === this.#family));
  }
}

function count<K>(counts: Map<K, number>, key: K, by: 1 | -1): number {
  const next = (counts.get(key) ?? 0) + by;
  if (next > 0) counts.set(key, next);
  else counts.delete(key);
  return next;
}

function isSame(a: FilterPeer, b: FilterPeer): boolean {
  return (
    a.subnet === b.subnet && a.sources.length === b.sources.length && a.sources.every((ip, i) => ip === b.sources[i])
  );
}
