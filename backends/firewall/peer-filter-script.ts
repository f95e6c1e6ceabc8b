/**
 * The peer filter's nftables table, as text for `nft -f -`.
 *
 *     table inet tartan-flannel.1
 *       set guarded     our port, for 60 s: an agent that is gone, or that a flanneld has followed, guards nothing
 *       set peers       addresses that live leases name; an element's counter tells that the peer was heard
 *       set tolerated   source . inner subnet: a peer that comes from elsewhere (strangers.ts)
 *       set strangers   source . inner source: who else sent, lately; never more than its size
 *       chain input     our port, our VNI, our family ──► chain datagrams: peers and tolerated return, the rest is
 *                                                         noted, counted, and dropped or let pass
 *
 * Offsets behind `@th` are bits from the UDP header on. Input sees whole datagrams: fragments are joined before it.
 *
 *      UDP 8        VXLAN 8         Ethernet 14               IPv4 header       IPv6 header
 *     ├────────────┼───────────────┼─────────────────────────┼─────────────────┼──────────────────
 *     0            64   96,24: VNI 128          224,16: type  336,32: source    304,128: source
 *
 * Tried with nft 1.0.6 on Linux 6.18:
 * - A set may be declared by `typeof` with a raw payload, also concatenated, with intervals and with counters; its
 *   elements are listed as `192.0.2.7 . 0xa050104`. Its type has no other name: `ipv4_addr . ipv4_addr` is refused.
 * - A lookup with `!=` does not count at the element that it found, hence the `return` of named peers.
 * - A dynamic set that is full ends the rule which adds to it, not those after: what is not noted is dropped all the same.
 * - An element's time limit is not renewed by adding it again; deleted and added within one script it is.
 * - Several `list` in one script end in errors about sets that are there: each is a process. `list set` reads that set
 *   alone; `list table` and `list chain` read the whole table, with `--terse` too.
 * What an older nft or kernel refuses of this, it refuses as a whole; the filter is off then, and says so.
 */
import {
  bitsOf,
  type Family,
  familyOf,
  type Ip,
  ipToBigInt,
  lastAddress,
  networkAddress,
  type Prefix,
  prefixLength,
} from '../../config/address.ts';

/** A VXLAN device whose senders are checked. */
export interface GuardedDevice {
  readonly device: string;
  readonly family: Family;
  readonly udpPort: number;
  readonly vni: number;
}

/** What the table looks like, apart from its elements. */
export interface PeerFilterShape extends GuardedDevice {
  readonly drops: boolean;
}

/** Seconds for which the port is guarded when the agent no longer renews it. */
export const GUARD_SECONDS = 60;
/** How many strangers the kernel keeps at most. */
export const STRANGERS_KEPT = 256;

const FIELDS = {
  4: { address: 'ip saddr', inner: '@th,336,32', etherType: '0x800', protocol: 'ipv4', type: 'ipv4_addr' },
  6: { address: 'ip6 saddr', inner: '@th,304,128', etherType: '0x86dd', protocol: 'ipv6', type: 'ipv6_addr' },
} as const;

/** The table of a device: `tartan-flannel.1`. */
export function peerFilterName(device: string): string {
  return `tartan-${device}`;
}

/** With its family: `inet tartan-flannel.1`. */
export function peerFilterTable(device: string): string {
  return `inet ${peerFilterName(device)}`;
}

/** The lines of our chains, as nft prints them. */
export function chainLines(shape: PeerFilterShape): ReadonlyMap<string, readonly string[]> {
  const { address, inner, etherType, protocol } = FIELDS[shape.family];
  const input = [
    'type filter hook input priority filter; policy accept;',
    `meta nfproto ${protocol} udp dport @guarded @th,96,24 0x${shape.vni.toString(16)} jump datagrams`,
  ];
  const datagrams = [
    `${address} @peers return`,
    `${address} . ${inner} @tolerated counter name "passed" return`,
    `@th,224,16 ${etherType} add @strangers { ${address} . ${inner} }`,
    shape.drops ? 'counter name "dropped" drop' : 'counter name "reported"',
  ];
  return new Map([
    ['input', input],
    ['datagrams', datagrams],
  ]);
}

/** Makes the table, without elements; in its stead, where there is one. */
export function makeTable(shape: PeerFilterShape): string[] {
  const table = peerFilterTable(shape.device);
  const { address, inner, type } = FIELDS[shape.family];
  const pair = `typeof ${address} . ${inner};`;
  return [
    `add table ${table}`,
    `delete table ${table}`,
    `add table ${table}`,
    ...['passed', 'dropped', 'reported'].map((name) => `add counter ${table} ${name}`),
    `add set ${table} guarded { type inet_service; flags timeout; }`,
    `add set ${table} peers { type ${type}; counter; }`,
    `add set ${table} tolerated { ${pair} flags interval; counter; }`,
    `add set ${table} strangers { ${pair} flags dynamic, timeout; size ${STRANGERS_KEPT}; timeout 60s; counter; }`,
    `add chain ${table} datagrams`,
    `add chain ${table} input { type filter hook input priority filter; policy accept; }`,
    ...addRules(shape),
  ];
}

/** Gives our chains their rules anew; counters and sets stay. */
export function rewriteChains(shape: PeerFilterShape): string[] {
  const table = peerFilterTable(shape.device);
  return [`flush chain ${table} input`, `flush chain ${table} datagrams`, ...addRules(shape)];
}

function addRules(shape: PeerFilterShape): string[] {
  const table = peerFilterTable(shape.device);
  return [...chainLines(shape)].flatMap(([chain, lines]) =>
    lines.filter((line) => !line.startsWith('type ')).map((line) => `add rule ${table} ${chain} ${line}`),
  );
}

/** Guards the port for another 60 s. */
export function renewGuard({ device, udpPort }: PeerFilterShape): string[] {
  const set = `${peerFilterTable(device)} guarded`;
  const add = `add element ${set} { ${udpPort} timeout ${GUARD_SECONDS}s }`;
  return [add, `delete element ${set} { ${udpPort} }`, add];
}

/** Adds to one of our sets, or deletes from it; no line where there is nothing to do. */
export function changeElements(
  verb: 'add' | 'delete',
  device: string,
  set: 'peers' | 'tolerated' | 'guarded',
  elements: readonly string[],
): string[] {
  if (elements.length === 0) return [];
  return [`${verb} element ${peerFilterTable(device)} ${set} { ${elements.join(', ')} }`];
}

export function flushStrangers(device: string): string[] {
  return [`flush set ${peerFilterTable(device)} strangers`];
}

/** `192.0.2.7 . 0xa050100-0xa0501ff`, as nft prints it. */
export function toleratedElement(source: Ip, subnet: Prefix): string {
  const first = hex(networkAddress(subnet));
  const isOne = prefixLength(subnet) === bitsOf(familyOf(subnet));
  return `${source} . ${isOne ? first : `${first}-${hex(lastAddress(subnet))}`}`;
}

function hex(ip: Ip): string {
  return `0x${ipToBigInt(ip).toString(16)}`;
}
