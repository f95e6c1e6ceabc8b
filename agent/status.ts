/** What the agent knows of itself, as one value: `tartan status --json`, and the source of `status`, `wait` and metrics. */
import { harmless } from './terminal-text.ts';

export interface StatusPeer {
  readonly subnet: string;
  readonly subnet6?: string;
  readonly publicIp: string;
  readonly publicIp6?: string;
  /** Host name as the peer's tartan published it; absent for flanneld's. */
  readonly name?: string;
  readonly node?: string;
  /** As the probes found them, one for each device by which it is reached. */
  readonly paths?: readonly StatusPath[];
}

/** What is known of the path to a peer. */
export interface StatusPath {
  readonly device: string;
  /** silent: nothing was heard lately, which need not mean that it is down. */
  readonly state: 'unknown' | 'answering' | 'silent';
  /** Absent: ever since it is asked. */
  readonly since?: string;
  /** Of the last probes, and how many of them were not answered. */
  readonly asked: number;
  readonly lost: number;
  /** When the last question was asked that was answered. */
  readonly heard?: string;
  /** Smoothed, and the last. */
  readonly roundTripMs?: number;
  readonly lastRoundTripMs?: number;
  /** The largest outer packet that crosses; absent while that is being found out. */
  readonly pathMtu?: number;
  /** Whether that is less than our device sends. */
  readonly isSmaller: boolean;
  /** Why this host could not send the last one. */
  readonly refused?: string;
}

/** The path probes by one device. */
export interface StatusProbe {
  readonly device: string;
  /** Since the agent's start; `refused`: this host could not send them. */
  readonly answered: number;
  readonly lost: number;
  readonly refused: number;
  /** Why nobody can be asked. */
  readonly problem?: string;
}

/** A device whose packets the agent itself wraps and sends. Packets and bytes are inner ones, since its start. */
export interface StatusDataPath {
  readonly device: string;
  /** Whether packets can cross. */
  readonly isUp: boolean;
  /** What its packets are worked on by: `wasm` or `js`. */
  readonly core?: string;
  /** What of kernel and runtime it makes use of. */
  readonly features: readonly string[];
  readonly sent: { readonly packets: number; readonly bytes: number };
  readonly received: { readonly packets: number; readonly bytes: number };
  /** Packets that went no further, by reason; what is zero is left out. The peer filter's are not among them. */
  readonly dropped: Readonly<Record<string, number>>;
  /** What the kernel would not do, by call and error: `send ENETUNREACH`. Of the thread that works now. */
  readonly refusals: Readonly<Record<string, number>>;
  /** How often its thread had to be started anew. */
  readonly restarts: number;
}

export interface StatusRefused {
  /** The lease's key (cut where it is long). */
  readonly key: string;
  readonly reason: string;
}

export interface StatusMissing {
  /** The kernel object, by its key: `route 10.5.3.0/24`. */
  readonly object: string;
  readonly since: string;
  readonly attempts: number;
  readonly error: string;
}

export interface StatusLease {
  readonly key: string;
  readonly subnet: string;
  readonly subnet6?: string;
  readonly publicIp: string;
  readonly publicIp6?: string;
  /** null: a reservation, which never expires. */
  readonly secondsLeft: number | null;
  readonly expiresAt: string | null;
  /** Why renewals fail, where they do. */
  readonly renewalFailing?: { readonly since: string; readonly attempts: number; readonly error: string };
}

export interface StatusFirewall {
  /** What rules are made with: `iptables 1.8.9 (nf_tables)`. */
  readonly program: string;
  /** Since when all of them are as wanted; absent: they are not. */
  readonly inPlaceSince?: string;
  /** How often others' changes were put right. */
  readonly repairs: number;
  /** Worth knowing, but nothing that has to be mended. */
  readonly notes: readonly string[];
}

/** Who sends packets of the network to us from an address that no live lease names. */
export interface StatusStranger {
  readonly source: string;
  /** The inner source that was seen last. */
  readonly inner: string;
  /** Key of the lease whose subnet that is. */
  readonly lease?: string;
  readonly verdict: 'asked' | 'tolerated' | 'spoofing' | 'foreign' | 'unknown';
  readonly since: string;
  readonly seen: string;
  /** Absent: it is not counted by sender. */
  readonly packets?: number;
}

