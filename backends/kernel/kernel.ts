import type { Family, Ip, Prefix } from '../../config/address.ts';
import type { AddressInfo, FdbEntry, LinkInfo, Neighbour, Nexthop, Observed, Operation, RouteInfo } from '../state.ts';

/** The kernel said no to one operation. */
export interface KernelRefusal {
  /** `EEXIST`, `ENODEV`, …; `ETIMEDOUT` where no answer came. */
  readonly errno: string;
  /** The kernel's own words (extended ack), "" where it had none. */
  readonly detail: string;
}

/** Where the kernel would send a packet for an address. */
export interface RouteLookup {
  readonly dev: string;
  readonly gateway: Ip | undefined;
  /** RTA_PREFSRC: the source address the host would use. */
  readonly source: Ip | undefined;
}

/** What the monitor saw. It says that something is to be looked at, never what to do. */
export type KernelEvent =
  | { readonly verb: 'set' | 'delete'; readonly observed: Observed }
  /** A link or address of ANY device changed, ours or not. */
  | { readonly verb: 'set' | 'delete'; readonly link: string }
  | { readonly verb: 'set' | 'delete'; readonly address: { readonly dev: string; readonly ip: Ip } }
  /** A route that is none of ours by protocol, or not unicast in the main table. */
  | { readonly verb: 'set' | 'delete'; readonly foreignRoute: string }
  /** A switch such as forwarding was moved: of a device by its name, or of `all`. */
  | { readonly verb: 'set'; readonly sysctlsOf: string }
  /** Events were dropped: everything is in doubt. */
  | { readonly verb: 'lost' };

/**
 * The tables of one network namespace. Reads return whole tables; `apply` changes them in batches.
 * Any call rejects with TartanError KERNEL where the socket itself fails (not where an operation is refused).
 */
export interface Kernel {
  /** Whether this kernel makes vxlan devices, as it was when first asked: a module may come later. */
  knowsVxlan(): Promise<boolean>;
  links(): Promise<LinkInfo[]>;
  addresses(family: Family): Promise<AddressInfo[]>;
  /** Every entry of the device (all NUD states; `permanent` tells). Empty where there is no such device. */
  neighbours(dev: string, family: Family): Promise<Observed<Neighbour>[]>;
  /** The device's own (NTF_SELF) unicast entries with a destination. The all-zero default entry is left out. */
  fdb(dev: string): Promise<Observed<FdbEntry>[]>;
  /**
   * undefined: this kernel has no nexthop objects. Groups, blackholes and what else has no gateway are left out; only
   * `nexthopIds` has them.
   */
  nexthops(): Promise<Observed<Nexthop>[] | undefined>;
  /** Ids of every nexthop of whatever kind and owner. */
  nexthopIds(): Promise<ReadonlySet<number>>;
  /**
   * The main table, every type.
   * @param within Only routes to destinations in there, and those on a nexthop object of our range; the whole table
   * where left out. A host may have a million others: they are dropped unread.
   */
  routes(family: Family, within?: readonly Prefix[]): Promise<RouteInfo[]>;
  /** Of the main table those to everywhere; a host's million others are dropped unread. */
  defaultRoutes(family: Family): Promise<RouteInfo[]>;
  /** The kernel's own answer for each address (RTM_GETROUTE), undefined where there is no route. */
  lookup(ips: readonly Ip[]): Promise<(RouteLookup | undefined)[]>;
  /**
   * Programs the operations in their order, in as few sends as possible. One refused operation fails alone.
   * @returns one entry per operation, undefined where it is done.
   */
  apply(operations: readonly Operation[]): Promise<(KernelRefusal | undefined)[]>;
  /**
   * Reports changes from now on, to this handler as well. It never throws. Of our own changes only those are reported that
   * the kernel does not say to be ours: of devices, addresses and forwarding entries, and neighbours that go.
   */
  monitor(handler: (event: KernelEvent) => void): Promise<void>;
  close(): void;
}
