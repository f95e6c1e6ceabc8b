import type { Family, Prefix } from '../../config/address.ts';

/** One family of the network. */
export interface FirewallFamily {
  readonly family: Family;
  /** The whole network, all hosts'. */
  readonly network: Prefix;
  /** This host's lease. */
  readonly subnet: Prefix;
}

/** A bit of the packet mark: `0x1000/0x1000`. */
export interface Mark {
  readonly value: number;
  readonly mask: number;
}

/** Ways through Docker's drops: for packets from `devices`, out of the network into this host's subnet. */
export interface DockerWays {
  /** Of ours first; the underlay's too where peers are reached without encapsulation. Not empty. */
  readonly devices: readonly string[];
  /** What Docker's nftables backend is told to let through; undefined where it is not in use. */
  readonly mark: Mark | undefined;
}

/** What of this host's packet filters is to be. */
export interface FirewallWish {
  /** The families of the network config; not empty. */
  readonly families: readonly FirewallFamily[];
  /** --ip-masq. */
  readonly masquerade: boolean;
  /** Not --ip-masq-fully-random-disable. Used only where the program can. */
  readonly randomFully: boolean;
  /** --iptables-forward-rules. */
  readonly forward: boolean;
  /** EnableNFTables of the network config: flannel's tables instead of iptables' chains. */
  readonly nftables: boolean;
  /** undefined: no Docker here, or --docker-rules=off, or the backend alloc. */
  readonly docker: DockerWays | undefined;
  /** Networks that this host has left: what stands of them goes. Of others it is another agent's. */
  readonly former?: readonly Prefix[];
}
