/** alloc: holds a subnet for this host and leaves the packets to somebody else. No device, no routes. */
import { type Family, ipFromBigInt, type Mac } from '../../config/address.ts';
import type { JsonObject } from '../../config/go-json.ts';
import type { LeaseAttributes } from '../../leases/lease.ts';
import type { Backend, PeerClaim, PeerState, Underlay } from '../backend.ts';
import type { BackendResult, Families } from '../backend-config.ts';
import { enabledFamilies } from '../lease-part.ts';
import type { Address, Link } from '../state.ts';

/** The backend of type `alloc`. It has no options. */
export function createAlloc(_backend: JsonObject, families: Families, underlay: Underlay): BackendResult {
  return { ok: true, backend: new Alloc(families, underlay) };
}

class Alloc implements Backend {
  readonly type = 'alloc';
  readonly mtuBytes: number;
  readonly devices: readonly string[] = [];
  readonly hasMacs = false;
  readonly directRouting = false;
  readonly #families: readonly Family[];
  readonly #underlay: Underlay;

  constructor(families: Families, underlay: Underlay) {
    this.#families = enabledFamilies(families);
    this.#underlay = underlay;
    this.mtuBytes = underlay.mtuBytes;
  }

  publishedMac(): Mac | undefined {
    return undefined;
  }

  /** As flannel's alloc: no backend type in the lease, and no IPv6 attributes even where IPv6 is enabled. */
  advertise(): Omit<LeaseAttributes, 'owner'> {
    const publicIp = this.#families.includes(4) ? (this.#underlay.publicIp ?? this.#underlay.ip) : undefined;
    return {
      publicIp: publicIp ?? ipFromBigInt(0n, 4),
      publicIp6: undefined,
      backendType: '',
      backendData: undefined,
      backendV6Data: undefined,
    };
  }

  device(): readonly (Link | Address)[] {
    return [];
  }

  claim(): PeerClaim {
    return { identities: [] };
  }

  peer(): PeerState {
    return { objects: [] };
  }
}