export interface StatusPeerFilter {
  readonly device: string;
  /** As asked for, and what is in force. */
  readonly mode: 'strict' | 'enforce' | 'report' | 'off';
  readonly effective: 'strict' | 'enforce' | 'report' | 'off';
  /** Why these two differ. */
  readonly why?: string;
  /** How many addresses are named by leases. */
  readonly addresses: number;
  /** Packets since the agent's start; `passed`: of strangers that are tolerated. */
  readonly dropped: number;
  readonly reported: number;
  readonly passed: number;
  readonly strangers: readonly StatusStranger[];
  readonly hasMoreStrangers: boolean;
}

export interface Status {
  readonly version: string;
  readonly pid: number;
  readonly node: string;
  readonly name: string;
  readonly startedAt: string;
  readonly ready: boolean;
  /** What the agent does or waits for, in words. */
  readonly phase: string;
  /** Where etcd has not answered since the start. `leasesOf`: when it last said what is gone by. */
  readonly fromMemory?: { readonly since: string; readonly leasesOf?: string };
  /** Everything that an operator should know and that is not as it should be. */
  readonly problems: readonly string[];
  readonly etcd: {
    readonly endpoints: readonly string[];
    readonly prefix: string;
    readonly connected: boolean;
    readonly since: string;
    readonly reason?: string;
  };
  readonly network?: { readonly ranges: readonly string[]; readonly backend: string };
  readonly lease?: StatusLease;
  readonly underlay?: { readonly dev: string; readonly ip?: string; readonly ip6?: string };
  readonly devices: readonly { readonly name: string; readonly mac?: string; readonly mtu?: number }[];
  readonly mtu?: number;
  readonly firewall?: StatusFirewall;
  /** One for each device by which peers' packets come wrapped. */
  readonly peerFilters?: readonly StatusPeerFilter[];
  readonly dataPaths?: readonly StatusDataPath[];
  /** One for each VXLAN device; absent: peers are not probed. */
  readonly probes?: readonly StatusProbe[];
  /** How the backend came to be as it is, where the host left no choice. */
  readonly note?: string;
  readonly inStep: boolean;
  readonly inStepSince?: string;
  /** Listed up to a limit; the count is whole. */
  readonly missing: readonly StatusMissing[];
  readonly missingCount: number;
  readonly peers: readonly StatusPeer[];
  readonly refused: readonly StatusRefused[];
  readonly refusedCount: number;
}

function ago(iso: string, now: number): string {
  const seconds = Math.max(0, Math.round((now - Date.parse(iso)) / 1000));
  return duration(seconds);
}

/** 75 → `1m15s`; 86400 → `24h00m`. */
export function duration(seconds: number): string {
  const two = (n: number): string => String(n).padStart(2, '0');
  if (seconds < 60) return `${seconds}s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m${two(seconds % 60)}s`;
  return `${Math.floor(seconds / 3600)}h${two(Math.floor((seconds % 3600) / 60))}m`;
}

/** Columns as wide as their widest cell; the last one is not padded. Control characters come out as `?`. */
export function table(raw: readonly (readonly string[])[]): string {
  const rows = raw.map((row) => row.map(harmless));
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)));
  const line = (row: readonly string[]): string =>
    row.map((cell, column) => (column === row.length - 1 ? cell : cell.padEnd(widths[column] ?? 0))).join('  ');
  return rows.map((row) => line(row).trimEnd()).join('\n');
}

/** IPv4 and IPv6 together; what a lease of one family has for the other one is left out. */
export function dual(v4: string, v6: string | null | undefined): string {
  if (!v6) return v4;
  return v4 === '0.0.0.0' || v4 === '0.0.0.0/0' ? v6 : `${v4} ${v6}`;
}

