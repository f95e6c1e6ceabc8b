import type { Invocation } from '../../config/invocation.ts';
import { readTextFile, writeFileAtomically } from '../atomic-file.ts';
import { makeDockerOpts } from '../docker/docker-opts.ts';

/** What the command may touch. */
export interface DockerOptsIo {
  /** The file's text, undefined where there is none. */
  readonly readFile: (path: string) => Promise<string | undefined>;
  readonly writeFile: (path: string, text: string) => Promise<void>;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stdout: (text: string) => void;
  readonly stderr: (text: string) => void;
}

/**
 * `tartan docker opts`: reads the subnet file, writes dockerd's options. mk-docker-opts.sh also runs `ip route` at the
 * end and fails where a route to the subnet exists already; that check is left out, since the file is written by then.
 * @returns the exit status: 1 where the subnet file makes no sense (nothing is written then), as for the script.
 * Rejects with what readFile or writeFile reject with.
 */
export async function runDockerOpts(invocation: Invocation, io: DockerOptsIo): Promise<number> {
  const flags = invocation.dockerOpts;
  if (flags === undefined) throw new TypeError('not an invocation of docker opts');
  const result = makeDockerOpts(await io.readFile(flags.flannelFile), flags, io.env);
  if (!result.ok) {
    io.stderr(`${flags.flannelFile}: ${result.reason}\n`);
    return 1;
  }
  if (flags.dockerFile === '-') io.stdout(result.text);
  else await io.writeFile(flags.dockerFile, result.text);
  return 0;
}

/** The command as the shell runs it. */
export function dockerOpts(invocation: Invocation): Promise<number> {
  return runDockerOpts(invocation, {
    readFile: readTextFile,
    writeFile: async (path, text) => void (await writeFileAtomically(path, text)),
    env: process.env,
    stdout: (text) => void process.stdout.write(text),
    stderr: (text) => void process.stderr.write(text),
  });
}
