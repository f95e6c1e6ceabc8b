/**
 * Where a fault happens: two hosts that lease, each with a container, packets between these without end, and an etcd:
 *
 *     etcd, one member or three     host1: the subject      host2: its peer          a third peer, on paper only
 *               └──────────── switch ────────┴──────────────────┘
 *
 * Both kernels hold things of somebody else's too, which nobody may touch. How it all looked when it was whole is kept.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { PREFIX } from '../support/agent.ts';
import { difference } from '../support/difference.ts';
import { eventually, type Patience } from '../support/eventually.ts';
import type { Host } from '../support/host.ts';
import { createLab, type Lab } from '../support/hosts.ts';
import type { LabEtcd } from '../support/lab-etcd.ts';
import { Member } from '../support/member.ts';
import type { StoreSize } from './fault.ts';
import { type PaperPeer, paperPeer } from './paper-peer.ts';
import { type Picture, pictureOf } from './picture.ts';
import type { Subject } from './subject.ts';

export const CONFIG_KEY = `${PREFIX}/config`;
/** With nftables flanneld does not ask for the br_netfilter module. Paper peers lie above what hosts claim. */
export const CONFIG = JSON.stringify({
  Network: '10.5.0.0/16',
  ...{ SubnetLen: 24, SubnetMin: '10.5.1.0', SubnetMax: '10.5.99.0' },
  EnableNFTables: true,
  Backend: { Type: 'vxlan' },
});

/** How long etcd knows a user whom it has let in, where it asks for users. */
const TOKEN_SECONDS = 2;

/** For a good lease to come or to go. */
const FOLLOWS_MS = 10_000;

const RESIDENT = paperPeer(200);

/** Another program's, right beside ours. */
const FOREIGN = [
  'route add 10.200.0.0/24 dev docker0 proto static',
  'neigh add 10.200.0.9 lladdr 4e:00:00:00:ff:09 dev docker0 nud permanent',
  'nexthop add id 77 blackhole proto static',
  'addr add 10.200.1.1/32 dev docker0',
];

/** A peer by the names that the other host's kernel has for it. */
export interface PeerNames {
  readonly network: string;
  readonly gateway: string;
  readonly ip: string;
  readonly mac: string;
}

export class Scene {
  readonly kind: Subject;
  readonly lab: Lab;
  readonly etcd: LabEtcd;
  readonly subject: Member;
  readonly neighbour: Member;
  #before: readonly Picture[] = [];
  #leaseValue = '';
  #peer: PeerNames | undefined;
  #beginning: Buffer = Buffer.alloc(0);
  #visitors = 0;

  private constructor(kind: Subject, lab: Lab) {
    this.kind = kind;
    this.lab = lab;
    this.etcd = lab.etcd;
    this.subject = new Member(lab, lab.host(1), kind.agent);
    this.neighbour = new Member(lab, lab.host(2), kind.agent);
  }

  static async create(kind: Subject, store: StoreSize): Promise<Scene> {
    const etcd = store === 'one' ? { members: 1 } : { members: 3, tls: true };
    const lab = await createLab({ hosts: 2, etcd, etcdFlags: ['--auth-token-ttl', String(TOKEN_SECONDS)] });
    try {
      const scene = new Scene(kind, lab);
      await scene.#furnish();
      return scene;
    } catch (fault: unknown) {
      lab.destroy();
      throw fault;
    }
  }

