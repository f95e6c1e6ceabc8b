/**
 * Options for dockerd, as systemd's EnvironmentFile takes them. The agent writes one line:
 *
 *     DOCKER_NETWORK_OPTIONS=" --bip=10.5.66.1/24 --ip-masq=true --mtu=1450"
 *
 * and behind these the flags that Docker's nftables firewall needs, where it is certain that it has them.
 *
 * `tartan docker opts` writes what flannel's mk-docker-opts.sh does, the variables sorted by name:
 *
 *     DOCKER_OPT_BIP="--bip=10.5.66.1/24"      -i, or neither -i nor -c
 *     DOCKER_OPT_IPMASQ="--ip-masq=true"       not with -m
 *     DOCKER_OPT_MTU="--mtu=1450"
 *     DOCKER_OPTS=" --bip=10.5.66.1/24 --ip-masq=true --mtu=1450"   -c, or neither; named by -k
 *
 * The leading space is the script's, and so are two spaces after a value that the variable had before. Docker
 * masquerades exactly when the network's agent does not: --ip-masq is the negation of FLANNEL_IPMASQ.
 */
import { parseEnv } from 'node:util';
import { prefixLength } from '../../config/address.ts';
import type { DockerOptsFlags } from '../../config/docker-opts-flags.ts';
import type { LeaseSubnets } from '../../leases/lease.ts';
import { firstHost } from '../subnet-env.ts';

export interface DockerNetwork {
  readonly own: LeaseSubnets;
  readonly mtuBytes: number;
  /** Whether this agent masquerades. */
  readonly ipMasq: boolean;
  /** Name of the variable. */
  readonly key: string;
  /** What dockerd needs beside, such as dockerWays says. */
  readonly extraFlags?: readonly string[];
}

/** The one line that the agent writes. Without an IPv4 subnet there is no --bip. */
export function dockerNetworkOptions({ own, mtuBytes, ipMasq, key, extraFlags = [] }: DockerNetwork): string {
  const bip = prefixLength(own.subnet) === 0 ? '' : ` --bip=${firstHost(own.subnet)}`;
  const extra = extraFlags.map((flag) => ` ${flag}`).join('');
  return `${key}="${bip} --ip-masq=${!ipMasq} --mtu=${mtuBytes}${extra}"\n`;
}

export type DockerOptsResult =
  | { readonly ok: true; readonly text: string }
  | { readonly ok: false; readonly reason: string };

type Variables = ReadonlyMap<string, string>;

/**
 * The file that mk-docker-opts.sh would write. Unlike there, a value with spaces in it stays whole, and the text of
 * the subnet file is parsed, never run.
 * @param subnetEnv text of the subnet file, undefined where there is none.
 * @param env each variable with DOCKER_OPT_ in its name is an option too.
 */
export function makeDockerOpts(
  subnetEnv: string | undefined,
  flags: DockerOptsFlags,
  env: Readonly<Record<string, string | undefined>>,
): DockerOptsResult {
  const variables = new Map<string, string>();
  for (const [name, value] of [...Object.entries(env), ...Object.entries(parseEnv(subnetEnv ?? ''))]) {
    if (value !== undefined) variables.set(name, value);
  }
  const own = ownOptions(variables, flags.ipMasq);
  if (!own.ok) return own;
  const options = optionsOf(new Map([...variables, ...own.options]));
  const lines = flags.individual ? options.map(([name, value]) => `${name}="${value}"\n`) : [];
  if (flags.combined) lines.push(combinedLine(flags.key, variables.get(flags.key), options));
  return { ok: true, text: lines.join('') };
}

type OwnOptions =
  | { readonly ok: true; readonly options: readonly (readonly [string, string])[] }
  | { readonly ok: false; readonly reason: string };

function ownOptions(variables: Variables, withIpMasq: boolean): OwnOptions {
  const options: [string, string][] = [];
  const subnet = variables.get('FLANNEL_SUBNET');
  const mtu = variables.get('FLANNEL_MTU');
  const ipMasq = variables.get('FLANNEL_IPMASQ');
  if (subnet) options.push(['DOCKER_OPT_BIP', `--bip=${subnet}`]);
  if (mtu) options.push(['DOCKER_OPT_MTU', `--mtu=${mtu}`]);
  if (ipMasq && withIpMasq) {
    if (ipMasq !== 'true' && ipMasq !== 'false')
      return { ok: false, reason: `FLANNEL_IPMASQ is neither true nor false: ${ipMasq}` };
    options.push(['DOCKER_OPT_IPMASQ', `--ip-masq=${ipMasq === 'false'}`]);
  }
  return { ok: true, options };
}

/** In byte order of the names, as a shell lists its variables. */
function optionsOf(variables: Variables): [string, string][] {
  return [...variables].filter(([name]) => name.includes('DOCKER_OPT_')).sort(([a], [b]) => (a < b ? -1 : 1));
}

function combinedLine(
  key: string,
  before: string | undefined,
  options: readonly (readonly [string, string])[],
): string {
  const head = before ? `${before} ` : '';
  return `${key}="${head}${options.map(([, value]) => ` ${value}`).join('')}"\n`;
}