function leaseLine(lease: StatusLease, now: number): string {
  const left =
    lease.secondsLeft === null ? 'a reservation, does not expire' : `${duration(Math.max(0, lease.secondsLeft))} left`;
  const failing = lease.renewalFailing;
  const trouble = failing ? `; renewals have failed for ${ago(failing.since, now)}: ${failing.error}` : '';
  return `${dual(lease.subnet, lease.subnet6)} as ${dual(lease.publicIp, lease.publicIp6)} (${left}${trouble})`;
}

/** Why it is not connected stands among the problems. */
function etcdLine({ connected, since, endpoints, prefix }: Status['etcd'], now: number): string {
  const state = `${connected ? 'connected' : 'NOT connected'} for ${ago(since, now)}`;
  return `${state}, ${endpoints.join(', ')}, prefix ${prefix}`;
}

function facts(status: Status, now: number): string[][] {
  const { etcd, lease, network, underlay } = status;
  const rows = [
    [
      'agent',
      `${status.ready ? 'ready' : 'not ready'}: ${status.phase}${status.fromMemory ? ', from memory' : ''} (pid ${status.pid}, up ${ago(status.startedAt, now)})`,
    ],
    ['node', `${status.name} (${status.node})`],
    ['etcd', etcdLine(etcd, now)],
  ];
  if (network) rows.push(['network', `${network.ranges.join(', ')}, backend ${network.backend}`]);
  if (status.note) rows.push(['', status.note]);
  rows.push(['lease', lease ? leaseLine(lease, now) : 'none']);
  if (underlay) rows.push(['underlay', [underlay.dev, underlay.ip, underlay.ip6].filter(Boolean).join(' ')]);
  for (const { name, mac, mtu } of status.devices) {
    rows.push(['device', [name, mac, mtu === undefined ? 'missing' : `mtu ${mtu}`].filter(Boolean).join(' ')]);
  }
  for (const path of status.dataPaths ?? []) rows.push(['data path', dataPathLine(path)]);
  if (status.mtu !== undefined) rows.push(['MTU', `${status.mtu} for containers`]);
  const step = status.inStep && status.inStepSince ? `in step for ${ago(status.inStepSince, now)}` : 'not in step';
  rows.push(['kernel', step]);
  if (status.firewall) rows.push(['firewall', firewallLine(status.firewall, now)]);
  for (const { device, problem } of status.probes ?? [])
    if (problem) rows.push(['probes', `none by ${device}: ${problem}`]);
  for (const filter of status.peerFilters ?? []) rows.push(['filter', filterLine(filter)]);
  return rows;
}

function firewallLine({ program, inPlaceSince, repairs, notes }: StatusFirewall, now: number): string {
  const state = inPlaceSince ? `in place for ${ago(inPlaceSince, now)}` : 'NOT in place';
  const mended = repairs > 0 ? `, put right ${repairs} times` : '';
  return [`${program}, ${state}${mended}`, ...notes].join('; ');
}

function dataPathLine({
  device,
  isUp,
  core,
  features,
  sent,
  received,
  dropped,
  refusals,
  restarts,
}: StatusDataPath): string {
  const how = [core, ...features.filter((one) => one !== core)].filter(Boolean).join(', ');
  const packets = `${sent.packets} packets sent, ${received.packets} received`;
  const counts = (of: Readonly<Record<string, number>>): string =>
    Object.entries(of)
      .map(([what, count]) => `${what} ${count}`)
      .join(', ');
  const drops = counts(dropped) && `, dropped: ${counts(dropped)}`;
  const refused = counts(refusals) && `, refused by the kernel: ${counts(refusals)}`;
  const again = restarts > 0 ? `, started anew ${restarts} times` : '';
  return `${device} ${isUp ? 'up' : 'NOT up'}${how ? ` (${how})` : ''}, ${packets}${drops}${refused}${again}`;
}

const FILTERS = {
  strict: 'drops strangers and foreign sources',
  enforce: 'drops strangers',
  report: 'reports strangers',
  off: 'off',
} as const;

