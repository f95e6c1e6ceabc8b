import type { Ip, Mac, Prefix } from '../../config/address.ts';

/** What it takes to exchange packets with one peer. */
export interface PathPeer {
  /** Where its datagrams are sent; the port is everybody's own. */
  readonly endpoint: Ip;
  /** Outer sources that are its own: its public IP, and what else its lease publishes. */
  readonly sources: readonly Ip[];
  /** Inner addresses that are its own. */
  readonly subnets: readonly Prefix[];
  /** Its VTEP's, with VXLAN. */
  readonly mac: Mac | undefined;
}
