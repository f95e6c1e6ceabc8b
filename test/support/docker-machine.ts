/** A host with a real systemd, tartan.service and Debian's docker.service, on a lab's switch. */
import { writeFileSync } from 'node:fs';
import { BootedDocker } from './booted-docker.ts';
import { BootedHost } from './booted-host.ts';
import { installTartan } from './booted-tartan.ts';
import type { DockerContainer } from './docker-client.ts';
import { PUBLISH, type Server, servePage } from './docker-traffic.ts';
import { eventually } from './eventually.ts';
import type { Host } from './host.ts';
import type { Lab } from './hosts.ts';

function variables(lab: Lab, ipMasq: boolean): string {
  return `TARTAN_ETCD_ENDPOINTS=${lab.etcd.endpoint}\nTARTAN_IFACE=eth0\nTARTAN_IP_MASQ=${ipMasq}\n`;
}

/** Its network is that of a lab's host, with which it loses it when it reboots. */
export class DockerMachine implements Server {
  readonly booted = new BootedHost();
  readonly #lab: Lab;
  #host: Host;
  #docker: BootedDocker | undefined;
  #web: DockerContainer | undefined;
  #subnet = '';

  constructor(lab: Lab, host: Host) {
    this.#lab = lab;
    this.#host = host;
    this.booted.useNetwork(host.pid);
    installTartan(this.booted);
    BootedDocker.install(lab, this.booted);
    this.booted.write('/etc/default/tartan', variables(lab, true));
  }

  /** As an operator does it: the file edited, then both restarted. */
  async masquerade(isAgents: boolean): Promise<void> {
    writeFileSync(this.booted.path('/etc/default/tartan'), variables(this.#lab, isAgents));
    await this.booted.must('systemctl', 'restart', 'tartan');
    await this.booted.must('systemctl', 'restart', 'docker');
    await this.webStartedAgain();
  }

  get host(): Host {
    return this.#host;
  }

  get docker(): BootedDocker {
    if (this.#docker === undefined) throw new Error(`${this.host.name} has no Docker yet`);
    return this.#docker;
  }

  get web(): DockerContainer {
    if (this.#web === undefined) throw new Error(`${this.host.name} has no container web yet`);
    return this.#web;
  }

  /** `10.5.17.1/24` */
  get subnet(): string {
    return this.#subnet;
  }

  get vtep(): string {
    return this.subnet.replace(/\.1\/.*/, '.0');
  }

  get mtu(): number {
    return 1450;
  }

  async dockerStarted(): Promise<void> {
    await this.booted.until(async () => (await this.booted.show('docker', 'ActiveState')) === 'active');
    this.#docker = await BootedDocker.connect(this.host, this.booted);
    this.#subnet = /FLANNEL_SUBNET=(\S+)/.exec(await this.booted.run('cat', '/run/flannel/subnet.env'))?.[1] ?? '';
  }

  async runWeb(): Promise<void> {
    this.#web = await this.docker.run('web', { options: [...PUBLISH, '--restart=always'] });
  }

  async webStartedAgain(): Promise<void> {
    const started = () => this.docker.container('web');
    this.#web = await eventually(`Docker of ${this.host.name} starts its container again`, started);
  }

  /** The kernel's part of it goes too: links, routes and rules are another namespace's then. */
  async reboot(): Promise<void> {
    const old = this.host;
    const fresh = await this.#lab.addHost({ name: old.name, address: Number(old.ip.split('.')[3]) });
    await fresh.unplug();
    this.booted.useNetwork(fresh.pid);
    this.#host = fresh;
    await this.booted.reboot(async () => {
      await old.kill();
      await fresh.plug();
    });
    servePage(fresh);
    await this.dockerStarted();
    await this.webStartedAgain();
  }
}
