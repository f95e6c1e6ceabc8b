/** Parts of a Status, from the values of the other rooms (pure). */
import type { Underlay } from '../backends/backend.ts';
import type { CounterName } from '../backends/data-path/counters.ts';
import type { PathState } from '../backends/data-path/data-path.ts';
import { PATH_COUNTERS } from '../backends/data-path/loop-counts.ts';
import { STRANGERS_MAX } from '../backends/data-path/path-strangers.ts';
import type { FirewallState } from '../backends/firewall/firewall.ts';
import type { PeerFilterState } from '../backends/firewall/peer-filter.ts';
import type { PathResult } from '../backends/vxlan/path-probe.ts';
import type { NetworkConfig } from '../config/network-config.ts';
import type { Holder } from '../leases/holder.ts';
import type { StoredLease } from '../leases/lease.ts';
import type { DataPathState } from './data-paths.ts';
import type { ProbedDevice } from './path-probes.ts';
import type {
  Status,
  StatusDataPath,
  StatusFirewall,
  StatusLease,
  StatusPath,
  StatusPeer,
  StatusPeerFilter,
  StatusProbe,
  StatusStranger,
} from './status.ts';

/** Wall clock, ms, as a status says it. */
export function iso(ms: number): string {
  return new Date(ms).toISOString();
}

export function peerOf(lease: StoredLease, probed: readonly ProbedDevice[]): StatusPeer {
  const { subnet, subnet6, publicIp, publicIp6, owner } = lease;
  const paths = probed.flatMap(({ device, state }) => {
    const found = state.peers.get(lease.key);
    return found ? [pathOf(device, found)] : [];
  });
  return {
    ...{ subnet, publicIp },
    ...(subnet6 && { subnet6 }),
    ...(publicIp6 && { publicIp6 }),
    ...(owner && { name: owner.name, node: owner.node }),
    ...(paths.length > 0 && { paths }),
  };
}

function pathOf(device: string, result: PathResult): StatusPath {
  const { state, since, heard, asked, lost, smoothedMs, roundTripMs: last, pathMtuBytes, isSmaller, refused } = result;
  return {
    ...{ device, state, asked, lost, isSmaller },
    ...(since !== undefined && { since: iso(since) }),
    ...(heard !== undefined && { heard: iso(heard) }),
    ...(smoothedMs !== undefined && { roundTripMs: smoothedMs }),
    ...(last !== undefined && { lastRoundTripMs: last }),
    ...(pathMtuBytes !== undefined && { pathMtu: pathMtuBytes }),
    ...(refused !== undefined && { refused }),
  };
}

export function probeOf({ device, state: { problem, totals } }: ProbedDevice): StatusProbe {
  const { answered, lost, refused } = totals;
  return { ...{ device, answered, lost, refused }, ...(problem && { problem }) };
}

export function dataPathOf({
  device,
  isUp,
  core,
  features,
  counters,
  receiveDrops,
  refusals,
  restarts,
}: PathState): StatusDataPath {
  const count = (name: CounterName): number => counters[name] ?? 0;
  const drops = PATH_COUNTERS.filter(({ kind }) => kind === 'drop').map(
    ({ name }) => [name, counters[name] ?? 0] as const,
  );
  const all = [...drops, ['receive-buffer', receiveDrops] as const];
  return {
    ...{ device, isUp, features, refusals, restarts, ...(core && { core }) },
    sent: { packets: count('tx-packets'), bytes: count('tx-bytes') },
    received: { packets: count('rx-packets'), bytes: count('rx-bytes') },
    dropped: Object.fromEntries(all.filter(([, packets]) => packets > 0)),
  };
}

const VERDICTS = { stranger: 'unknown', spoofed: 'spoofing', foreign: 'foreign', ethertype: 'foreign' } as const;

function strangerOf({ reason, outer, inner, first, last }: PathState['strangers'][number]): StatusStranger {
  const verdict = VERDICTS[reason];
  return { source: outer ?? '', inner: inner ?? '', verdict, since: iso(first), seen: iso(last) };
}

/** The filter of a data path in user space, as that of the kernel's devices is shown. */
export function pathFilterOf({ path, filter }: DataPathState): StatusPeerFilter {
  const { mode, effective, reportUntil, dropped, reported } = filter;
  const { addresses } = path;
  const why = reportUntil === undefined ? undefined : `taken over from a flanneld: drops from ${iso(reportUntil)} on`;
  return {
    ...{ device: path.device, mode, effective, ...(why && { why }), addresses, dropped, reported, passed: 0 },
    ...{ strangers: path.strangers.map(strangerOf), hasMoreStrangers: path.strangers.length === STRANGERS_MAX },
  };
}

export function firewallOf({ program, version, inPlaceSince, repairs, notes }: FirewallState): StatusFirewall {
  return {
    ...{ program: [program, version].filter(Boolean).join(' '), repairs, notes },
    ...(inPlaceSince !== undefined && { inPlaceSince: iso(inPlaceSince) }),
  };
}

/** @param mode as asked for */
export function filterOf(device: string, mode: StatusPeerFilter['mode'], state: PeerFilterState): StatusPeerFilter {
  const { effective, addresses, packets, strangers, hasMoreStrangers } = state;
  const isLess = mode === 'strict' && effective === 'enforce';
  const why = isLess ? "the kernel's VXLAN is filtered by outer addresses alone" : state.why;
  return {
    ...{ device, mode, effective, ...(why && { why }), addresses, ...packets, hasMoreStrangers },
    strangers: strangers.map(({ source, inner, lease, verdict, since, seen, packets: count }) => ({
      ...{ source, inner, ...(lease && { lease }), verdict },
      ...{ since: iso(since), seen: iso(seen), packets: count },
    })),
  };
}

export function rangesOf({ ranges }: NetworkConfig): string[] {
  return [ranges[4], ranges[6]].flatMap((range) => (range ? [`${range.network} in /${range.length}s`] : []));
}

export function underlayOf({ dev, ip, ip6 }: Underlay): NonNullable<Status['underlay']> {
  return { dev, ...(ip && { ip }), ...(ip6 && { ip6 }) };
}

/** @param now wall clock, ms. */
export function leaseOf({ held, failing }: Pick<Holder, 'held' | 'failing'>, now: number): StatusLease {
  const { key, subnet, subnet6, expiresAt, attributes } = held;
  const forever = expiresAt === Number.POSITIVE_INFINITY;
  const left = Math.floor((expiresAt - now) / 1000);
  return {
    ...{ key, subnet, publicIp: attributes.publicIp },
    ...(subnet6 && { subnet6 }),
    ...(attributes.publicIp6 && { publicIp6: attributes.publicIp6 }),
    ...{ secondsLeft: forever ? null : left, expiresAt: forever ? null : iso(expiresAt) },
    ...(failing && { renewalFailing: { ...failing, since: iso(failing.since) } }),
  };
}
