/**
 * Two hosts with an agent and a real dockerd each, and a machine outside that knows nothing of the overlay. On all three
 * a page tells who asked for it; on the two a container does, and is published as port 8080.
 */
import { writeFile } from 'node:fs/promises';
import { PREFIX } from './agent.ts';
import { type DockerContainer, DockerDaemon } from './docker-daemon.ts';
import { type DockerVersion, engine } from './docker-engine.ts';
import { BODY_BYTES, PAGE, server, writePage } from './docker-image.ts';
import type { Firewall, Seen, Traffic } from './docker-matrix.ts';
import type { Host } from './host.ts';
import { createLab, type Lab } from './hosts.ts';
import { Member } from './member.ts';
import type { Place } from './namespace.ts';

export interface ClusterOptions {
  readonly docker: DockerVersion;
  readonly firewall: Firewall;
  readonly agentFlags?: readonly string[];
  /** Default: vxlan. */
  readonly config?: object;
  /** Between the agents' start and Docker's. */
  readonly beforeDocker?: (node: DockerNode) => Promise<readonly string[]>;
}

const PUBLISHED = 8080;
const ON_HOST = 8000;
const CONFIG = { Network: '10.5.0.0/16', Backend: { Type: 'vxlan' } };

/** A host with its agent, its Docker and its container `web`. */
export class DockerNode extends Member {
  readonly docker: DockerDaemon;
  #web: DockerContainer | undefined;

  constructor(lab: Lab, docker: DockerDaemon) {
    super(lab, docker.host);
    this.docker = docker;
  }

  get web(): DockerContainer {
    if (this.#web === undefined) throw new Error(`${this.name} has no container web yet`);
    return this.#web;
  }

  async runWeb(): Promise<void> {
    this.#web = await this.docker.run('web', { options: ['--publish', `${PUBLISHED}:80`, '--restart=always'] });
  }

  /** Whose address of this node's it is. */
  whose(address: string): Seen | undefined {
    if (address === this.web.ip) return 'container';
    if (address === this.host.ip) return 'host';
    return address === this.base ? 'VTEP' : undefined;
  }
}

export class DockerCluster {
  readonly lab: Lab;
  readonly nodes: readonly [DockerNode, DockerNode];
  readonly outside: Host;

  private constructor(lab: Lab, nodes: readonly [DockerNode, DockerNode], outside: Host) {
    this.lab = lab;
    this.nodes = nodes;
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

  /** Every way once, in both directions. */
  async traffic(): Promise<Traffic> {
    const [one, two] = this.nodes;
    const [there, back] = await Promise.all([this.#trafficBetween(one, two), this.#trafficBetween(two, one)]);
    const differing = Object.entries(there).filter(([way, seen]) =>
      Object.entries(back).some(([w, s]) => w === way && s !== seen),
    );
    if (differing.length > 0) throw new Error(`not the same both ways: ${JSON.stringify({ there, back })}`);
    return there;
  }

  async #trafficBetween(from: DockerNode, to: DockerNode): Promise<Traffic> {
    const seenOf = (node: DockerNode, place: Place, address: string, port: number): Promise<Seen> =>
      fetchPage(place, address, port).then((seen) => name(seen, node));
    const outside = this.outside;
    const ways = {
      toContainer: seenOf(from, from.web, to.web.ip, 80).then((seen) => this.#alsoInFull(from, to, seen)),
      toRemoteHost: seenOf(from, from.web, to.host.ip, ON_HOST),
      hostToContainer: seenOf(from, from.host, to.web.ip, 80),
      toOutside: seenOf(from, from.web, outside.ip, ON_HOST),
      publishedToHost: seenOf(from, from.host, to.host.ip, PUBLISHED),
      publishedToContainer: seenOf(from, from.web, to.host.ip, PUBLISHED),
      publishedToOutside: fetchPage(outside, to.host.ip, PUBLISHED).then((seen) => nameOutside(seen, outside)),
    };
    await Promise.all(Object.values(ways));
    return {
      toContainer: await ways.toContainer,
      toRemoteHost: await ways.toRemoteHost,
      hostToContainer: await ways.hostToContainer,
      toOutside: await ways.toOutside,
      publishedToHost: await ways.publishedToHost,
      publishedToContainer: await ways.publishedToContainer,
      publishedToOutside: await ways.publishedToOutside,
    };
  }

  async #alsoInFull(from: DockerNode, to: DockerNode, seen: Seen): Promise<Seen> {
    if (seen === 'blocked') return seen;
    const { ok, output } = await from.web.ping(to.web, { packetBytes: from.env.mtu });
    if (!ok) throw new Error(`pages cross, full-sized packets do not: ${output}`);
    return seen;
  }
}

async function startNode(lab: Lab, host: Host, options: ClusterOptions): Promise<DockerNode> {
  if (options.firewall === 'iptables-legacy') await useLegacy(host);
  const docker = await DockerDaemon.install(lab, host, engine(options.docker));
  if (options.firewall === 'nftables') {
    await host.run('mkdir', ['-p', '/etc/docker']);
    await writeFile(host.path('/etc/docker/daemon.json'), '{"firewall-backend": "nftables"}\n');
  }
  const node = new DockerNode(lab, docker);
  await node.start(options.agentFlags);
  const flags = (await options.beforeDocker?.(node)) ?? [];
  await docker.start(flags);
  await node.runWeb();
  return node;
}

/** What `iptables` is on the host, for Docker and agent alike. */
async function useLegacy(host: Host): Promise<void> {
  for (const name of ['iptables', 'ip6tables']) {
    await host.run('update-alternatives', ['--set', name, `/usr/sbin/${name}-legacy`]);
  }
}

function servePage(host: Host): void {
  writePage(host.path('/run/www'));
  const [command = '', ...args] = server(ON_HOST, '/run/www');
  host.spawn(command, args);
}

/** @returns whom the page's server saw; undefined where nothing came back */
async function fetchPage(from: Place, address: string, port: number): Promise<string | undefined> {
  const script = `exec 3<>/dev/tcp/${address}/${port} && printf 'GET ${PAGE} HTTP/1.0\\r\\n\\r\\n' >&3 && cat <&3`;
  const { stdout } = await from.exec('timeout', ['2', 'bash', '-c', script]);
  const [, seen, body] = /\n\r\n(\S+)\n(x*)$/.exec(stdout) ?? [];
  return body?.length === BODY_BYTES ? seen : undefined;
}

function name(seen: string | undefined, of: DockerNode): Seen {
  if (seen === undefined) return 'blocked';
  const whose = of.whose(seen);
  if (whose === undefined) throw new Error(`came from ${seen}, which is not of ${of.name}`);
  return whose;
}

function nameOutside(seen: string | undefined, outside: Host): Seen {
  if (seen === undefined) return 'blocked';
  if (seen !== outside.ip) throw new Error(`came from ${seen}, not from outside`);
  return 'host';
}
