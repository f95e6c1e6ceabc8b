/** `docker` as typed on a host, and the containers that it makes. */
import { IMAGE, server } from './docker-image.ts';
import { Container, type Host } from './host.ts';
import type { Argv } from './process.ts';

export interface RunOptions {
  /** More options for `docker run`. */
  readonly options?: readonly string[];
  /** Default: serves the page on port 80. */
  readonly command?: readonly string[];
  readonly image?: string;
}

/** A container that Docker made. Commands run in its network, with the host's files. */
export class DockerContainer extends Container {
  /** Another one each time that it is started. */
  readonly id: string;
  readonly #network: string;

  /** `network`: the file of its network namespace, as this process sees it. */
  constructor(host: Host, name: string, ip: string, network: string) {
    super(host, name, ip, undefined, 0);
    this.id = network;
    this.#network = network;
  }

  override get enter(): Argv {
    return ['nsenter', '-t', String(this.host.pid), '-m', '-u', '-i', `--net=${this.#network}`, '--'];
  }
}

export abstract class DockerClient {
  /** Whose network Docker's host has. */
  readonly host: Host;

  constructor(host: Host) {
    this.host = host;
  }

  /** `docker ARGS`; rejects where it fails. @returns what it printed, trimmed */
  abstract docker(...args: readonly string[]): Promise<string>;

  /** A file of Docker's host, seen from outside. */
  protected abstract outside(path: string): string;

  /** Starts a container in the background. */
  async run(name: string, { options = [], command, image = IMAGE }: RunOptions = {}): Promise<DockerContainer> {
    await this.docker(
      'run',
      '--detach',
      '--name',
      name,
      '--stop-signal=KILL',
      ...options,
      image,
      ...(command ?? server(80, '/www')),
    );
    return await this.container(name);
  }

  /** A container that runs; rejects where it does not. */
  async container(name: string): Promise<DockerContainer> {
    const format =
      '{{.State.Running}} {{.NetworkSettings.SandboxKey}} {{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}';
    const [running, key = '', ip = ''] = (await this.docker('inspect', '--format', format, name)).split(' ');
    if (running !== 'true') throw new Error(`the container ${name} of ${this.host.name} does not run`);
    // /var/run is a link to /run, and would be followed into this process's own.
    return new DockerContainer(this.host, name, ip, this.outside(key.replace(/^\/var\/run/, '/run')));
  }
}
