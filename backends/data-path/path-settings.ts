import type { Ip, Mac, Prefix } from '../../config/address.ts';

/**
 * What becomes of packets that their sender has no right to: `enforce` drops what comes from nobody's address and what
 * bears a source of another peer; `strict` also drops sources outside of the networks; `report` names and counts the same,
 * and lets pass; `off` does neither.
 */
export type PathFilter = 'strict' | 'enforce' | 'report' | 'off';

/** What user space has to know to carry one device's packets, by its backend. */
export interface PathShape {
  readonly device: string;
  /** `udp`: the bare IPv4 packet. RFC 7348: `mac` is our VTEP's. */
  readonly encapsulation:
    | { readonly kind: 'udp' }
    | { readonly kind: 'vxlan'; readonly vni: number; readonly mac: Mac };
  /** Outer address to send from; its family is the outer family. */
  readonly local: Ip;
  /** UDP, of everybody. */
  readonly port: number;
  /** Of the device: the largest inner IP packet. */
  readonly mtuBytes: number;
  /** This host's subnets; of both families where a frame may hold either. */
  readonly own: readonly Prefix[];
  /** The cluster's ranges, likewise. */
  readonly networks: readonly Prefix[];
}

/** … and by this host's options. */
export interface PathSettings extends PathShape {
  readonly filter: PathFilter;
}