  async #furnish(): Promise<void> {
    await this.etcd.put(CONFIG_KEY, CONFIG);
    await this.put(RESIDENT);
    this.#beginning = await this.etcd.snapshot();
    // One after the other: flanneld ends where it loses a race for a subnet.
    for (const member of this.members) {
      await member.start(this.kind.flags);
      // Somewhere in its life, not in its first minute: an agent that never saw this store believes no absence in it.
      await member.programmed(this.members.filter((other) => other !== member && other.started));
      await member.agent.stop();
      await member.start(this.kind.flags);
    }
    for (const member of this.members) {
      await member.addContainer();
      await member.host.configure(...FOREIGN);
    }
    await Promise.all(this.members.map((member) => member.programmed(this.members)));
    await this.subject.reach(this.neighbour);
    await eventually('the paper peer is programmed', async () => {
      const counts = await Promise.all(this.members.map(({ host }) => traces(host, RESIDENT)));
      return counts.every((count) => count >= 3);
    });
    this.#before = await this.#pictures();
    const [own, other] = await Promise.all(this.members.map((member) => member.lease()));
    this.#leaseValue = own?.value ?? '';
    const { network, base: gateway, host } = this.neighbour;
    this.#peer = { network, gateway, ip: host.ip, mac: macIn(other?.value ?? '') };
  }

  get members(): readonly Member[] {
    return [this.subject, this.neighbour];
  }

  /** The subject's host. */
  get host(): Host {
    return this.subject.host;
  }

  /** The other host, as the subject's kernel knows it. */
  get peer(): PeerNames {
    if (this.#peer === undefined) throw new Error('the scene is still being made');
    return this.#peer;
  }

  /** What the subject had in etcd when the scene was whole. */
  get leaseValue(): string {
    return this.#leaseValue;
  }

  get leaseMac(): string {
    return macIn(this.#leaseValue);
  }

  /** `ip` on the subject's host, a command a line. */
  readonly ip = (...lines: readonly string[]): Promise<void> => this.host.configure(...lines);

  /** `bridge` on the subject's host. */
  readonly bridge = (line: string): Promise<string> => this.host.run('bridge', line.split(' '));

  /** A script on the subject's host. */
  readonly shell = (script: string): Promise<string> => this.host.run('sh', ['-c', script]);

  async #pictures(): Promise<readonly Picture[]> {
    const pictures = await Promise.all(this.members.map(({ host }) => pictureOf(host)));
    const macs = this.members.map(({ name }, i) => ({ name, mac: deviceMac(pictures[i] ?? []) }));
    return pictures.map((lines, i) => withoutOldMacs(named(lines, macs), this.members[1 - i]));
  }

  /**
   * Whether both kernels are as they were when the scene was whole, but for peers that came since.
   * @throws Error with what differs
   */
  async isAsBefore(...newcomers: readonly PaperPeer[]): Promise<true> {
    const changes = [...(await this.#changes(newcomers)), ...(await this.#missing(newcomers))];
    if (changes.length > 0) throw new Error(changes.join('\n'));
    return true;
  }

  async #changes(newcomers: readonly PaperPeer[]): Promise<readonly string[]> {
    const now = await this.#pictures();
    const all = this.members.flatMap(({ name }, i) =>
      difference(this.#before[i] ?? [], now[i] ?? []).map((line) => `${name} ${line}`),
    );
    return all.filter((line) => !newcomers.some((peer) => mentions(line, peer)));
  }

  async #missing(newcomers: readonly PaperPeer[]): Promise<readonly string[]> {
    const all = newcomers.map(async (peer) => ((await this.knows(peer)) ? [] : [`- all of ${peer.network}`]));
    return (await Promise.all(all)).flat();
  }

  /** For so long nothing may change. @throws Error with what did */
  async standsStillFor(ms: number): Promise<void> {
    for (const end = performance.now() + ms; performance.now() < end; await sleep(200)) {
      const changes = await this.#changes([]);
      if (changes.length > 0) throw new Error(`changed though nothing had happened to it:\n${changes.join('\n')}`);
    }
  }

  /** Tried again where etcd is just choosing another leader. */
  async put(...entries: readonly { readonly key: string; readonly value: string }[]): Promise<void> {
    for (const { key, value } of entries) await eventually(`etcd takes ${key}`, () => this.#store(key, value));
  }

  async #store(key: string, value: string): Promise<true> {
    // From its standard input etcdctl takes no empty value.
    await (value === '' ? this.etcd.ctl(['put', key, '']) : this.etcd.put(key, value));
    return true;
  }

  async drop(...entries: readonly { readonly key: string }[]): Promise<void> {
    for (const { key } of entries) await this.etcd.ctl(['del', key]);
  }

  /** Puts what only exists on paper again, as its host would: for a store that lost it. */
  async residentReturns(): Promise<void> {
    await this.put(RESIDENT);
  }

  /** A peer that nobody has seen yet. */
  visitor(): PaperPeer {
    this.#visitors = (this.#visitors % 30) + 1;
    return paperPeer(200 + this.#visitors);
  }

  /** Whether the subject's kernel has route, neighbour and FDB entry of a peer. */
  async knows(peer: PaperPeer): Promise<boolean> {
    return (await traces(this.host, peer)) >= 3;
  }

  async hasForgotten(peer: PaperPeer): Promise<boolean> {
    return (await traces(this.host, peer)) === 0;
  }

  /** Puts a peer's lease and waits until the subject has programmed it. */
  async welcome(peer: PaperPeer): Promise<void> {
    await this.put(peer);
    await eventually('a good lease is programmed', () => this.knows(peer), this.#patience);
  }

  /** Deletes a peer's lease and waits until nothing of it is left on the subject. */
  async seeOff(peer: PaperPeer): Promise<void> {
    await this.drop(peer);
    await eventually('what went with its lease is removed', () => this.hasForgotten(peer), this.#patience);
  }

  get #patience(): Patience {
    return { timeoutMs: FOLLOWS_MS, context: () => this.subject.agent.tail(6) };
  }

  /** A good lease comes and goes. */
  async goesOn(): Promise<void> {
    const visitor = this.visitor();
    await this.welcome(visitor);
    await this.seeOff(visitor);
  }

  /** From now on etcd asks for users, and the agents are known to it. */
  async askForUsers(): Promise<void> {
    await this.etcd.enableAuth(PREFIX);
    for (const member of this.members) {
      await member.agent.stop();
      await member.start(this.kind.flags);
    }
  }

  /** The subject reaches no etcd, and nobody tells it so. */
  async cutOff(): Promise<void> {
    for (const { at } of this.etcd.members) await at.configure(`route add blackhole ${this.host.ip}/32`);
  }

  async reconnect(): Promise<void> {
    for (const { at } of this.etcd.members) await at.configure(`route del blackhole ${this.host.ip}/32`);
  }

  /** Ends the agent the hard way. */
  async crash(): Promise<void> {
    await this.subject.agent.kill();
  }

  /** Ends the agent in order and starts it again, so that it is none that sees its store for the first time. */
  async restart(): Promise<void> {
    await this.subject.agent.stop();
    this.start();
  }

  /** What happens while the agent can't look. */
  readonly unseen = async (work: () => Promise<unknown>): Promise<void> => {
    const { agent } = this.subject;
    agent.signal('SIGSTOP');
    try {
      await work();
    } finally {
      agent.signal('SIGCONT');
    }
  };

  /** Starts the agent again, and waits for nothing. */
  start(...flags: readonly string[]): void {
    this.subject.launch([...this.kind.flags, ...flags]);
  }

  /** Waits until the subject's key hangs on an etcd lease of so many seconds. */
  async hasLeaseOf(seconds: number): Promise<void> {
    await eventually(`the lease is one of ${seconds} s`, async () =>
      (await this.subject.leaseTimeLeft()).includes(`TTL(${seconds}s)`),
    );
  }

  /** The store as it was before any host had come. */
  get beginning(): Buffer {
    return this.#beginning;
  }

  close(): void {
    this.lab.destroy();
  }
}

export function macIn(value: string): string {
  return /"VtepMAC":"([^"]*)"/.exec(value)?.[1] ?? '';
}

function deviceMac(picture: Picture): string | undefined {
  return picture.map((line) => /^link .* mac (\S+) /.exec(line)?.[1]).find((mac) => mac !== undefined);
}

/** Devices' MACs by their hosts: one that changes is as good as the old one, once everybody knows it. */
function named(
  picture: Picture,
  macs: readonly { readonly name: string; readonly mac: string | undefined }[],
): Picture {
  const replaced = (line: string): string =>
    macs.reduce((text, { name, mac }) => (mac === undefined ? text : text.replaceAll(mac, `<mac of ${name}>`)), line);
  return picture.map(replaced).sort();
}

/** What a peer's kernel still has of a MAC that its host gave up harms nobody. */
function withoutOldMacs(picture: Picture, other: Member | undefined): Picture {
  const isOld = (line: string): boolean =>
    line.startsWith('fdb ') && line.endsWith(` to ${other?.host.ip}`) && !line.includes('<mac of ');
  return picture.filter((line) => !isOld(line));
}

function mentions(line: string, { network, gateway, ip, mac }: PaperPeer): boolean {
  return [network, gateway, ip, mac].some((name) => `${line} `.includes(` ${name} `));
}

async function traces(host: Host, peer: PaperPeer): Promise<number> {
  return (await pictureOf(host)).filter((line) => mentions(line, peer)).length;
}
