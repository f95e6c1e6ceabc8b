/** A host whose agent is killed again and again, and what must hold of it after each time. */

import { createHash } from 'node:crypto';
import type { Status } from '../../agent/status.ts';
import { readStatus } from '../../agent/status-socket.ts';
import { PREFIX, TARTAN } from '../support/agent.ts';
import { type CrashPoint, nameOf, startDoomed } from '../support/crash-point.ts';
import { difference } from '../support/difference.ts';
import { eventually } from '../support/eventually.ts';
import type { Host } from '../support/host.ts';
import type { Lab } from '../support/hosts.ts';
import { expected, found } from '../support/kernel-comparison.ts';
import { type Lease, LeaseHistory } from '../support/lease-history.ts';
import type { LabProcess } from '../support/process.ts';

const STATE_DIR = '/var/lib/tartan/coreos.com/network';
export const STATE_FILE = `${STATE_DIR}/state.json`;
export const CLUSTER_FILE = `${STATE_DIR}/cluster.jsonl`;
export const SUBNET_FILE = '/run/flannel/subnet.env';
export const DOCKER_FILE = '/run/flannel/docker';
/** The file that becomes the published one. */
export const newFile = (path: string): string => path.replace(/([^/]+)$/, '.$1.tartan-new');

const SUBNET_ENV =
  /^FLANNEL_NETWORK=[\d./,]+\nFLANNEL_SUBNET=[\d.]+\/\d+\nFLANNEL_MTU=\d+\nFLANNEL_IPMASQ=(true|false)\n$/;
const DOCKER_OPTIONS = /^DOCKER_NETWORK_OPTIONS=".*"\n$/;

const WHOLE: Readonly<Record<string, (text: string) => boolean>> = {
  [SUBNET_FILE]: (text) => SUBNET_ENV.test(text),
  [DOCKER_FILE]: (text) => DOCKER_OPTIONS.test(text),
  [STATE_FILE]: isWholeState,
  [CLUSTER_FILE]: isWholeCluster,
};

export class Victim {
  readonly lab: Lab;
  readonly host: Host;
  #agent: LabProcess | undefined;

  constructor(lab: Lab, host: Host) {
    this.lab = lab;
    this.host = host;
  }

  get agent(): LabProcess {
    if (this.#agent === undefined) throw new Error(`${this.host.name} has no agent`);
    return this.#agent;
  }

  get #args(): readonly string[] {
    return [`--etcd-endpoints=${this.lab.etcd.endpoint}`, '--iface=eth0', '--log-format=human'];
  }

  /** @returns when it is in step with `peers` of them */
  async start(peers?: number): Promise<void> {
    const [node, ...main] = TARTAN;
    this.#agent = this.host.spawn(node, [...main, 'run', ...this.#args]);
    await this.inStep(peers);
  }

  /** Starts it so that it dies there. @returns false where it never came to that point, and is in step */
  async startDoomed(point: CrashPoint, peers?: number): Promise<boolean> {
    this.#agent = startDoomed(this.host, point, this.#args);
    return await this.dies(peers);
  }

  /** Waits for its end, or until it is in step. */
  async dies(peers?: number): Promise<boolean> {
    const agent = this.agent;
    const isInStep = async (): Promise<boolean> => isWell(await this.#status(), peers);
    await eventually(`${this.host.name} dies or is in step`, async () => !agent.running || (await isInStep()), {
      context: () => agent.tail(),
    });
    return !agent.running;
  }

  async kill(): Promise<void> {
    await this.#agent?.kill();
  }

  async restart(peers?: number): Promise<void> {
    await this.kill();
    await this.start(peers);
  }

  async inStep(peers?: number): Promise<void> {
    let status: Status | undefined;
    await eventually(
      `${this.host.name} is in step`,
      async () => {
        if (!this.agent.running) throw new Error('the agent ended');
        status = await this.#status();
        return isWell(status, peers);
      },
      { context: () => `${this.agent.tail(20)}\n${JSON.stringify(status)}` },
    );
  }

  async #status(): Promise<Status | undefined> {
    return await readStatus(this.host.path('/run/flannel/subnet.sock')).catch(() => undefined);
  }

