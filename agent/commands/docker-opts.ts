import { realpath } from 'node:fs/promises';
import { HostPrograms } from '../../backends/firewall/programs.ts';
import { DAEMON_JSON, type DockerOptsFlags } from '../../config/docker-opts-flags.ts';
import type { Invocation } from '../../config/invocation.ts';
import { readTextFile, writeFileAtomically } from '../atomic-file.ts';
import { mergeDaemonJson, parseDaemonJson } from '../docker/daemon-json.ts';
import { daemonSettings } from '../docker/daemon-settings.ts';
import { makeDockerOpts } from '../docker/docker-opts.ts';
import type { Engine } from '../docker/engine.ts';
import { DockerSurvey } from '../docker/survey.ts';

/** What the command may touch. */
export interface DockerOptsIo {
  /** The file's text, undefined where there is none. */
  readonly readFile: (path: string) => Promise<string | undefined>;
  readonly writeFile: (path: string, text: string) => Promise<void>;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** What Docker runs here. Only asked for daemon.json. */
  readonly survey: () => Promise<Engine>;
  readonly stdout: (text: string) => void;
  readonly stderr: (text: string) => void;
}

/**
 * `tartan docker opts`: reads the subnet file, writes dockerd's options. mk-docker-opts.sh also runs `ip route` at the
 * end and fails where a route to the subnet exists already; that check is left out, since the file is written by then.
 * @returns the exit status: 1 where a file makes no sense (nothing is written then), as for the script.
 * Rejects with what readFile or writeFile reject with.
 */
export async function runDockerOpts(invocation: Invocation, io: DockerOptsIo): Promise<number> {
  const flags = invocation.dockerOpts;
  if (flags === undefined) throw new TypeError('not an invocation of docker opts');
  const subnetEnv = await io.readFile(flags.flannelFile);
  if (flags.format === 'daemon.json') return await writeDaemonJson(flags, subnetEnv, io);
  const result = makeDockerOpts(subnetEnv, flags, io.env);
  if (!result.ok) return refuse(flags.flannelFile, result.reason, io);
  return await write(flags.dockerFile, result.text, io);
}

/** Merges into the file that is named, or prints what Docker's own would be. */
async function writeDaemonJson(
  flags: DockerOptsFlags,
  subnetEnv: string | undefined,
  io: DockerOptsIo,
): Promise<number> {
  const file = flags.dockerFile === '-' ? DAEMON_JSON : flags.dockerFile;
  const engine = await io.survey();
  const before = (await io.readFile(file)) ?? '';
  const read = parseDaemonJson(before);
  if (!read.ok) return refuse(file, `${read.reason}; nothing was changed`, io);
  const made = daemonSettings(subnetEnv, flags.ipMasq, engine, read.values);
  if (!made.ok) return refuse(flags.flannelFile, made.reason, io);
  const clash = flags.dockerFile === engine.configFile ? clashOf(engine, made.settings) : undefined;
  if (clash) return refuse(file, clash, io);
  const merged = mergeDaemonJson(before, made.settings);
  if (!merged.ok) return refuse(file, `${merged.reason}; nothing was changed`, io);
  for (const note of made.notes) io.stderr(`${note}\n`);
  return await write(flags.dockerFile, merged.text, io);
}

/** Why Docker would not start with these keys in its file. */
function clashOf({ unit, settings }: Engine, wanted: ReadonlyMap<string, unknown>): string | undefined {
  if (unit?.ownOptions) {
    return `docker.service (${unit.path}) gives dockerd the agent's options already, and Docker refuses to start where both say the same; take EnvironmentFile= out first (and systemctl daemon-reload)`;
  }
  const bridge = settings.get('bridge')?.at(-1);
  if (bridge) return `${bridge.from} sets "bridge", and Docker refuses to start with bip as well; take that out first`;
  for (const name of wanted.keys()) {
    const flag = settings.get(name)?.find(({ isFlag }) => isFlag);
    if (flag) return `${flag.from} has --${name}, and Docker refuses to start with both; take that out first`;
  }
  return undefined;
}

function refuse(file: string, reason: string, io: DockerOptsIo): number {
  io.stderr(`${file}: ${reason}\n`);
  return 1;
}

async function write(file: string, text: string, io: DockerOptsIo): Promise<number> {
  if (file === '-') io.stdout(text);
  else await io.writeFile(file, text);
  return 0;
}

/** The command as the shell runs it. */
export function dockerOpts(invocation: Invocation): Promise<number> {
  const { dockerd, dockerOptsFile: optionsFile } = invocation.options;
  const path = process.env['PATH'] ?? '';
  return runDockerOpts(invocation, {
    readFile: readTextFile,
    // A link to a file that somebody else manages stays one.
    writeFile: async (file, text) => void (await writeFileAtomically(await realpath(file).catch(() => file), text)),
    env: process.env,
    survey: () => new DockerSurvey({ programs: new HostPrograms(), dockerd, optionsFile, path }).look(true),
    stdout: (text) => void process.stdout.write(text),
    stderr: (text) => void process.stderr.write(text),
  });
}
