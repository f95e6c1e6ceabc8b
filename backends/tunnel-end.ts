import type { Family, Ip } from '../config/address.ts';
import type { Underlay } from './backend.ts';

/** This host's end of the tunnels to its peers, in one family. */
export interface TunnelEnd {
  /** Where it sends from and listens. */
  readonly local: Ip;
  /** What the lease advertises. */
  readonly publicIp: Ip;
}

/** @returns what is wrong, where there is none. */
export function tunnelEnd(family: Family, underlay: Underlay): TunnelEnd | string {
  const ip = family === 4 ? underlay.ip : underlay.ip6;
  const publicIp = (family === 4 ? underlay.publicIp : underlay.publicIp6) ?? ip;
  if (ip === undefined || publicIp === undefined) {
    return `${underlay.dev} has no IPv${family} address, and IPv${family} is enabled`;
  }
  // A public IP behind NAT is nothing that this kernel can send from.
  return { local: underlay.hostAddresses.has(publicIp) ? publicIp : ip, publicIp };
}
