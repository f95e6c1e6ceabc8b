/**
 * Which nexthop object a gateway has. An id's life:
 *
 *            idFor                     release                      freed
 *   (free) ─────────► in use ─────────────────────► quarantined ─────────► (free)
 *                       ▲                            │       ▲
 *                       └─────────── idFor ──────────┘       └── found in the kernel at start
 *                            same gateway and device
 *
 * An id is quarantined until the kernel has deleted the object: used again too soon it would lead the old gateway's
 * routes to the new one.
 */
import type { Ip } from '../config/address.ts';
import { TartanError } from '../config/errors.ts';
import { isOurs, isTartanId, NEXTHOP_IDS, type Ownership } from './ownership.ts';
import type { Nexthop, Observed } from './state.ts';

const RANGE_SIZE = NEXTHOP_IDS.last - NEXTHOP_IDS.first + 1;

export class NexthopIds {
  readonly #idOf = new Map<string, number>();
  /** Every id that a newcomer must not get, with the hop it belongs to; undefined: somebody else's. */
  readonly #taken = new Map<number, string | undefined>();
  readonly #inUse = new Set<number>();

  /**
   * @param found The kernel's nexthops. Ours keep their ids: that is what makes a restart change nothing.
   * @param allIds Ids of every nexthop of whatever kind and owner, so that none is hit.
   */
  constructor(found: readonly Observed<Nexthop>[], allIds: Iterable<number>, policy: Ownership) {
    for (const id of allIds) this.avoid(id);
    const ours = found.filter((observed) => isOurs(observed, policy)).map((observed) => observed.object);
    for (const { id, gateway, dev, onlink } of ours.sort((a, b) => a.id - b.id)) {
      const hop = hopKey(gateway, dev);
      if (onlink && !this.#idOf.has(hop)) this.#take(id, hop);
      else this.avoid(id);
    }
  }

  /** The ids that wanted objects have. */
  get inUse(): Iterable<number> {
    return this.#inUse;
  }

  /** The id of the (onlink) nexthop for the gateway; the same until it is freed. */
  idFor(gateway: Ip, dev: string): number {
    const hop = hopKey(gateway, dev);
    const id = this.#idOf.get(hop) ?? this.#freeId(hash(hop));
    this.#take(id, hop);
    this.#inUse.add(id);
    return id;
  }

  /**
   * The nexthop is no longer wanted. Its id stays quarantined until `freed`.
   * @returns the id, undefined where the gateway has none.
   */
  release(gateway: Ip, dev: string): number | undefined {
    const id = this.#idOf.get(hopKey(gateway, dev));
    if (id !== undefined) this.#inUse.delete(id);
    return id;
  }

  /** The kernel holds no object of this id any more. Of no effect while the id is in use (again). */
  freed(id: number): void {
    if (!this.#inUse.has(id)) this.#forget(id);
  }

  /** Somebody else's object stands at this id: its gateway gets another one from the next `idFor`. */
  avoid(id: number): void {
    if (!isTartanId(id)) return;
    this.#forget(id);
    this.#taken.set(id, undefined);
  }

  #take(id: number, hop: string): void {
    this.#idOf.set(hop, id);
    this.#taken.set(id, hop);
  }

  #forget(id: number): void {
    const hop = this.#taken.get(id);
    if (hop !== undefined) this.#idOf.delete(hop);
    this.#taken.delete(id);
    this.#inUse.delete(id);
  }

  /** The first free id from a place that the hop itself decides, so that a host without any objects gets the same. */
  #freeId(start: number): number {
    if (this.#taken.size >= RANGE_SIZE) throw new TartanError('INTERNAL', 'every nexthop id of the range is taken');
    let offset = start % RANGE_SIZE;
    while (this.#taken.has(NEXTHOP_IDS.first + offset)) offset = (offset + 1) % RANGE_SIZE;
    return NEXTHOP_IDS.first + offset;
  }
}

function hopKey(gateway: Ip, dev: string): string {
  return `${gateway} ${dev}`;
}

/** FNV-1a, 32 bits: spreads neighbouring gateways over the range. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193);
  return value >>> 0;
}
