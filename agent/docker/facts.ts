/** Gathers what `tartan docker check` goes by. What can't be had is left out, and never ends the check. */
import type { Programs } from '../../backends/firewall/programs.ts';
import type { Kernel } from '../../backends/kernel/kernel.ts';
import { readSysctl, sysctlName } from '../../backends/kernel/sysctl.ts';
import { type Family, familyOf } from '../../config/address.ts';
import { toError } from '../../config/errors.ts';
import { isJsonObject } from '../../config/go-json.ts';
import type { Options } from '../../config/options.ts';
import { recoverMade } from '../recovery.ts';
import type { Status } from '../status.ts';
import { readStatus } from '../status-socket.ts';
import type { CheckFacts, Lease, RuleListings } from './check-facts.ts';
import { commandFlags } from './command-flags.ts';
import { getDocker } from './docker-api.ts';
import { bridgeNetworks, runningContainers } from './docker-objects.ts';
import type { Engine } from './engine.ts';
import { flagsInOptions, parseLease } from './lease-file.ts';
import { namesIn, readSmallFile } from './small-file.ts';
import { DockerSurvey } from './survey.ts';

export interface FactsParts {
  readonly options: Pick<Options, 'subnetFile' | 'dockerOptsFile' | 'statusSocket' | 'dockerd'>;
  readonly programs: Programs;
  readonly kernel: Kernel;
  /** The environment's PATH. */
  readonly path: string;
}

/** Rejects with KERNEL where the kernel can't be read, and with nothing else. */
export async function gatherFacts({ options, programs, kernel, path }: FactsParts): Promise<CheckFacts> {
  const { subnetFile, dockerOptsFile: optionsFile, dockerd } = options;
  const subnetEnv = textOf(subnetFile);
  const engine = await new DockerSurvey({ programs, dockerd, optionsFile, path }).look(true);
  const lease = parseLease(subnetEnv);
  const status = await readStatus(options.statusSocket).catch(() => undefined);
  const ofDocker = await askDocker(engine);
  return {
    ...{ engine, subnetFile, optionsFile, lease },
    optionFlags: flagsInOptions(optionsFile === '' ? '' : textOf(optionsFile)),
    hasAgent: status !== undefined,
    devices: await devicesOf(status, kernel, subnetEnv),
    links: await kernel.links(),
    addresses: [...(await kernel.addresses(4)), ...(await kernel.addresses(6))],
    runningFlags: engine.pid === undefined ? undefined : flagsOfProcess(engine.pid),
    ...ofDocker,
    rules: await listRules(programs),
    forwardingOff: forwardingOff(lease),
  };
}

function textOf(path: string): string {
  const file = readSmallFile(path);
  return file && 'text' in file ? file.text : '';
}

/** undefined where the process can't be seen. */
function flagsOfProcess(pid: number): CheckFacts['runningFlags'] {
  const words = textOf(`/proc/${pid}/cmdline`).split('\0');
  return words.length > 1 ? commandFlags(words.slice(1)) : undefined;
}

const FORWARDING = { 4: 'net/ipv4/ip_forward', 6: 'net/ipv6/conf/all/forwarding' } as const;

function forwardingOff(lease: Lease | undefined): readonly string[] {
  const families = new Set<Family>(lease ? lease.ranges.map(({ network }) => familyOf(network)) : [4]);
  return [...families].flatMap((family) =>
    readSysctl(FORWARDING[family]) === '0' ? sysctlName(FORWARDING[family]) : [],
  );
}

/** As the agent says; without one, what bears its marks in the kernel. */
async function devicesOf(status: Status | undefined, kernel: Kernel, subnetEnv: string): Promise<readonly string[]> {
  const told = status ? devicesIn(status) : [];
  return told.length > 0 ? told : [...(await recoverMade(kernel, subnetEnv)).macs.keys()];
}

function devicesIn({ devices, network, underlay }: Status): readonly string[] {
  const direct = network?.backend === 'host-gw' && underlay ? [underlay.dev] : [];
  return [...devices.map(({ name }) => name), ...direct];
}

type OfDocker = Pick<CheckFacts, 'networks' | 'containers' | 'rootless' | 'isLiveRestore'>;

async function askDocker({ pid, socket }: Engine): Promise<OfDocker> {
  if (pid === undefined)
    return { networks: undefined, containers: undefined, rootless: rootlessUsers(), isLiveRestore: false };
  const paths = ['/networks', '/containers/json', '/info'];
  const [listed, running, info] = await Promise.all(paths.map((path) => getDocker(socket, path)));
  const networks = bridgeNetworks(listed);
  const security = isJsonObject(info) ? info['SecurityOptions'] : undefined;
  const isRootless = Array.isArray(security) && security.some((one) => String(one).includes('name=rootless'));
  return {
    networks,
    containers: runningContainers(running, networks ?? []),
    rootless: [...(isRootless ? ['the one that answers'] : []), ...rootlessUsers()],
    isLiveRestore: isJsonObject(info) && info['LiveRestoreEnabled'] === true,
  };
}

/** A rootless Docker has its files in its user's own directory. */
function rootlessUsers(): readonly string[] {
  const users = namesIn('/run/user').filter((user) => readSmallFile(`/run/user/${user}/docker.pid`) !== undefined);
  return users.map((user) => `user ${user}'s`);
}

async function listRules(programs: Programs): Promise<RuleListings> {
  const problems: string[] = [];
  const list = async (program: string, args: readonly string[]): Promise<string | undefined> => {
    try {
      const outcome = await programs.run(program, args);
      if (outcome && !outcome.ok) problems.push(`${program} failed`);
      return outcome?.ok ? outcome.stdout : undefined;
    } catch (error) {
      problems.push(`${program}: ${toError(error).message}`);
      return undefined;
    }
  };
  const iptables = await listBoth('iptables', list);
  const ip6tables = await listBoth('ip6tables', list);
  const nftables = await list('nft', ['-j', 'list', 'ruleset']);
  if (iptables.size === 0 && nftables === undefined) problems.push('there is neither iptables-save nor nft');
  return { iptables, ip6tables, nftables, problems };
}

/** Both kinds, where the host has both programs: packets pass through the rules of either. */
async function listBoth(
  name: string,
  list: (program: string, args: readonly string[]) => Promise<string | undefined>,
): Promise<ReadonlyMap<string, string>> {
  const found = new Map<string, string>();
  for (const kind of [`${name}-nft`, `${name}-legacy`]) {
    const listing = await list(`${kind}-save`, []);
    if (listing !== undefined) found.set(kind, listing);
  }
  if (found.size > 0) return found;
  const listing = await list(`${name}-save`, []);
  return listing === undefined ? found : new Map([[name, listing]]);
}
