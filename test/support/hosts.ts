/**
 * Labs: hosts on one switch, all in namespaces that belong to the lab alone. The machine's own network, /run and /etc
 * are never touched, any number of labs run side by side, and nothing needs to be given back: when a lab's processes are
 * gone, so is everything else of it. They are killed by destroy(), at exit, on a signal, and by the kernel where this
 * process is itself killed.
 *
 *     switch  bridge br0 192.168.77.1/24, etcd
 *      │  │  │
 *      │  │  └ host3 ...
 *      │  └─── host2 eth0 192.168.77.12/24
 *      └────── host1 eth0 192.168.77.11/24, default route by the switch
 *                    docker0 10.5.17.1/24 ── container c2 eth0 10.5.17.2/24
 */
import { createHash, randomBytes } from 'node:crypto';
import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sweepCgroups } from './cgroups.ts';
import { Host } from './host.ts';
import { LabEtcd } from './lab-etcd.ts';
import { installPki } from './lab-etcd-member.ts';
import { Namespace } from './namespace.ts';
import { killLab, sweepLabs } from './ownership.ts';
import { issuePki, type PkiTexts } from './pki.ts';

export interface LabOptions {
  /** Default: random. Two labs of one process must not share a name. */
  readonly name?: string;
  /** How many hosts to start with. Default 2, at most 240. */
  readonly hosts?: number;
  /** MTU of the wires. Default 1500. */
  readonly mtu?: number;
  /** Default true: one member, on the switch itself. Else on machines of their own, at addresses from 2 on. */
  readonly etcd?: boolean | EtcdMachines;
  readonly etcdFlags?: readonly string[];
  /** Gives the hosts fd77::N as well. */
  readonly ipv6?: boolean;
  /** First three numbers of the wire's addresses. Default `192.168.77`. */
  readonly underlay?: string;
}

export interface EtcdMachines {
  /** Default 1, at most 9. */
  readonly members?: number;
  /** With client certificates, which every host has then (`lab.etcd.flags` names them). Default false. */
  readonly tls?: boolean;
}

export interface HostOptions {
  /** Default `hostN`. */
  readonly name?: string;
  /** Last number of its address; a duplicate address is as easy as on a real switch. Default 10 + N. */
  readonly address?: number;
  readonly mtu?: number;
  /** 32 hex digits. Default: made from lab and host name; two hosts may have the same (a clone). */
  readonly machineId?: string;
}

/** What a host keeps over a reboot. */
const STATE = '/var/lib/tartan';

interface MachineOptions extends HostOptions {
  readonly name: string;
  readonly number: number;
  readonly address: number;
}

const living = new Set<Lab>();

export class Lab {
  readonly name: string;
  readonly switch: Namespace;
  readonly #options: LabOptions;
  readonly #hosts: Host[] = [];
  readonly #mounts = new Set<string>();
  readonly #afterwards: (() => void)[] = [];
  #made = 0;
  #etcd: LabEtcd | undefined;
  #pki: PkiTexts | undefined;

  constructor(name: string, wires: Namespace, options: LabOptions) {
    this.name = name;
    this.switch = wires;
    this.#options = options;
    this.#mounts.add(wires.mounts);
  }

