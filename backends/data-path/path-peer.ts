import type { Ip, Mac, Prefix } from '../../config/address.ts';

/** What it takes to exchange packets with one peer. */
export interface PathPeer {
  /** Outer destination: its public IP. The port is everybody's own `port`. */
  readonly endpoint: Ip;
  /** Outer sources that are its own: its public IP, and what its lease publishes. */
  readonly sources: readonly Ip[];
  /** Inner addresses that are its own. */
  readonly subnets: readonly Prefix[];
  /** VXLAN: its VTEP's; undefined for udp. */
  readonly mac: Mac | undefined;
}
