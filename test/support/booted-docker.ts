/** Debian's own docker.service and our drop-in, on a booted host whose network is a lab host's. */
import type { BootedHost } from './booted-host.ts';
import { cgroupParent, removeLabCgroups } from './cgroups.ts';
import { DockerClient } from './docker-client.ts';
import { IMAGE, imageTar } from './docker-image.ts';
import type { Host } from './host.ts';
import type { Lab } from './hosts.ts';
import { inRepository } from './repository.ts';

const IMAGE_FILE = '/usr/local/lib/image.tar';

/** nspawn mounts the machine's cgroups read-only. */
const WRITABLE_CGROUPS = `[Service]
ExecStartPre=/bin/sh -c 'for c in /sys/fs/cgroup/*/; do mount -o remount,bind,rw $c; done; true'
`;

export class BootedDocker extends DockerClient {
  readonly #booted: BootedHost;

  private constructor(host: Host, booted: BootedHost) {
    super(host);
    this.#booted = booted;
  }

  /** Before the host boots. */
  static install(lab: Lab, booted: BootedHost): void {
    lab.afterwards(() => removeLabCgroups(lab.name));
    const drops = '/etc/systemd/system/docker.service.d';
    booted.copy(inRepository('deploy/docker.service.d/tartan.conf'), `${drops}/tartan.conf`);
    booted.write(`${drops}/cgroups.conf`, WRITABLE_CGROUPS);
    booted.write('/etc/default/docker', `DOCKER_OPTS=--cgroup-parent=${cgroupParent(lab.name)}\n`);
    booted.write(IMAGE_FILE, imageTar());
  }

  /** Once docker.service is active. `host`: whose network the booted host has. */
  static async connect(host: Host, booted: BootedHost): Promise<BootedDocker> {
    const docker = new BootedDocker(host, booted);
    if ((await docker.docker('images', '-q', IMAGE)) === '') await docker.docker('import', IMAGE_FILE, IMAGE);
    return docker;
  }

  override docker(...args: readonly string[]): Promise<string> {
    return this.#booted.must('docker', ...args);
  }

  protected override outside(path: string): string {
    return this.#booted.path(path);
  }
}
