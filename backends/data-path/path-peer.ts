import type { Ip, Mac, Prefix } from '../../config/address.ts';

/** What it takes to exchange packets with one peer. */
export interface PathPeer {
  /** Where its datagrams are sent; the port is everybody's own. */
  readonly endpoint: Ip;
  /** Outer sources that are its own: its public IP, and what else its lease publishes. Only the first few are known. */
  readonly sources: readonly Ip[];
  /** Inner addresses that are its own. */
  readonly subnets: readonly Prefix[];
  /** Its VTEP's, with VXLAN. */
  readonly mac: Mac | undefined;
}

/** Whether there is nothing to tell about it. */
export function isSamePeer(a: PathPeer, b: PathPeer): boolean {
  return a.endpoint === b.endpoint && a.mac === b.mac && isSame(a.sources, b.sources) && isSame(a.subnets, b.subnets);
}

function isSame(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((one, i) => one === b[i]);
}
