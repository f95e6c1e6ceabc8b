/** What the kernel should hold: our device's objects and every peer's, kept up to date peer by peer. */
import type { Ip } from '../config/address.ts';
import type { PeerChange } from '../leases/directory.ts';
import type { StoredLease } from '../leases/lease.ts';
import type { Backend, PeerContext } from './backend.ts';
import type { NexthopIds } from './nexthop-ids.ts';
import { type KernelObject, keyOf } from './state.ts';

interface Peer {
  readonly lease: StoredLease;
  readonly objects: readonly KernelObject[];
}

export class DesiredState {
  #backend: Backend;
  readonly #ids: NexthopIds | undefined;
  readonly #context: PeerContext;
  readonly #objects = new Map<string, KernelObject>();
  readonly #peers = new Map<string, Peer>();
  #device: readonly KernelObject[] = [];
  #changed = new Set<string>();

  /** `ids` undefined: plain routes. `isForeign`: whether somebody else's nexthop is known to stand at an id. */
  constructor(
    backend: Backend,
    ids: NexthopIds | undefined,
    isOnLink: (ip: Ip) => boolean,
    isForeign: (id: number) => boolean = () => false,
  ) {
    this.#backend = backend;
    this.#ids = ids;
    this.#context = { isOnLink, nexthopId: ids && ((gateway, dev) => idBesides(ids, isForeign, gateway, dev)) };
  }

  get objects(): ReadonlyMap<string, KernelObject> {
    return this.#objects;
  }

  /** What the peers are reached by, of both families. */
  publicIps(): Set<Ip> {
    return new Set(Array.from(this.#peers.values(), ({ lease }) => publicIpsOf(lease)).flat());
  }

  /** The keys whose object changed since the last call. */
  takeChanged(): Set<string> {
    const changed = this.#changed;
    this.#changed = new Set();
    return changed;
  }

  /** Peers are reached otherwise from now on: all are computed again. */
  setBackend(backend: Backend): void {
    this.#backend = backend;
    this.recompute(() => true);
  }

  setDevice(objects: readonly KernelObject[]): void {
    this.#drop(this.#device);
    this.#add(objects);
    this.#device = objects;
  }

  /**
   * Of several changes with one key the last counts. All departures first: a MAC or a subnet may pass from one lease to
   * another within one batch.
   */
  update(changes: readonly Pick<PeerChange, 'key' | 'after'>[]): void {
    const last = new Map(changes.map(({ key, after }) => [key, after]));
    for (const key of last.keys()) {
      this.#drop(this.#peers.get(key)?.objects ?? []);
      this.#peers.delete(key);
    }
    for (const [key, lease] of last) {
      if (!lease) continue;
      const state = this.#backend.peer(lease, this.#context);
      const objects = 'objects' in state ? state.objects : [];
      this.#peers.set(key, { lease, objects });
      this.#add(objects);
    }
  }

  /** Computes some peers again, whose leases are as they were but whose surroundings changed. */
  recompute(concerns: (lease: StoredLease, objects: readonly KernelObject[]) => boolean): void {
    const concerned = [...this.#peers].filter(([, peer]) => concerns(peer.lease, peer.objects));
    this.update(concerned.map(([key, { lease }]) => ({ key, after: lease })));
  }

  #add(objects: readonly KernelObject[]): void {
    for (const object of objects) {
      const key = keyOf(object);
      this.#changed.add(key);
      this.#objects.set(key, object);
    }
  }

  /** What another peer has put at the same key since stays. */
  #drop(objects: readonly KernelObject[]): void {
    for (const object of objects) {
      const key = keyOf(object);
      this.#changed.add(key);
      if (this.#objects.get(key) !== object) continue;
      this.#objects.delete(key);
      if (object.kind === 'nexthop') this.#ids?.release(object.gateway, object.dev);
    }
  }
}

function idBesides(ids: NexthopIds, isForeign: (id: number) => boolean, gateway: Ip, dev: string): number {
  let id = ids.idFor(gateway, dev);
  for (; isForeign(id); id = ids.idFor(gateway, dev)) ids.avoid(id);
  return id;
}

export function publicIpsOf({ publicIp, publicIp6 }: StoredLease): readonly Ip[] {
  return publicIp6 === undefined ? [publicIp] : [publicIp, publicIp6];
}