  /** As if there had never been an agent; nor is there a lease. */
  async forget(): Promise<void> {
    await this.kill();
    const { host, lab } = this;
    await host.run('sh', ['-c', 'rm -rf /var/lib/tartan /run/flannel; ip link del flannel.1 2>/dev/null || true']);
    await host.run('sh', ['-c', 'echo 0 >/proc/sys/net/ipv4/ip_forward']);
    const own = (await this.leases()).filter(({ publicIp }) => publicIp === host.ip);
    for (const { subnet } of own) {
      const key = `${PREFIX}/subnets/${subnet.replace('/', '-')}`;
      const entry = (await lab.etcd.list(key))[0];
      if (entry !== undefined) await lab.etcd.ctl(['lease', 'revoke', entry.lease]);
    }
  }

  async leases(): Promise<readonly Lease[]> {
    return (await this.history()).leases;
  }

  async history(): Promise<LeaseHistory> {
    const history = new LeaseHistory();
    const entries = await this.lab.etcd.list(`${PREFIX}/subnets/`);
    history.apply(entries.map(({ key, value }) => ({ type: 'put', key, value, revision: 1 })));
    return history;
  }

  /** Files that are neither absent nor whole. */
  async brokenFiles(): Promise<readonly string[]> {
    const broken = Object.entries(WHOLE).map(async ([path, isWhole]) => {
      const text = await this.host.read(path);
      return text === undefined || isWhole(text) ? [] : [`${path}: ${JSON.stringify(text)}`];
    });
    return (await Promise.all(broken)).flat();
  }

  /** All that is still wrong of a host whose agent is back in step, after a while: leases, kernel, leftovers. */
  async lastingFaults(): Promise<readonly string[]> {
    let faults: readonly string[] = [];
    const none = async (): Promise<boolean> => {
      faults = await this.#faults();
      return faults.length === 0;
    };
    await eventually('nothing is wrong', none, { timeoutMs: 8_000 }).catch(() => undefined);
    return faults;
  }

  async #faults(): Promise<readonly string[]> {
    const history = await this.history();
    const own = history.of(this.host.ip);
    if (own === undefined) return ['it holds no lease'];
    const peers = history.leases.filter((lease) => lease !== own);
    return [
      ...history.violations,
      ...difference(expected(own, peers), await found(this.host)),
      ...(await this.#sideKeyFaults(own)),
      ...(await this.#leftovers()),
    ];
  }

  async #sideKeyFaults({ subnet }: Lease): Promise<readonly string[]> {
    const [entry] = await this.lab.etcd.list(`${PREFIX}/tartan/addresses/${this.host.ip}`);
    const says = entry === undefined ? 'is missing' : `is ${entry.value}`;
    return entry?.value.includes(subnet.replace('/', '-')) ? [] : [`the side key of ${this.host.ip} ${says}`];
  }

  async #leftovers(): Promise<readonly string[]> {
    const temporary = ['-name', '*.tartan-new'];
    const found = await this.host.run('find', ['/run/flannel', STATE_DIR, ...temporary]);
    return found.split('\n').flatMap((file) => (file === '' ? [] : [`${file} is left over`]));
  }
}

function isWell(status: Status | undefined, peers: number | undefined): boolean {
  if (status === undefined || !status.ready || !status.inStep) return false;
  return peers === undefined || status.peers.length === peers;
}

function isWholeState(text: string): boolean {
  try {
    const state: { readonly version?: number; readonly claim?: string } = JSON.parse(text);
    return state.version === 1 && /^[0-9a-f]{32}$/.test(state.claim ?? '');
  } catch {
    return false;
  }
}

/** The last line is the checksum of all above it. */
function isWholeCluster(text: string): boolean {
  const body = text.slice(0, text.lastIndexOf('\n', text.length - 2) + 1);
  const sha256 = createHash('sha256').update(body).digest('hex');
  return text === `${body}{"sha256":"${sha256}"}\n`;
}

/** What a failure is headed by. */
export function about(victim: Victim, point: CrashPoint): string {
  return `${victim.host.name}, killed at ${nameOf(point)}`;
}
