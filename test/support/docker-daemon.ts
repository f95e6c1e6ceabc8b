/**
 * A real dockerd on a lab's host, with all of Docker's own paths: /run, /etc and /var/lib are private there. Its
 * containers carry the lab's mark, so that they end with the lab.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { parseEnv } from 'node:util';
import { cgroupParent, removeLabCgroups, sweepCgroups } from './cgroups.ts';
import type { Engine } from './docker-engine.ts';
import { IMAGE, imageTar, server } from './docker-image.ts';
import { eventually } from './eventually.ts';
import { Container, type Host } from './host.ts';
import type { Lab } from './hosts.ts';
import { MARK, markOf } from './ownership.ts';
import { type Argv, type LabProcess, type Outcome, searchPath } from './process.ts';

export interface RunOptions {
  /** More options for `docker run`. */
  readonly options?: readonly string[];
  /** Default: serves the page on port 80. */
  readonly command?: readonly string[];
  readonly image?: string;
}

/** A container that Docker made. Commands run in its network, with the host's files. */
export class DockerContainer extends Container {
  readonly #process: number;

  constructor(host: Host, name: string, ip: string, process: number) {
    super(host, name, ip, undefined, 0);
    this.#process = process;
  }

  override get enter(): Argv {
    return ['nsenter', '-t', String(this.host.pid), '-m', '-u', '-i', `--net=/proc/${this.#process}/ns/net`, '--'];
  }
}

const OPTIONS_FILE = '/run/flannel/docker';

export class DockerDaemon {
  readonly host: Host;
  readonly engine: Engine;
  readonly #lab: Lab;
  #process: LabProcess | undefined;
  #flags: readonly string[] = [];

  private constructor(lab: Lab, host: Host, engine: Engine) {
    this.#lab = lab;
    this.host = host;
    this.engine = engine;
  }

  /** Prepares the host; starts nothing. */
  static async install(lab: Lab, host: Host, engine: Engine): Promise<DockerDaemon> {
    sweepCgroups();
    lab.afterwards(() => removeLabCgroups(lab.name));
    // overlayfs, which Docker stores images with, does not stand on the host's own overlay.
    await host.run('sh', ['-c', 'mkdir -p /var/lib/docker && mount -t tmpfs tmpfs /var/lib/docker']);
    await mkdir(host.path('/run/image'), { recursive: true });
    await writeFile(host.path('/run/image/tar'), imageTar());
    return new DockerDaemon(lab, host, engine);
  }

  get process(): LabProcess {
    if (this.#process === undefined) throw new Error(`${this.host.name} has no dockerd yet`);
    return this.#process;
  }

  /** What the agent wrote for Docker, split as systemd does. */
  async networkOptions(): Promise<readonly string[]> {
    const text = await this.host.read(OPTIONS_FILE);
    if (text === undefined) throw new Error(`${this.host.name} has no ${OPTIONS_FILE}`);
    return (parseEnv(text)['DOCKER_NETWORK_OPTIONS'] ?? '').split(/\s+/).filter((option) => option !== '');
  }

  /** Starts it on the agent's options, as our drop-in does; resolves when it answers. `flags` last until the next start. */
  async start(flags: readonly string[] = this.#flags): Promise<void> {
    this.#flags = flags;
    const own = [
      '--cgroup-parent',
      cgroupParent(this.#lab.name),
      '--storage-driver=overlay2',
      '--userland-proxy=false',
    ];
    const args = [...own, ...(await this.networkOptions()), ...flags];
    const process = this.host.spawn('dockerd', args, { env: this.#env });
    this.#process = process;
    await eventually(
      `dockerd of ${this.host.name} answers`,
      async () => {
        if (!process.running) return 'ended';
        return (await this.cli(['version'])).status === 0 ? 'ready' : undefined;
      },
      { timeoutMs: 60_000, context: () => process.tail() },
    ).then((state) => {
      if (state === 'ended') throw new Error(`dockerd of ${this.host.name} ended\n${process.tail()}`);
    });
    if ((await this.docker('images', '-q', IMAGE)) === '') await this.docker('import', '/run/image/tar', IMAGE);
  }

  /** In order: Docker stops its containers. */
  async stop(): Promise<void> {
    await this.process.stop('SIGTERM', 60_000);
  }

  async restart(flags: readonly string[] = this.#flags): Promise<void> {
    await this.stop();
    await this.start(flags);
  }

  cli(args: readonly string[]): Promise<Outcome> {
    return this.host.exec('docker', args, { env: this.#env, timeoutMs: 60_000 });
  }

  /** `docker ARGS`; rejects where it fails. @returns what it printed */
  async docker(...args: readonly string[]): Promise<string> {
    const said = await this.host.run('docker', args, { env: this.#env, timeoutMs: 60_000 });
    return said.trim();
  }

  /** Starts a container in the background. */
  async run(name: string, { options = [], command, image = IMAGE }: RunOptions = {}): Promise<DockerContainer> {
    const mark = `${MARK}=${markOf(this.#lab.name)}`;
    const own = ['--detach', '--name', name, '--stop-signal=KILL', '--env', mark, ...options];
    await this.docker('run', ...own, image, ...(command ?? server(80, '/www')));
    return await this.container(name);
  }

  /** A container that runs. */
  async container(name: string): Promise<DockerContainer> {
    const format = '{{.State.Pid}} {{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}';
    const [pid, ip] = (await this.docker('inspect', '--format', format, name)).split(' ');
    return new DockerContainer(this.host, name, ip ?? '', Number(pid));
  }

  get #env(): Readonly<Record<string, string>> {
    const path = searchPath();
    // Debian's client is older than what Docker 29 talks to unasked.
    const env = { DOCKER_MIN_API_VERSION: '1.41', [MARK]: markOf(this.#lab.name) };
    return { ...env, PATH: this.engine.dir === undefined ? path : `${this.engine.dir}:${path}` };
  }
}