  get etcd(): LabEtcd {
    if (this.#etcd === undefined) throw new Error('the lab is still being made');
    return this.#etcd;
  }

  get hosts(): readonly Host[] {
    return this.#hosts;
  }

  /** The switch's address, which hosts have as their default route. */
  get gateway(): string {
    return `${this.#underlay}.1`;
  }

  /** Host by number, from 1. */
  host(number: number): Host {
    const host = this.#hosts[number - 1];
    if (host === undefined) throw new Error(`this lab has no host ${number}`);
    return host;
  }

  /** Before the first host: the machines for etcd, and everybody's certificates. Nothing runs yet. */
  async seatEtcd(): Promise<void> {
    const { etcd = true, etcdFlags: extra = [] } = this.#options;
    const machines = typeof etcd === 'object' ? (etcd.members ?? 1) : 0;
    const tls = typeof etcd === 'object' && etcd.tls === true;
    const address = (index: number): string => `${this.#underlay}.${2 + index}`;
    const numbers = Array.from({ length: machines }, (_, index) => index);
    if (tls) this.#pki = await issuePki([this.gateway, ...numbers.map(address)], 'agent');
    const own = numbers.map(async (index) => {
      const name = `etcd${index + 1}`;
      const at = await this.#start({ name, number: 250 + index, address: 2 + index });
      if (this.#pki) await installPki(at, this.#pki);
      return { name, at, address: address(index) };
    });
    const onSwitch = { name: 'etcd1', at: this.switch, address: this.gateway };
    const seats = machines === 0 ? [onSwitch] : await Promise.all(own);
    this.#etcd = new LabEtcd({ seats, tls, extra });
  }

  /** New certificates of a new CA: on every machine of etcd, and (`hosts`) on every host. Nobody is told. */
  async rotatePki(what: { readonly hosts: boolean }): Promise<PkiTexts> {
    const pki = await issuePki([this.gateway, ...this.etcd.members.map(({ address }) => address)], 'agent');
    await Promise.all(this.etcd.members.map(({ at }) => installPki(at, pki)));
    if (what.hosts) await Promise.all(this.hosts.map((host) => installPki(host, { ca: pki.ca, client: pki.client })));
    this.#pki = pki;
    return pki;
  }

  async addHost(options: HostOptions = {}): Promise<Host> {
    const number = ++this.#made;
    const name = options.name ?? `host${number}`;
    const host = await this.#start({ ...options, name, number, address: options.address ?? 10 + number });
    if (this.#pki) await installPki(host, { ca: this.#pki.ca, client: this.#pki.client });
    this.#hosts[number - 1] = host;
    return host;
  }

  async #start(options: MachineOptions): Promise<Host> {
    const { name, number, address } = options;
    const ip6 = this.#options.ipv6 === true ? `fd77::${address.toString(16)}` : undefined;
    const machineId = options.machineId ?? createHash('md5').update(`${this.name}/${name}`).digest('hex');
    const ip = `${this.#underlay}.${address}`;
    const host = await Host.start(
      { name, lab: this.name, number, ip, ip6, port: `port${number}`, machineId },
      this.switch,
    );
    this.#mounts.add(host.mounts);
    await this.#wire(host, options.mtu ?? this.#options.mtu ?? 1500);
    return host;
  }

  /** A power cut, and the boot after it: of the old host the new one has name, address, machine-id and state. */
  async reboot(host: Host): Promise<Host> {
    const kept = await mkdtemp(join(tmpdir(), 'netlab-state-'));
    try {
      await cp(host.path(STATE), kept, { recursive: true });
      await host.kill();
      const booted = await this.addHost({ name: host.name, address: Number(host.ip.split('.')[3]) });
      await cp(kept, booted.path(STATE), { recursive: true });
      return booted;
    } finally {
      await rm(kept, { recursive: true });
    }
  }

  async #wire(host: Host, mtu: number): Promise<void> {
    await this.switch.configure(
      `link add ${host.port} mtu ${mtu} type veth peer name eth0 mtu ${mtu} netns ${host.pid}`,
      `link set ${host.port} master br0 up`,
    );
    const six = host.ip6 === undefined ? [] : [`addr add ${host.ip6}/64 dev eth0 nodad`, 'route add ::/0 via fd77::1'];
    await host.configure(
      `link set eth0 up`,
      `addr add ${host.ip}/24 dev eth0`,
      `route add default via ${this.gateway}`,
      ...six,
    );
  }

  get #underlay(): string {
    return this.#options.underlay ?? '192.168.77';
  }

  /** To be done when no process of the lab is left: what is not gone with these. */
  afterwards(work: () => void): void {
    this.#afterwards.push(work);
  }

  /** @returns when no process of the lab is left; how many were killed */
  destroy(): number {
    living.delete(this);
    const killed = killLab(this.name, this.#mounts);
    for (const work of this.#afterwards.splice(0)) work();
    return killed;
  }
}

async function makeSwitch(name: string, options: LabOptions): Promise<Namespace> {
  const wires = await Namespace.create('switch', name, randomBytes(16).toString('hex'));
  const underlay = options.underlay ?? '192.168.77';
  await wires.configure(
    'link add br0 address 02:00:00:00:77:01 type bridge',
    `link set br0 mtu ${options.mtu ?? 1500} up`,
    `addr add ${underlay}.1/24 dev br0`,
    ...(options.ipv6 === true ? ['addr add fd77::1/64 dev br0 nodad'] : []),
  );
  return wires;
}

/** Needs root and iproute2, and etcd unless switched off (`needs` in require.ts asks for them). */
export async function createLab(options: LabOptions = {}): Promise<Lab> {
  sweepLabs();
  sweepCgroups();
  cleanUpAtExit();
  const name = options.name ?? `lab-${randomBytes(4).toString('hex')}`;
  const lab = new Lab(name, await makeSwitch(name, options), options);
  living.add(lab);
  try {
    await lab.seatEtcd();
    const wanted = Array.from({ length: options.hosts ?? 2 }, () => lab.addHost());
    await Promise.all([...wanted, options.etcd === false ? undefined : lab.etcd.start()]);
    return lab;
  } catch (fault: unknown) {
    lab.destroy();
    throw fault;
  }
}

function destroyAll(): void {
  for (const lab of [...living]) lab.destroy();
}

let guarded = false;

/** Whoever else listens for the signal decides what follows; alone, we die of it as we would have. */
function cleanUpAtExit(): void {
  if (guarded) return;
  guarded = true;
  process.once('exit', destroyAll);
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(signal, () => {
      destroyAll();
      if (process.listenerCount(signal) === 0) process.kill(process.pid, signal);
    });
  }
}
