/** All that `tartan docker check` goes by. Pure: facts.ts gathers them. */
import type { AddressInfo, LinkInfo } from '../../backends/state.ts';
import { containsIp, type Ip, lastAddress, networkAddress, offsetIp, type Prefix } from '../../config/address.ts';
import type { Engine } from './engine.ts';

/** What subnet.env says of one family. */
export interface FamilyRange {
  readonly network: Prefix;
  /** This host's. */
  readonly subnet: Prefix;
}

export interface Lease {
  readonly ranges: readonly FamilyRange[];
  readonly mtuBytes: number;
  readonly ipMasq: boolean;
}

/** A network of Docker's bridge driver. */
export interface BridgeNetwork {
  readonly name: string;
  readonly id: string;
  /** The device. */
  readonly bridge: string;
  readonly subnets: readonly Prefix[];
  /** Its own option; undefined: Docker's default. */
  readonly mtuBytes: number | undefined;
  readonly isMasqueraded: boolean;
  /** Nothing comes in from outside, by its operator's wish. */
  readonly isInternal: boolean;
  /** No DNAT is made for published ports. */
  readonly isRouted: boolean;
}

export interface Container {
  readonly name: string;
  readonly image: string;
  readonly command: string;
  /** In networks of the bridge driver. */
  readonly addresses: readonly Ip[];
  readonly ports: readonly { readonly inside: number; readonly outside: number; readonly protocol: string }[];
  readonly isOnHost: boolean;
}

/** As a program printed them. */
export interface RuleListings {
  /** By the program: `iptables` or, where both kinds are there, `iptables-nft` and `iptables-legacy`. */
  readonly iptables: ReadonlyMap<string, string>;
  readonly ip6tables: ReadonlyMap<string, string>;
  readonly nftables: string | undefined;
  /** What could not be listed, and why. */
  readonly problems: readonly string[];
}

export interface CheckFacts {
  readonly engine: Engine;
  readonly subnetFile: string;
  /** undefined: the agent has written none that makes sense. */
  readonly lease: Lease | undefined;
  readonly optionsFile: string;
  /** dockerd's flags in tartan's options file. */
  readonly optionFlags: ReadonlyMap<string, readonly string[]>;
  /** dockerd's flags as it runs; undefined: it does not, or they can't be seen. */
  readonly runningFlags: ReadonlyMap<string, readonly string[]> | undefined;
  readonly hasAgent: boolean;
  /** Devices that packets of the network come in by. */
  readonly devices: readonly string[];
  readonly links: readonly LinkInfo[];
  readonly addresses: readonly AddressInfo[];
  /** undefined: the daemon does not answer. */
  readonly networks: readonly BridgeNetwork[] | undefined;
  readonly containers: readonly Container[] | undefined;
  readonly rules: RuleListings;
  /** Names of sysctls that are off and without which the kernel forwards nothing of a family. */
  readonly forwardingOff: readonly string[];
  /** Whose rootless Dockers run here, in words. */
  readonly rootless: readonly string[];
  readonly isLiveRestore: boolean;
}

/** An address of the network that another host could have. */
export function remoteAddress({ network, subnet }: FamilyRange): Ip | undefined {
  const candidates = [offsetIp(networkAddress(network), 2n), offsetIp(lastAddress(network), -2n)];
  return candidates.find((ip) => ip !== undefined && containsIp(network, ip) && !containsIp(subnet, ip));
}
