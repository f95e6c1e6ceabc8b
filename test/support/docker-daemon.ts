/** A real dockerd on a lab's host, with all of Docker's own paths: /run, /etc and /var/lib are private there. */
import { rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { parseEnv } from 'node:util';
import { cgroupParent, removeLabCgroups } from './cgroups.ts';
import { DockerClient } from './docker-client.ts';
import type { Engine } from './docker-engine.ts';
import { IMAGE, imageTar } from './docker-image.ts';
import { eventually } from './eventually.ts';
import type { Host } from './host.ts';
import type { Lab } from './hosts.ts';
import { MARK, markOf } from './ownership.ts';
import { type LabProcess, type Outcome, searchPath } from './process.ts';

const OPTIONS_FILE = '/run/flannel/docker';
export const DAEMON_JSON = '/etc/docker/daemon.json';

export class DockerDaemon extends DockerClient {
  readonly engine: Engine;
  readonly #lab: Lab;
  #process: LabProcess | undefined;
  #flags: readonly string[] = [];

  private constructor(lab: Lab, host: Host, engine: Engine) {
    super(host);
    this.#lab = lab;
    this.engine = engine;
  }

  /** Prepares the host; starts nothing. */
  static async install(lab: Lab, host: Host, engine: Engine): Promise<DockerDaemon> {
    lab.afterwards(() => removeLabCgroups(lab.name));
    // overlayfs, which Docker stores images with, does not stand on the host's own overlay.
    await host.run('sh', ['-c', 'mkdir -p /var/lib/docker && mount -t tmpfs tmpfs /var/lib/docker']);
    return new DockerDaemon(lab, host, engine);
  }

  get process(): LabProcess {
    if (this.#process === undefined) throw new Error(`${this.host.name} has no dockerd yet`);
    return this.#process;
  }

  /** Path of its program. */
  get program(): string {
    return this.engine.program;
  }

  /** What the agent wrote for Docker, split as systemd does; waits for it. */
  async networkOptions(): Promise<readonly string[]> {
    const written = () => this.host.read(OPTIONS_FILE);
    const text = await eventually(`${this.host.name} has ${OPTIONS_FILE}`, written);
    return (parseEnv(text)['DOCKER_NETWORK_OPTIONS'] ?? '').split(/\s+/).filter((option) => option !== '');
  }

  /**
   * Starts it on the agent's options, as our drop-in does, unless it is to have no bridge or has a daemon.json that says
   * all; resolves when it answers. `flags` are those of the next restart too.
   */
  async start(flags: readonly string[] = this.#flags): Promise<void> {
    this.#flags = flags;
    const own = [
      '--cgroup-parent',
      cgroupParent(this.#lab.name),
      '--storage-driver=overlay2',
      '--userland-proxy=false',
    ];
    const isOnItsOwn = flags.includes('--bridge=none') || (await this.host.read(DAEMON_JSON))?.includes('"bip"');
    const options = isOnItsOwn ? [] : await this.networkOptions();
    const args = [...own, ...options, ...flags];
    const process = this.host.spawn(this.program, args, { env: this.#env });
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
    if ((await this.docker('images', '-q', IMAGE)) === '') await this.import(IMAGE, imageTar());
  }

  /** `changes`: instructions of a Dockerfile. */
  async import(image: string, tar: Buffer, changes: readonly string[] = []): Promise<void> {
    const file = '/run/image.tar';
    await writeFile(this.host.path(file), tar);
    await this.docker('import', ...changes.flatMap((change) => ['--change', change]), file, image);
    await rm(this.host.path(file));
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

  override async docker(...args: readonly string[]): Promise<string> {
    const said = await this.host.run('docker', args, { env: this.#env, timeoutMs: 60_000 });
    return said.trim();
  }

  protected override outside(path: string): string {
    return this.host.path(path);
  }

  get #env(): Readonly<Record<string, string>> {
    const path = searchPath();
    // Debian's client is older than what Docker 29 talks to unasked.
    const env = { DOCKER_MIN_API_VERSION: '1.41', [MARK]: markOf(this.#lab.name) };
    return { ...env, PATH: `${dirname(this.program)}:${path}` };
  }
}
