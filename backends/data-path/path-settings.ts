import type { Ip, Mac, Prefix } from '../../config/address.ts';

/** How packets are wrapped on their way to a peer. */
export type Encapsulation =
  /** The bare IPv4 packet. */
  | { readonly kind: 'udp' }
  /** RFC 7348. `mac`: our own VTEP's. */
  | { readonly kind: 'vxlan'; readonly vni: number; readonly mac: Mac };

/** What the data path of one device is to do, by its backend. */
export interface PathShape {
  readonly device: string;
  readonly encapsulation: Encapsulation;
  /** Outer address to bind; its family is the outer family. */
  readonly local: Ip;
  /** UDP port, here and at every peer. */
  readonly port: number;
  /** Of the device, that is of inner packets. */
  readonly mtuBytes: number;
  /** This host's subnets, of the device's family. */
  readonly own: readonly Prefix[];
  /** The cluster's ranges, of the device's family. */
  readonly networks: readonly Prefix[];
}

/** … and by this host's options. */
export interface PathSettings extends PathShape {
  /** What becomes of packets of senders that no live lease names. */
  readonly filter: 'strict' | 'enforce' | 'report' | 'off';
}
