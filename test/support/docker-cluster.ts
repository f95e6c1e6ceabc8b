/** Two hosts with an agent, a real dockerd and a container `web` each, and a machine outside. */
import { mkdir, writeFile } from 'node:fs/promises';
import { PREFIX, tartanOn } from './agent.ts';
import type { DockerContainer } from './docker-client.ts';
import { DAEMON_JSON, DockerDaemon } from './docker-daemon.ts';
import { type DockerVersion, engine } from './docker-engine.ts';
import type { Firewall } from './docker-matrix.ts';
import { PUBLISH, type Server, type Sites, servePage } from './docker-traffic.ts';
import { eventually } from './eventually.ts';
import type { Host } from './host.ts';
import { createLab, type Lab } from './hosts.ts';
import { Member } from './member.ts';
import type { Outcome } from './process.ts';

export interface ClusterOptions {
  readonly docker: DockerVersion;
  readonly firewall: Firewall;
  readonly ipMasq: boolean;
  /** Whether the agent is told which dockerd will run. */
  readonly knowsDockerd: boolean;
  /** Default: vxlan. */
  readonly config?: object;
  /** After the agent's own, and so instead of these. */
  readonly dockerFlags?: (node: DockerNode) => readonly string[];
  readonly beforeDocker?: (node: DockerNode) => Promise<void>;
}

const CONFIG = { Network: '10.5.0.0/16', Backend: { Type: 'vxlan' } };

export class DockerNode extends Member implements Server {
  readonly docker: DockerDaemon;
  /** Of the agent and of `tartan docker check`, where the agent is told which dockerd runs. */
  readonly dockerdFlags: readonly string[];
  #web: DockerContainer | undefined;

  constructor(lab: Lab, docker: DockerDaemon, knowsDockerd: boolean) {
    super(lab, docker.host);
    this.docker = docker;
    this.dockerdFlags = knowsDockerd ? [`--dockerd=${docker.program}`] : [];
  }

  get web(): DockerContainer {
    if (this.#web === undefined) throw new Error(`${this.name} has no container web yet`);
    return this.#web;
  }

  get vtep(): string {
    return this.base;
  }

  get mtu(): number {
    return this.env.mtu;
  }

  /** What `tartan docker check` finds here. */
  check(): Promise<Outcome> {
    return tartanOn(this.lab, this.host, ['docker', 'check', ...this.dockerdFlags]);
  }

  async runWeb(): Promise<void> {
    this.#web = await this.docker.run('web', { options: [...PUBLISH, '--restart=always'] });
  }

  /** Once dockerd was restarted: the same container, maybe at another address. */
  async webStartedAgain(): Promise<void> {
    this.#web = await eventually(`Docker of ${this.name} starts its container again`, () =>
      this.docker.container('web'),
    );
  }
}

export class DockerCluster implements Sites {
  readonly lab: Lab;
  readonly servers: readonly [DockerNode, DockerNode];
  readonly outside: Host;

  private constructor(lab: Lab, servers: readonly [DockerNode, DockerNode], outside: Host) {
    this.lab = lab;
    this.servers = servers;
    this.outside = outside;
  }

  static async start(options: ClusterOptions): Promise<DockerCluster> {
    const lab = await createLab({ hosts: 3 });
    try {
      await lab.etcd.put(`${PREFIX}/config`, JSON.stringify(options.config ?? CONFIG));
      for (const host of lab.hosts) servePage(host);
      const nodes = await Promise.all([startNode(lab, lab.host(1), options), startNode(lab, lab.host(2), options)]);
      return new DockerCluster(lab, nodes, lab.host(3));
    } catch (fault: unknown) {
      lab.destroy();
      throw fault;
    }
  }
}

async function startNode(lab: Lab, host: Host, options: ClusterOptions): Promise<DockerNode> {
  const { firewall, ipMasq, knowsDockerd, dockerFlags, beforeDocker } = options;
  if (firewall === 'iptables-legacy') await useLegacy(host);
  const docker = await DockerDaemon.install(lab, host, engine(options.docker));
  const configured = firewall === 'nftables' ? { 'firewall-backend': 'nftables' } : {};
  await mkdir(host.path('/etc/docker'), { recursive: true });
  await writeFile(host.path(DAEMON_JSON), JSON.stringify({ 'log-level': 'info', ...configured }));
  // As it is where Docker switched forwarding on, before there was an agent.
  await host.run('iptables', ['-P', 'FORWARD', 'DROP']);
  const node = new DockerNode(lab, docker, knowsDockerd);
  await node.start([`--ip-masq=${ipMasq}`, ...node.dockerdFlags]);
  await beforeDocker?.(node);
  await docker.start(dockerFlags?.(node));
  await node.runWeb();
  return node;
}

/** What `iptables` is on the host, for Docker and agent alike. */
async function useLegacy(host: Host): Promise<void> {
  for (const name of ['iptables', 'ip6tables']) {
    await host.run('update-alternatives', ['--set', name, `/usr/sbin/${name}-legacy`]);
  }
}
