/** Looks at what Docker runs on this host. Cheap, and it survives whatever stands where Docker's files should be. */
import { accessSync, constants, existsSync, readlinkSync, statSync } from 'node:fs';
import { delimiter, isAbsolute, join } from 'node:path';
import type { Programs } from '../../backends/firewall/programs.ts';
import { DAEMON_JSON } from '../../config/docker-opts-flags.ts';
import { commandFlags, flagsInHelp, lastOf } from './command-flags.ts';
import { parseDaemonJson } from './daemon-json.ts';
import { getDocker, textAt } from './docker-api.ts';
import { type DockerUnit, readDockerUnit } from './docker-unit.ts';
import { DEFAULT_BRIDGE, type Engine, type Fact, type FirewallBackend, type Setting, usesNftables } from './engine.ts';
import { readSmallFile } from './small-file.ts';

export interface SurveyParts {
  readonly programs: Programs;
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
/** Of a program that is read from a slow disk for the first time. */
const HELP_WITHIN_MS = 5_000;

/** A socket that systemd holds for a daemon that does not run would start it: nobody is asked then. */
function runningPid(pidFile: string): number | undefined {
  const file = readSmallFile(pidFile);
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
    const unit = readDockerUnit(optionsFile, root);
    const flags = commandFlags(unit?.othersWords.slice(1) ?? []);
    const configFile = lastOf(flags, 'config-file') ?? DAEMON_JSON;
    const file = this.#daemonJson(configFile);
    const settings = settingsOf(file.values, configFile, flags, unit?.execStartFrom ?? '');
    const socket = socketOf(settings);
    const answers = await this.#ask(socket, settings);
    const dockerd = this.#program(unit, answers.pid);
    const hasBridge = existsSync(join(root, '/sys/class/net', DEFAULT_BRIDGE));
    const chosen = settings.get('firewall-backend')?.at(-1);
    const chosenBackend = chosen && isBackend(chosen.value) ? { value: chosen.value, from: chosen.from } : undefined;
    // A daemon that restarts, or is too busy to tell, must not take its containers' way from them.
    this.#runningBackend = answers.backend ?? this.#runningBackend;
    const runningBackend = this.#runningBackend;
    const wantsFlags = isThorough || usesNftables({ chosenBackend, runningBackend });
    return {
      isFound: unit !== undefined || file.isThere || dockerd !== undefined || answers.pid !== undefined || hasBridge,
      ...{ pid: answers.pid, version: answers.version, apiVersion: answers.apiVersion },
      ...{ dockerd, configFile, socket, settings, chosenBackend, runningBackend },
      knownFlags: wantsFlags ? await this.#flags(dockerd, answers.apiVersion) : undefined,
      unit: unit && { path: unit.execStartFrom, after: unit.after, ownOptions: unit.ownOptions },
      problems: [...(unit?.problems ?? []), ...file.problems],
    };
  }

  #daemonJson(path: string) {
    const file = readSmallFile(join(this.#parts.root ?? '', path));
    if (file === undefined) return { isThere: false, values: new Map<string, unknown>(), problems: [] };
    const read = 'text' in file ? parseDaemonJson(file.text) : ({ ok: false, reason: file.problem } as const);
    if (read.ok) return { isThere: true, values: read.values, problems: [] };
    return { isThere: true, values: new Map<string, unknown>(), problems: [`${path}: ${read.reason}`] };
  }

  /** --dockerd, else the unit's, else the one that runs, else the one of PATH. */
  #program(unit: DockerUnit | undefined, pid: number | undefined): Fact<string> | undefined {
    const { dockerd, path, root = '' } = this.#parts;
    if (dockerd !== '') return { value: dockerd, from: '--dockerd' };
    const word = unit?.words[0];
    if (unit && word && isAbsolute(word) && /\/dockerd[^/]*$/.test(word)) {
      return { value: word, from: unit.execStartFrom };
    }
    const running = pid && programOf(join(root, `/proc/${pid}/exe`));
    if (running) return { value: running, from: 'the Docker that runs' };
    const found = inPath('dockerd', unit?.searchPath ?? '', root) ?? inPath('dockerd', path, root);
    return found === undefined ? undefined : { value: found, from: 'PATH' };
  }

  async #ask(socket: string, settings: Engine['settings']) {
    const nothing = { pid: undefined, version: undefined, apiVersion: undefined, backend: undefined };
    const pidFile = String(settings.get('pidfile')?.at(-1)?.value ?? PID_FILE);
    const pid = runningPid(join(this.#parts.root ?? '', pidFile));
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
    const key = identityOf(program);
    if (key === undefined) return undefined;
    if (this.#help?.key === key) return this.#help.flags;
    const { programs } = this.#parts;
    const outcome = await programs.run(program, ['--help'], { timeLimitMs: HELP_WITHIN_MS }).catch(() => undefined);
    const flags = outcome?.ok ? flagsInHelp(outcome.stdout) : undefined;
    if (flags) this.#help = { key, flags };
    return flags;
  }
}

/** What differs where a file was replaced; undefined where it is none. */
function identityOf(file: string): string | undefined {
  try {
    const stat = statSync(file);
    return stat.isFile() ? [file, stat.dev, stat.ino, stat.size, stat.mtimeMs].join(' ') : undefined;
  } catch {
    return undefined;
  }
}

/** undefined where it is not told, or is no dockerd: in a container the pid may be of somebody else. */
function programOf(exe: string): string | undefined {
  try {
    const program = readlinkSync(exe);
    return /\/dockerd[^/ ]*$/.test(program) ? program : undefined;
  } catch {
    return undefined;
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

function inPath(name: string, path: string, root: string): string | undefined {
  const files = path.split(delimiter).map((directory) => join(directory, name));
  return files.find((file) => isAbsolute(file) && isProgram(join(root, file)));
}

function isProgram(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
