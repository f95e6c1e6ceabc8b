/**
 * What the tests of the whole process share: one lab (switch and etcd) per file; per test a key prefix of its own and
 * hosts of its own, which lose their power when it ends.
 */
import { statSync } from 'node:fs';
import test, { type ExecutionContext } from 'ava';
import type { Status } from '../../../agent/status.ts';
import { readStatus } from '../../../agent/status-socket.ts';
import { startAgent, TARTAN, tartan } from '../../support/agent.ts';
import { eventually, type Patience } from '../../support/eventually.ts';
import type { Host } from '../../support/host.ts';
import { createLab, type HostOptions, type Lab, type LabOptions } from '../../support/hosts.ts';
import type { EtcdEntry } from '../../support/lab-etcd.ts';
import type { ExecOptions, LabProcess, Outcome } from '../../support/process.ts';
import { needs } from '../../support/require.ts';

export const VXLAN = '{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"}}';
export const SUBNET_ENV = '/run/flannel/subnet.env';
export const DOCKER_FILE = '/run/flannel/docker';

/** A vxlan network that has the /24s from 10.5.`first`.0 to 10.5.`last`.0. */
export function narrow(first: number, last = first): string {
  const range = { SubnetLen: 24, SubnetMin: `10.5.${first}.0`, SubnetMax: `10.5.${last}.0` };
  return JSON.stringify({ Network: '10.5.0.0/16', ...range, Backend: { Type: 'vxlan' } });
}

interface SceneOptions {
  /** Default 1. */
  readonly hosts?: number;
  /** The network config to store at once; undefined: none. Default VXLAN. */
  readonly config?: string | undefined;
}

export interface Http {
  readonly status: number;
  readonly body: string;
}

let scenes = 0;

export class Scene {
  readonly lab: Lab;
  readonly prefix: string;
  readonly hosts: Host[] = [];

  constructor(lab: Lab, prefix: string) {
    this.lab = lab;
    this.prefix = prefix;
  }

  /** Host by number, from 1. */
  host(number: number): Host {
    const host = this.hosts[number - 1];
    if (host === undefined) throw new Error(`this scene has no host ${number}`);
    return host;
  }

  async addHost(options: HostOptions = {}): Promise<Host> {
    const host = await this.lab.addHost(options);
    this.hosts.push(host);
    return host;
  }

  /** Starts `tartan run` with this scene's prefix; lines for people, so that tests can read them. */
  start(host: Host, flags: readonly string[] = [], env: Readonly<Record<string, string>> = {}): LabProcess {
    const all = [`--etcd-prefix=${this.prefix}`, '--log-format=human', ...flags];
    const [command, ...args] = tartan.argv;
    if (Object.keys(env).length === 0) return startAgent(this.lab, host, tartan, all);
    return host.spawn(command, [...args, ...this.lab.etcd.flags, '--iface=eth0', ...all], { env });
  }

  /** Starts it and waits until it is ready. */
  async ready(host: Host, flags: readonly string[] = []): Promise<LabProcess> {
    const agent = this.start(host, flags);
    await this.isReady(host, agent);
    return agent;
  }

  async isReady(host: Host, agent: LabProcess, patience: Patience = {}): Promise<Status> {
    return await this.status(host, agent, (status) => status.ready, 'is ready', patience);
  }

  /** The status once it is as wanted; rejects where the agent ends first. */
  async status(
    host: Host,
    agent: LabProcess,
    wanted: (status: Status) => boolean = () => true,
    what = 'answers as wanted',
    patience: Patience = {},
  ): Promise<Status> {
    let last: Status | undefined;
    const context = (): string => `${agent.tail()}\n${JSON.stringify(last, null, 1)}`;
    const found = await eventually(
      `the agent of ${host.name} ${what}`,
      async () => {
        if (!agent.running) return 'ended' as const;
        last = await readStatus(host.path('/run/flannel/subnet.sock'));
        return wanted(last) ? last : undefined;
      },
      { context, ...patience },
    );
    if (found === 'ended') throw new Error(`${host.name}: the agent ended\n${agent.tail(30)}`);
    return found;
  }

