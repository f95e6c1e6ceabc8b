/** Looks at what Docker runs on this host. Cheap, and it survives whatever stands where Docker's files should be. */
import { access, constants, stat } from 'node:fs/promises';
import { delimiter, isAbsolute, join } from 'node:path';
import type { Programs } from '../../backends/firewall/programs.ts';
import { commandFlags, flagsInHelp, lastOf } from './command-flags.ts';
import { DAEMON_JSON, parseDaemonJson } from './daemon-json.ts';
import { getDocker, textAt } from './docker-api.ts';
import { type DockerUnit, readDockerUnit } from './docker-unit.ts';
import type { Engine, Fact, FirewallBackend, Setting } from './engine.ts';
import { readSmallFile } from './small-file.ts';

export interface SurveyParts {
  readonly programs: Pick<Programs, 'run'>;
  /** --dockerd, "" where it is not given. */
  readonly dockerd: string;
  /** --docker-opts-file: what stands there is tartan's own. */
  readonly optionsFile: string;
  /** Of the environment. */
  readonly path: string;
  /** For tests: what stands before each path. */
  readonly root?: string;
}

const SOCKET = '/run/docker.sock';
const PID_FILE = '/run/docker.pid';
/** A socket that systemd holds for a daemon that does not run would start it: nobody is asked then. */
async function runningPid(pidFile: string): Promise<number | undefined> {
  const file = await readSmallFile(pidFile);
  const pid = file && 'text' in file ? Number.parseInt(file.text, 10) : Number.NaN;
  if (!(pid > 0)) return undefined;
  try {
    process.kill(pid, 0);
    return pid;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM' ? pid : undefined;
  }
}

/** API versions from which on a daemon knows the flags: 28.2 and 29.0. */
const FLAGS_SINCE = [
  { minor: 50, flag: 'allow-direct-routing' },
  { minor: 52, flag: 'bridge-accept-fwmark' },
  { minor: 52, flag: 'firewall-backend' },
] as const;

/** Keeps what `dockerd --help` said for as long as the program is the same. */
export class DockerSurvey {
  readonly #parts: SurveyParts;
  #runningBackend: FirewallBackend | undefined;
  #help: { readonly key: string; readonly flags: ReadonlySet<string> } | undefined;

  constructor(parts: SurveyParts) {
    this.#parts = parts;
  }

