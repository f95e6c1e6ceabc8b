/** What a host's kernel holds, as lines: two pictures are compared, and what differs is read by people. */
import type { Place } from '../support/namespace.ts';

/** Sorted, each once. Object ids and interface numbers are left out: they may change. */
export type Picture = readonly string[];

const DEVICE = 'flannel.1';

const COMMANDS = [
  `ip -j -d link show dev ${DEVICE}`,
  'ip -j -4 addr show',
  'ip -j -N -4 route show table main',
  'ip -j -N nexthop show',
  'ip -j -4 neigh show nud permanent',
  `bridge -j fdb show dev ${DEVICE}`,
  'cat /proc/sys/net/ipv4/ip_forward',
  `cat /proc/sys/net/ipv4/conf/${DEVICE}/forwarding`,
  'cat /run/flannel/subnet.env',
] as const;

const SCRIPT = COMMANDS.map((command) => `${command} 2>/dev/null`).join('\necho ---\n');

interface LinkRow {
  readonly address: string;
  readonly mtu: number;
  readonly flags: readonly string[];
  readonly linkinfo?: { readonly info_data?: Readonly<Record<string, unknown>> };
}

interface AddressRow {
  readonly ifname: string;
  readonly addr_info?: readonly { readonly local: string; readonly prefixlen: number }[];
}

/** Of routes, nexthops, neighbours and forwarding entries. */
interface EntryRow {
  readonly dst?: string;
  readonly mac?: string;
  readonly gateway?: string;
  readonly lladdr?: string;
  readonly dev?: string;
  readonly metric?: number;
  readonly protocol?: string;
  readonly flags?: readonly string[];
  readonly state?: string | readonly string[];
}

function rows<T>(text: string | undefined): readonly T[] {
  return text === undefined || text.trim() === '' ? [] : JSON.parse(text);
}

function linkLine({ address, mtu, flags, linkinfo }: LinkRow): string {
  const { id, local, link, port, learning } = linkinfo?.info_data ?? {};
  const state = flags.includes('UP') ? 'up' : 'down';
  return `link ${DEVICE} ${state} mtu ${mtu} mac ${address} vni ${id} local ${local} on ${link} port ${port} learning ${learning}`;
}

function entryLine(kind: string, row: EntryRow): string {
  const { dst, mac, gateway, lladdr, dev, metric, protocol, flags = [] } = row;
  const named = { mac, to: dst, via: gateway, at: lladdr, dev, metric, protocol };
  const words = Object.entries(named).flatMap(([name, value]) => (value === undefined ? [] : [`${name} ${value}`]));
  return [kind, ...words, ...flags.filter((flag) => flag === 'onlink')].join(' ');
}

export async function pictureOf(host: Place): Promise<Picture> {
  const { stdout } = await host.exec('sh', ['-c', SCRIPT]);
  const [links, addresses, routes, nexthops, neighbours, fdb, forward, deviceForwards, file] = stdout.split('---\n');
  const lines = [
    ...rows<LinkRow>(links).map(linkLine),
    ...rows<AddressRow>(addresses).flatMap(({ ifname, addr_info = [] }) =>
      addr_info.map(({ local, prefixlen }) => `address ${local}/${prefixlen} dev ${ifname}`),
    ),
    ...rows<EntryRow>(routes).map((row) => entryLine('route', row)),
    ...rows<EntryRow>(nexthops).map((row) => entryLine('nexthop', row)),
    ...rows<EntryRow>(neighbours).map((row) => entryLine('neighbour', row)),
    ...rows<EntryRow>(fdb)
      .filter(({ state }) => state === 'permanent')
      .map((row) => entryLine('fdb', row)),
    `ip_forward ${forward?.trim()}`,
    `${DEVICE} forwards ${deviceForwards?.trim()}`,
    ...(file ?? '').split('\n').map((line) => `file ${line}`),
  ];
  return [...new Set(lines)].sort();
}