  /** Another command of tartan, with this scene's etcd and prefix; `by`: what runs it (`unshare …`). */
  run(host: Host, args: readonly string[], options: ExecOptions = {}, by: readonly string[] = []): Promise<Outcome> {
    const env = { ...this.#env, ...options.env };
    const [command = TARTAN[0], ...rest] = [...by, ...TARTAN, ...args];
    return host.exec(command, rest, { ...options, env });
  }

  /** As run, to be watched and cut short. */
  spawn(host: Host, args: readonly string[]): LabProcess {
    const [node, ...main] = TARTAN;
    return host.spawn(node, [...main, ...args], { env: this.#env });
  }

  get #env(): Readonly<Record<string, string>> {
    return { ...this.lab.etcd.env, TARTAN_ETCD_PREFIX: this.prefix };
  }

  async configure(text: string): Promise<void> {
    await this.lab.etcd.put(`${this.prefix}/config`, text);
  }

  leases(): Promise<readonly EtcdEntry[]> {
    return this.lab.etcd.list(`${this.prefix}/subnets/`);
  }

  /** The lease of a public IP. */
  async lease(publicIp: string): Promise<EtcdEntry> {
    const found = (await this.leases()).find(({ value }) => value.includes(`"PublicIP":"${publicIp}"`));
    if (found === undefined) throw new Error(`${publicIp} holds no lease`);
    return found;
  }

  /** Resolves when the lease is there, or is gone. */
  async leaseIs(publicIp: string, wanted: 'there' | 'gone'): Promise<void> {
    await eventually(`the lease of ${publicIp} is ${wanted}`, async () => {
      const isThere = (await this.leases()).some(({ value }) => value.includes(`"PublicIP":"${publicIp}"`));
      return isThere === (wanted === 'there');
    });
  }

  /** Overwrites a key on an etcd lease of its own, as another daemon would. */
  async takeKey(key: string, value: string): Promise<void> {
    const granted = await this.lab.etcd.ctl(['lease', 'grant', '3600']);
    const id = /lease (\w+) granted/.exec(granted)?.[1] ?? '';
    await this.lab.etcd.ctl(['put', `--lease=${id}`, key], { input: value });
  }

  /** Puts a reservation: `10.5.9.0-24` and what it says. */
  putLease(subnet: string, value: string): Promise<void> {
    return this.lab.etcd.put(`${this.prefix}/subnets/${subnet}`, value);
  }
}

type T = ExecutionContext<unknown>;

/** One lab for a file. @returns how a test gets its scene; undefined where the machine can't have one */
export function scenesOn(options: LabOptions = {}): (t: T, scene?: SceneOptions) => Promise<Scene | undefined> {
  let lab: Promise<Lab> | undefined;
  test.after.always('the lab is taken down', async () => {
    await lab?.then((made) => made.destroy());
  });
  return async (t, wanted = {}) => {
    if (!needs(t, 'lab')) return undefined;
    t.timeout(120_000);
    lab ??= createLab({ hosts: 0, ...options });
    const scene = new Scene(await lab, `/scene-${++scenes}/network`);
    t.teardown(() => Promise.all(scene.hosts.map((host) => host.kill())));
    const config = 'config' in wanted ? wanted.config : VXLAN;
    await Promise.all([
      ...Array.from({ length: wanted.hosts ?? 1 }, () => scene.addHost()),
      config === undefined ? undefined : scene.configure(config),
    ]);
    return scene;
  };
}

export const NOTIFY_SOCKET = '/run/notify';

const LISTEN = `use Socket; $| = 1; socket(S, AF_UNIX, SOCK_DGRAM, 0) or die; unlink $ARGV[0];
bind(S, sockaddr_un($ARGV[0])) or die; print "listening\\n";
while (defined recv(S, $m, 4096, 0)) { $m =~ s/\\n/|/g; print "$m\\n" }`;

/** Listens where systemd would: each datagram is a line, its line breaks `|`. */
export async function asSystemd(host: Host): Promise<LabProcess> {
  const listener = host.spawn('perl', ['-e', LISTEN, NOTIFY_SOCKET]);
  await listener.until(/listening/);
  return listener;
}

/** A request from the host itself. */
export async function http(host: Host, url: string): Promise<Http> {
  const script = `fetch(process.argv[1]).then(async (r) => console.log(JSON.stringify({ status: r.status, body: await r.text() })))`;
  const { status, stdout, stderr } = await host.exec(process.execPath, ['-e', script, url]);
  if (status !== 0) throw new Error(stderr);
  return JSON.parse(stdout);
}

/** What the kernel does of its own accord: IPv6 link-local addresses, which come up some time after their device. */
const KERNELS_OWN = /fe80:|ff00::|33:33:ff|valid_lft/;
/** Our own marks in the monitor's output. */
const MARK = / 192\.0\.2\.\d/;

/** Everything of the kernel's network state that tartan could touch, as text to compare. */
export async function kernelDump(host: Host): Promise<Record<string, string>> {
  const show = async (command: string, ...args: readonly string[]): Promise<string> => {
    const lines = (await host.run(command, args)).split('\n');
    return lines.filter((line) => !KERNELS_OWN.test(line)).join('\n');
  };
  return {
    links: await show('ip', '-d', 'link', 'show'),
    addresses: await show('ip', 'addr', 'show'),
    routes: await show('ip', 'route', 'show', 'table', 'all'),
    routes6: await show('ip', '-6', 'route', 'show', 'table', 'all'),
    nexthops: await show('ip', 'nexthop', 'show'),
    neighbours: await show('ip', 'neigh', 'show', 'nud', 'permanent'),
    fdb: await show('bridge', 'fdb', 'show'),
  };
}

/** Files under the directories, without those directories themselves. */
export async function filesUnder(host: Host, ...dirs: readonly string[]): Promise<string> {
  const script = 'for d in "$@"; do find "$d" -type f -exec md5sum {} + -o -type s -print; done | sort';
  return await host.run('sh', ['-c', script, 'sh', ...dirs]);
}

export function modeOf(host: Host, path: string): number {
  return statSync(host.path(path)).mode & 0o777;
}

/** Neighbours on the wire come and go with the connection to etcd. */
const OF_THE_WIRE = / dev eth0 (lladdr|INCOMPLETE|FAILED|PROBE)/;

/** Netlink events of the host from now on: what a program did, not what the kernel does by itself. */
export async function monitor(host: Host): Promise<{ readonly events: () => Promise<readonly string[]> }> {
  const process = host.spawn('ip', ['monitor', 'link', 'address', 'route', 'neigh', 'nexthop']);
  const mark = async (address: string): Promise<void> => {
    await host.configure(`addr add ${address}/32 dev lo`, `addr del ${address}/32 dev lo`);
    await process.until(new RegExp(`Deleted.* ${address.replaceAll('.', '\\.')}/32`));
  };
  // The listener is there once it reports what is done after it; then what it said so far does not count.
  await eventually('the monitor listens', async () => {
    await host.configure('addr add 192.0.2.1/32 dev lo', 'addr del 192.0.2.1/32 dev lo');
    return process.lines.length > 0;
  });
  await mark('192.0.2.2');
  const from = process.lines.length;
  return {
    events: async () => {
      const to = process.lines.length;
      await mark('192.0.2.3');
      const until = process.lines.findIndex((line, i) => i >= to && line.includes('192.0.2.3'));
      process.signal('SIGTERM');
      const said = process.lines.slice(from, until);
      return said.filter((line) => ![KERNELS_OWN, OF_THE_WIRE, MARK].some((noise) => noise.test(line)));
    },
  };
}