  /**
   * Never rejects. Processes are only started where Docker's firewall is nftables: `dockerd --help`, once.
   * @param isThorough also where the answer does not matter to the agent.
   */
  async look(isThorough = false): Promise<Engine> {
    const { root = '', optionsFile } = this.#parts;
    const unit = await readDockerUnit(optionsFile, root);
    const flags = commandFlags(unit?.othersWords.slice(1) ?? []);
    const configFile = lastOf(flags, 'config-file') ?? DAEMON_JSON;
    const file = await this.#daemonJson(configFile);
    const settings = settingsOf(file.values, configFile, flags, unit?.execStartFrom ?? '');
    const socket = socketOf(settings);
    const [dockerd, answers] = await Promise.all([this.#program(unit), this.#ask(socket, settings)]);
    const hasBridge = await exists(join(root, '/sys/class/net/docker0'));
    const chosen = settings.get('firewall-backend')?.at(-1);
    const chosenBackend = chosen && isBackend(chosen.value) ? { value: chosen.value, from: chosen.from } : undefined;
    // A daemon that restarts, or is too busy to tell, must not take its containers' way from them.
    this.#runningBackend = answers.backend ?? this.#runningBackend;
    const runningBackend = this.#runningBackend;
    const isNftables = chosenBackend?.value === 'nftables' || runningBackend === 'nftables';
    const wantsFlags = isThorough || isNftables;
    return {
      isFound: unit !== undefined || file.isThere || dockerd !== undefined || answers.pid !== undefined || hasBridge,
      ...{ pid: answers.pid, version: answers.version, apiVersion: answers.apiVersion },
      ...{ dockerd, configFile, socket, settings, chosenBackend, runningBackend },
      knownFlags: wantsFlags ? await this.#flags(dockerd, answers.apiVersion) : undefined,
      unit: unit && { path: unit.execStartFrom, after: unit.after, ownOptions: unit.ownOptions },
      problems: [...(unit?.problems ?? []), ...file.problems],
    };
  }

  async #daemonJson(path: string) {
    const file = await readSmallFile(join(this.#parts.root ?? '', path));
    if (file === undefined) return { isThere: false, values: new Map<string, unknown>(), problems: [] };
    const read = 'text' in file ? parseDaemonJson(file.text) : ({ ok: false, reason: file.problem } as const);
    if (read.ok) return { isThere: true, values: read.values, problems: [] };
    return { isThere: true, values: new Map<string, unknown>(), problems: [`${path}: ${read.reason}`] };
  }

  /** --dockerd, else the unit's, else the one of PATH. */
  async #program(unit: DockerUnit | undefined): Promise<Fact<string> | undefined> {
    const { dockerd, path, root = '' } = this.#parts;
    if (dockerd !== '') return { value: dockerd, from: '--dockerd' };
    const word = unit?.words[0];
    if (unit && word && isAbsolute(word) && /\/dockerd[^/]*$/.test(word)) {
      return { value: word, from: unit.execStartFrom };
    }
    const found = (await inPath('dockerd', unit?.searchPath ?? '', root)) ?? (await inPath('dockerd', path, root));
    return found === undefined ? undefined : { value: found, from: 'PATH' };
  }

  async #ask(socket: string, settings: Engine['settings']) {
    const nothing = { pid: undefined, version: undefined, apiVersion: undefined, backend: undefined };
    const pidFile = String(settings.get('pidfile')?.at(-1)?.value ?? PID_FILE);
    const pid = await runningPid(join(this.#parts.root ?? '', pidFile));
    if (pid === undefined) return nothing;
    const path = join(this.#parts.root ?? '', socket);
    const [version, info] = await Promise.all([getDocker(path, '/version'), getDocker(path, '/info')]);
    if (textAt(version, 'ApiVersion') === undefined) return nothing;
    const driver = textAt(info, 'FirewallBackend', 'Driver')?.split('+')[0];
    const backend: FirewallBackend | undefined = isBackend(driver) ? driver : undefined;
    return { pid, version: textAt(version, 'Version'), apiVersion: textAt(version, 'ApiVersion'), backend };
  }

  /** What the program says; without it what its API's version tells. */
  async #flags(dockerd: Fact<string> | undefined, apiVersion: string | undefined): Promise<Engine['knownFlags']> {
    const said = dockerd && (await this.#askHelp(dockerd.value));
    if (dockerd && said) return { value: said, from: dockerd.value };
    const minor = Number(/^1\.(\d+)$/.exec(apiVersion ?? '')?.[1] ?? Number.NaN);
    if (Number.isNaN(minor) || dockerd?.from === '--dockerd') return undefined;
    const known = FLAGS_SINCE.filter(({ minor: since }) => minor >= since).map(({ flag }) => flag);
    return { value: new Set<string>(known), from: `the Docker that runs (API ${apiVersion})` };
  }

  async #askHelp(program: string): Promise<ReadonlySet<string> | undefined> {
    const found = await stat(program).catch(() => undefined);
    if (!found?.isFile()) return undefined;
    const key = `${program} ${found.dev} ${found.ino} ${found.size} ${found.mtimeMs}`;
    if (this.#help?.key === key) return this.#help.flags;
    const outcome = await this.#parts.programs.run(program, ['--help']).catch(() => undefined);
    const flags = outcome?.ok ? flagsInHelp(outcome.stdout) : undefined;
    if (flags) this.#help = { key, flags };
    return flags;
  }
}

function isBackend(value: unknown): value is FirewallBackend {
  return value === 'iptables' || value === 'nftables';
}

/** Names of daemon.json that differ from the flag's. */
const LIST_NAMES: ReadonlyMap<string, string> = new Map([
  ['hosts', 'host'],
  ['default-network-opts', 'default-network-opt'],
]);

function settingsOf(
  values: ReadonlyMap<string, unknown>,
  configFile: string,
  flags: ReadonlyMap<string, readonly string[]>,
  unitFile: string,
): Engine['settings'] {
  const settings = new Map<string, Setting[]>();
  const add = (name: string, setting: Setting) => settings.set(name, [...(settings.get(name) ?? []), setting]);
  for (const [key, value] of values) add(LIST_NAMES.get(key) ?? key, { value, from: configFile, isFlag: false });
  for (const [name, all] of flags) for (const value of all) add(name, { value, from: unitFile, isFlag: true });
  return settings;
}

function socketOf(settings: Engine['settings']): string {
  const hosts = (settings.get('host') ?? []).flatMap(({ value }) =>
    Array.isArray(value) ? value.map(String) : String(value),
  );
  return hosts.find((host) => host.startsWith('unix:///'))?.slice('unix://'.length) ?? SOCKET;
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined;
}

async function inPath(name: string, path: string, root: string): Promise<string | undefined> {
  for (const directory of path.split(delimiter)) {
    const file = join(directory, name);
    if (
      isAbsolute(file) &&
      (await access(join(root, file), constants.X_OK).then(
        () => true,
        () => false,
      ))
    )
      return file;
  }
  return undefined;
}
