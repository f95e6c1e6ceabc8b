/**
 * What a test needs from the machine. Where it is missing the test is skipped, and the runner prints what for; with
 * CI=true it fails instead.
 *
 *     test('packets cross', async (t) => {
 *       if (!needs(t, 'lab', 'flanneld')) return;
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import type { ExecutionContext } from 'ava';
import { findCommand } from './commands.ts';
import { dockerLack } from './docker-engine.ts';
import { findFlanneld } from './flanneld.ts';

/** undefined: at hand; else what to do about it. */
type Check = () => string | undefined;

function command(name: string, debianPackage: string): Check {
  return () => (findCommand(name) === undefined ? `${name} (Debian: ${debianPackage})` : undefined);
}

function namespaces(): string | undefined {
  if (process.getuid?.() !== 0) return 'root';
  const tried = spawnSync('unshare', ['--net', '--mount', '--uts', '--ipc', 'true'], { encoding: 'utf8' });
  return tried.status === 0 ? undefined : `permission to make namespaces (CAP_SYS_ADMIN): ${tried.stderr.trim()}`;
}

/** A container may be allowed everything but this. */
function tracing(): string | undefined {
  if (findCommand('strace') === undefined) return 'strace (Debian: strace)';
  const tried = spawnSync('strace', ['-o', '/dev/null', 'true'], { encoding: 'utf8' });
  return tried.status === 0 ? undefined : `permission to trace (CAP_SYS_PTRACE): ${tried.stderr.trim()}`;
}

const CHECKS = {
  root: () => (process.getuid?.() === 0 ? undefined : 'root'),
  namespaces,
  etcd: command('etcd', 'etcd-server'),
  cc: command('cc', 'gcc, libc6-dev'),
  etcdctl: command('etcdctl', 'etcd-client'),
  ip: command('ip', 'iproute2'),
  ping: command('ping', 'iputils-ping'),
  nft: command('nft', 'nftables'),
  iperf3: command('iperf3', 'iperf3'),
  ethtool: command('ethtool', 'ethtool'),
  tcpdump: command('tcpdump', 'tcpdump'),
  openssl: command('openssl', 'openssl'),
  iptables: command('iptables', 'iptables'),
  firewalld: command('firewalld', 'firewalld, dbus'),
  strace: tracing,
  'systemd-analyze': command('systemd-analyze', 'systemd'),
  go: command('go', 'golang-go'),
  tun: () => (existsSync('/dev/net/tun') ? undefined : '/dev/net/tun'),
  fuse: () => (existsSync('/dev/fuse') ? undefined : '/dev/fuse'),
  'docker-20.10': () => dockerLack('20.10'),
  'docker-29': () => dockerLack('29'),
  flanneld: () => {
    const found = findFlanneld();
    return 'path' in found ? undefined : `flanneld: ${found.reason}`;
  },
} as const satisfies Record<string, Check>;

type Single = keyof typeof CHECKS;

/** What createLab stands on. */
const LAB: readonly Single[] = ['namespaces', 'ip', 'ping', 'etcd', 'etcdctl'];

export type Requirement = Single | 'lab';

/** Marks a skipped test in the test's log, where the runner looks for it. */
export const SKIP_MARK = 'skipped, needs:';

const answers = new Map<Single, string | undefined>();

function ask(requirement: Single): string | undefined {
  if (!answers.has(requirement)) answers.set(requirement, CHECKS[requirement]());
  return answers.get(requirement);
}

/** What of it this machine lacks, in words. */
export function missing(...requirements: readonly Requirement[]): readonly string[] {
  const singles = requirements.flatMap((one) => (one === 'lab' ? LAB : [one]));
  return [...new Set(singles)].map(ask).filter((lack) => lack !== undefined);
}

/** False: the test is to return at once; it has been counted as skipped, or as failed under CI. */
export function needs(t: ExecutionContext<unknown>, ...requirements: readonly Requirement[]): boolean {
  const lacks = missing(...requirements);
  if (lacks.length === 0) return true;
  if (process.env['CI'] === 'true') t.fail(`this machine lacks: ${lacks.join('; ')}`);
  else t.pass();
  t.log(`${SKIP_MARK} ${lacks.join('; ')}`);
  return false;
}