function filterLine({ device, effective, why, dropped, reported, addresses }: StatusPeerFilter): string {
  const verb = FILTERS[effective];
  const packets =
    effective === 'enforce' || effective === 'strict' ? `${dropped} packets dropped` : `${reported} packets seen`;
  const counts = effective === 'off' ? '' : `, ${addresses} addresses named, ${packets}`;
  return `${device} ${verb}${counts}${why ? `; ${why}` : ''}`;
}

const TAKEN_FOR = {
  asked: 'being asked',
  tolerated: 'a peer by another way: let through',
  spoofing: 'no peer: another host has that subnet',
  foreign: 'a sender from outside of the network',
  unknown: 'nobody of the network',
} as const;

function strangersBlock(filters: readonly StatusPeerFilter[], now: number): string | undefined {
  const rows = filters.flatMap(({ strangers }) =>
    strangers.map(({ source, inner, verdict, packets, seen }) => [
      ...[`  ${source}`, inner, packets === undefined ? '' : String(packets), ago(seen, now), TAKEN_FOR[verdict]],
    ]),
  );
  if (rows.length === 0) return undefined;
  const more = filters.some(({ hasMoreStrangers }) => hasMoreStrangers) ? ', and more' : '';
  const head = ['  SENDER', 'INNER SOURCE', 'PACKETS', 'LAST SEEN', 'TAKEN FOR'];
  return `packets from addresses that no lease names (${rows.length}${more}):\n${table([head, ...rows])}`;
}

function missingBlock({ missing, missingCount }: Status, now: number): string {
  const rows = missing.map(({ object, since, attempts, error }) => [
    ...[`  ${object}`, `for ${ago(since, now)}`, `${attempts} tries`, error],
  ]);
  return `missing in the kernel (${missingCount}):\n${table(rows)}`;
}

function peersBlock(peers: Status['peers'], now: number): string {
  if (peers.length === 0) return 'no peers';
  const areProbed = peers.some(({ paths }) => paths !== undefined);
  const rows = peers.map(({ subnet, subnet6, publicIp, publicIp6, name, paths = [] }) => [
    ...[dual(subnet, subnet6), dual(publicIp, publicIp6), name ?? '(flanneld)'],
    ...(areProbed ? [pathsText(paths, now)] : []),
  ]);
  return table([['PEER', 'PUBLIC IP', 'NODE', ...(areProbed ? ['PATH'] : [])], ...rows]);
}

/** By which device, where there are two. */
function pathsText(paths: readonly StatusPath[], now: number): string {
  if (paths.length === 1) return paths.map((path) => pathText(path, now)).join('');
  return paths.map((path) => `${path.device} ${pathText(path, now)}`).join('; ');
}

function pathText(
  { state, since, asked, lost, roundTripMs, pathMtu, isSmaller, refused }: StatusPath,
  now: number,
): string {
  if (state === 'unknown') return refused ? `can't be asked: ${refused}` : 'not known yet';
  if (state === 'silent') return since ? `silent for ${ago(since, now)}` : 'silent, never heard';
  const parts = [
    ...(refused ? [`can't be asked: ${refused}`] : []),
    roundTripMs === undefined ? 'answers' : `${roundTripMs.toFixed(2)} ms`,
    ...(lost > 0 ? [`${lost} of ${asked} lost`] : []),
    ...(isSmaller ? [`path MTU ${pathMtu}`] : []),
  ];
  return parts.join(', ');
}

/** The status for people. `now`: wall clock, ms. */
export function renderStatus(status: Status, now: number): string {
  const { problems, missingCount, peers, refused, refusedCount } = status;
  const blocks = [table(facts(status, now))];
  if (problems.length > 0) blocks.push(['problems:', ...problems.map((one) => `  ${harmless(one)}`)].join('\n'));
  if (missingCount > 0) blocks.push(missingBlock(status, now));
  const strangers = strangersBlock(status.peerFilters ?? [], now);
  if (strangers) blocks.push(strangers);
  blocks.push(peersBlock(peers, now));
  const rows = refused.map(({ key, reason }) => [`  ${key}`, reason]);
  if (refusedCount > 0) blocks.push(`refused leases (${refusedCount}):\n${table(rows)}`);
  return `${blocks.join('\n\n')}\n`;
}
