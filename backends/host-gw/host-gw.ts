/**
 * host-gw: peers share a link, so a route to each peer's public IP is all there is. No device, no encapsulation.
 *
 * The routes never hang on nexthop objects. A flanneld that takes this host over deletes its peers' routes by naming
 * the gateway, and the kernel finds no gateway on a route that a nexthop object carries: they would stay for ever.
 */
import { type Family, type Ip, ipFromBigInt, type Mac } from '../../config/address.ts';
import type { JsonObject } from '../../config/go-json.ts';
import type { Lease, LeaseAttributes } from '../../leases/lease.ts';
import type { Backend, PeerClaim, PeerState, Underlay } from '../backend.ts';
import type { BackendResult, Families } from '../backend-config.ts';
import { badPublicIp, enabledFamilies, leasePart, nothingShared, subnetOf } from '../lease-part.ts';
import type { Address, KernelObject, Link, Route } from '../state.ts';

const TYPE = 'host-gw';

/** The backend of type `host-gw`. It has no options. */
export function createHostGw(_backend: JsonObject, families: Families, underlay: Underlay): BackendResult {
  const problems = enabledFamilies(families).flatMap((family) => natProblem(family, underlay) ?? []);
  return problems.length > 0 ? { ok: false, problems } : { ok: true, backend: new HostGw(families, underlay) };
}

/**
 * Peers send to the public IP on the link, so this host must answer for it. IPv4: the interface's very address, as
 * flannel has it. IPv6 interfaces have many; any address of this host will do.
 */
function natProblem(family: Family, underlay: Underlay): string | undefined {
  const ip = family === 4 ? underlay.ip : underlay.ip6;
  if (ip === undefined) return `${underlay.dev} has no IPv${family} address, and IPv${family} is enabled`;
  const publicIp = (family === 4 ? underlay.publicIp : underlay.publicIp6) ?? ip;
  const reachable = publicIp === ip || (family === 6 && underlay.hostAddresses.has(publicIp));
  if (reachable) return undefined;
  return `host-gw does not work behind NAT: the public IP ${publicIp} is not the address ${ip} of ${underlay.dev}`;
}

class HostGw implements Backend {
  readonly type = TYPE;
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

  advertise(): Omit<LeaseAttributes, 'owner'> {
    const { publicIp, ip, publicIp6, ip6 } = this.#underlay;
    return {
      publicIp: (this.#families.includes(4) ? (publicIp ?? ip) : undefined) ?? ipFromBigInt(0n, 4),
      publicIp6: this.#families.includes(6) ? (publicIp6 ?? ip6) : undefined,
      backendType: TYPE,
      backendData: undefined,
      backendV6Data: undefined,
    };
  }

  device(): readonly (Link | Address)[] {
    return [];
  }

  claim(lease: Lease): PeerClaim {
    const state = this.peer(lease);
    return 'objects' in state ? { identities: [] } : state;
  }

  peer(lease: Lease): PeerState {
    if (lease.backendType !== TYPE) return { foreign: `backend type is "${lease.backendType}", not "${TYPE}"` };
    const objects: KernelObject[] = [];
    for (const family of this.#families) {
      const dst = subnetOf(lease, family);
      if (dst === undefined) continue;
      const part = leasePart(lease, family);
      const fault = badPublicIp(part);
      if (fault !== undefined || part.publicIp === undefined) return { refused: fault ?? 'no public IP' };
      objects.push(this.#route(dst, part.publicIp));
    }
    return objects.length > 0 ? { objects } : { foreign: nothingShared(this.#families) };
  }

  #route(dst: Route['dst'], gateway: Ip): Route {
    return { kind: 'route', dst, dev: this.#underlay.dev, gateway, onlink: false, nexthopId: undefined };
  }
}
