/** One host of a lab: an interface on the switch, and containers behind a bridge as Docker makes it. */
import { Namespace, Place } from './namespace.ts';
import { killNamespace } from './ownership.ts';
import type { Argv, LabProcess } from './process.ts';
import { nthAddress, parseSubnetEnv, type SubnetEnv } from './subnet-env.ts';

const SUBNET_FILE = '/run/flannel/subnet.env';

export interface HostPlace {
  readonly name: string;
  readonly lab: string;
  readonly number: number;
  /** Address on the switch, without length: `192.168.77.11`. */
  readonly ip: string;
  readonly ip6: string | undefined;
  /** Its end of the cable, in the switch. */
  readonly port: string;
  readonly machineId: string;
}

export interface Ping {
  readonly ok: boolean;
  readonly ms: number | undefined;
  readonly output: string;
}

export interface PingOptions {
  /** Size of the whole IP packet in bytes; sent with "don't fragment". */
  readonly packetBytes?: number;
  /** Default 1. */
  readonly count?: number;
  /** For each answer. Default 2. */
  readonly waitSeconds?: number;
}

/** @returns ok where every packet was answered; ms of the fastest */
async function ping(from: Place, to: string, options: PingOptions = {}): Promise<Ping> {
  const count = options.count ?? 1;
  const headerBytes = to.includes(':') ? 48 : 28;
  const size = options.packetBytes === undefined ? [] : ['-M', 'do', '-s', String(options.packetBytes - headerBytes)];
  const args = ['-n', '-c', String(count), '-i', '0.2', '-W', String(options.waitSeconds ?? 2), ...size, to];
  const { stdout, stderr } = await from.exec('ping', args);
  const answered = /(\d+) received/.exec(stdout)?.[1];
  const best = /= ([\d.]+)\//.exec(stdout)?.[1];
  return {
    ok: answered === String(count),
    ms: best === undefined ? undefined : Number(best),
    output: `${stdout}${stderr}`,
  };
}

export class Container extends Place {
  readonly host: Host;
  /** Without length: `10.5.17.2`. */
  readonly ip: string;
  readonly ip6: string | undefined;
  readonly mtu: number;

  constructor(host: Host, name: string, ip: string, ip6: string | undefined, mtu: number) {
    super(name, host.lab);
    this.host = host;
    this.ip = ip;
    this.ip6 = ip6;
    this.mtu = mtu;
  }

  get pid(): number {
    return this.host.pid;
  }

  get enter(): Argv {
    const net = `--net=${this.host.path(`/run/netns/${this.name}`)}`;
    return ['nsenter', '-t', String(this.pid), '-m', '-u', '-i', net, '--'];
  }

  ping(to: string | Container, options: PingOptions = {}): Promise<Ping> {
    return ping(this, typeof to === 'string' ? to : to.ip, options);
  }
}

export class Host extends Namespace {
  readonly number: number;
  readonly ip: string;
  readonly ip6: string | undefined;
  readonly port: string;
  readonly #switch: Place;

  private constructor(place: HostPlace, holder: LabProcess, wires: Place) {
    super(place.name, place.lab, holder);
    this.number = place.number;
    this.ip = place.ip;
    this.ip6 = place.ip6;
    this.port = place.port;
    this.#switch = wires;
  }

  static async start(place: HostPlace, wires: Place): Promise<Host> {
    return new Host(place, await Namespace.hold(place.name, place.lab, place.machineId), wires);
  }

  /** The published subnet file; undefined while it is absent. */
  async subnetEnv(file = SUBNET_FILE): Promise<SubnetEnv | undefined> {
    const text = await this.read(file);
    return text === undefined ? undefined : parseSubnetEnv(text);
  }

  /**
   * A container at address `number` (default 2) of the lease, behind a bridge `docker0` that holds the first address;
   * the bridge is made, and forwarding switched on, with the first container, as dockerd does.
   */
  async bridge(env: SubnetEnv, number = 2): Promise<Container> {
    const present = await this.exec('ip', ['link', 'show', 'docker0']);
    if (present.status !== 0) await this.#makeBridge(env);
    const container = new Container(
      this,
      `c${number}`,
      nthAddress(env.subnet, number).replace(/\/.*/, ''),
      env.ipv6Subnet === undefined ? undefined : nthAddress(env.ipv6Subnet, number).replace(/\/.*/, ''),
      env.mtu,
    );
    await this.#plugContainer(env, container, number);
    return container;
  }

  async #makeBridge(env: SubnetEnv): Promise<void> {
    await this.configure(
      `link add docker0 address 02:42:00:00:00:${(this.number % 256).toString(16).padStart(2, '0')} type bridge`,
      `link set docker0 mtu ${env.mtu} up`,
      `addr add ${env.subnet} dev docker0`,
      ...(env.ipv6Subnet === undefined ? [] : [`addr add ${env.ipv6Subnet} dev docker0 nodad`]),
    );
    await this.run('sh', ['-c', 'echo 1 >/proc/sys/net/ipv4/ip_forward']);
    if (env.ipv6Subnet !== undefined) await this.run('sh', ['-c', 'echo 1 >/proc/sys/net/ipv6/conf/all/forwarding']);
  }

  async #plugContainer(env: SubnetEnv, container: Container, number: number): Promise<void> {
    const { name } = container;
    await this.configure(
      `netns add ${name}`,
      `link add veth${number} mtu ${env.mtu} type veth peer name eth0 mtu ${env.mtu} netns ${name}`,
      `link set veth${number} master docker0 up`,
    );
    const six = env.ipv6Subnet;
    await container.configure(
      'link set lo up',
      'link set eth0 up',
      `addr add ${nthAddress(env.subnet, number)} dev eth0`,
      `route add default via ${env.subnet.replace(/\/.*/, '')}`,
      ...(six === undefined ? [] : [`addr add ${nthAddress(six, number)} dev eth0 nodad`]),
      ...(six === undefined ? [] : [`route add ::/0 via ${six.replace(/\/.*/, '')}`]),
    );
  }

  ping(to: string, options: PingOptions = {}): Promise<Ping> {
    return ping(this, to, options);
  }

  /** Pulls the cable: no carrier. Routes stay, as on a real host. */
  async unplug(): Promise<void> {
    await this.#switch.configure(`link set ${this.port} down`);
  }

  async plug(): Promise<void> {
    await this.#switch.configure(`link set ${this.port} up`);
  }

  /** Loses its power: cable, processes, namespaces and everything in its memory are gone. */
  async kill(): Promise<void> {
    await this.#switch.exec('ip', ['link', 'del', this.port]);
    killNamespace(this.mounts);
    await this.holder.exited;
  }
}
