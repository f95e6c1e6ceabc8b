/**
 * Three hosts on a wire. Two of them are peers on a VXLAN made by hand, each with a container; the third is in no lease,
 * and sends datagrams of its own making. The filter of the first host is what is tested.
 */
import type { ExecutionContext } from 'ava';
import type { FilterPeer } from '../../../backends/firewall/named-peers.ts';
import { PeerFilter, type PeerFilterState } from '../../../backends/firewall/peer-filter.ts';
import type { Programs } from '../../../backends/firewall/programs.ts';
import { type Family, type Ip, parseIp, parsePrefix } from '../../../config/address.ts';
import { type LogFields, silentLog } from '../../../config/log.ts';
import { eventually } from '../../support/eventually.ts';
import { type Forgery, forge, receiverIn, VXLAN_PORT } from '../../support/forgery.ts';
import type { Container, Host } from '../../support/host.ts';
import { createLab, type Lab } from '../../support/hosts.ts';
import { programsOn } from '../../support/packet-filters.ts';
import type { LabProcess } from '../../support/process.ts';
import { realClock } from '../../support/real-clock.ts';

/** As the agent does it, from inside the host. */
const PROBE = `import { probe } from '${new URL('../../../backends/firewall/probe.js', import.meta.url)}';
probe(process.argv[1]);`;

export class PeerFilterScene {
  readonly lab: Lab;
  readonly family: Family;
  readonly containers: readonly Container[];
  readonly logged: string[] = [];
  /** What was handed to `nft -f -`. */
  readonly scripts: string[] = [];
  readonly #stops: (() => Promise<void>)[] = [];

  private constructor(lab: Lab, family: Family, containers: readonly Container[]) {
    this.lab = lab;
    this.family = family;
    this.containers = containers;
  }

  static async create(t: ExecutionContext, family: Family = 4): Promise<PeerFilterScene> {
    const lab = await createLab({ hosts: 3, etcd: false, ipv6: family === 6 });
    t.teardown(() => void lab.destroy());
    const containers = await Promise.all([1, 2].map((number) => join(lab.host(number), family)));
    const scene = new PeerFilterScene(lab, family, containers);
    t.teardown(() => scene.stop());
    return scene;
  }

  get device(): string {
    return deviceOf(this.family);
  }

  get table(): readonly string[] {
    return ['inet', `tartan-${this.device}`];
  }

  /** The first host, whose filter it is. */
  get host(): Host {
    return this.lab.host(1);
  }

  container(number: number): Container {
    const container = this.containers[number - 1];
    if (!container) throw new Error(`no container ${number}`);
    return container;
  }

  /** The second host, as its lease names it. */
  get peer(): FilterPeer {
    return peerNamed('two', subnetOf(2, this.family), addressOf(this.lab.host(2), this.family));
  }

  /** `spell`: what becomes of a script on its way to nft. */
  filter(spell: (script: string) => string = (script) => script): PeerFilter {
    const { host, device, family } = this;
    const inside = programsOn(host);
    const programs: Programs = {
      run: (program, args, { input } = {}) => {
        if (input !== undefined) this.scripts.push(input);
        return inside.run(program, args, input === undefined ? {} : { input: spell(input) });
      },
    };
    const warn = (message: string, fields?: LogFields): void => {
      this.logged.push(`${message} ${JSON.stringify(fields)}`);
    };
    const probe = (ip: Ip): void => void host.exec(process.execPath, ['--input-type=module', '-e', PROBE, ip]);
    const log = { ...silentLog, warn };
    const wire = { device, family, udpPort: VXLAN_PORT, vni: 1 };
    return new PeerFilter({ programs, clock: realClock, log, ...wire, resyncSeconds: 1, probe });
  }

  /** One that drops what is not of the peer, and has had its first look. */
  async enforcing(spell?: (script: string) => string): Promise<PeerFilter> {
    const filter = this.filter(spell);
    filter.set({ mode: 'enforce' });
    filter.setPeers([this.peer]);
    await filter.look();
    return filter;
  }

  /** Runs it until the test ends, or what is returned is called. */
  run(filter: PeerFilter): () => Promise<void> {
    const abort = new AbortController();
    const running = filter.run(abort.signal).catch(() => undefined);
    const stop = async (): Promise<void> => {
      abort.abort();
      await running;
    };
    this.#stops.push(stop);
    return stop;
  }

  async stop(): Promise<void> {
    await Promise.all(this.#stops.map((stop) => stop()));
  }

  /** A receiver in the first container. */
  receiver(): Promise<LabProcess> {
    return receiverIn(this.container(1), this.family);
  }

  /** Datagrams by the third host to the first one's VXLAN port, for the container's receiver. */
  async forge(forgery: Forgery): Promise<void> {
    const dest = this.family === 4 ? this.container(1).ip : (this.container(1).ip6 ?? '');
    await forge(this.lab.host(3), { host: this.host, device: this.device, dest }, forgery);
  }

  async state(
    what: string,
    filter: PeerFilter,
    holds: (state: PeerFilterState) => boolean,
    timeoutMs = 20_000,
  ): Promise<PeerFilterState> {
    const context = (): string => JSON.stringify(filter.state());
    return await eventually(what, () => (holds(filter.state()) ? filter.state() : undefined), { timeoutMs, context });
  }

  /** The elements that the kernel has. */
  async elements(set: string): Promise<ReadonlySet<string>> {
    const found: unknown = JSON.parse(await this.host.run('nft', ['-j', 'list', 'set', ...this.table, set]));
    return new Set(Array.from(JSON.stringify(found).matchAll(/"val":"([^"]+)"/g), ([, value = '']) => value));
  }
}

export function peerNamed(key: string, subnet: string, ...sources: readonly string[]): FilterPeer {
  const prefix = parsePrefix(subnet);
  const addresses = sources.map((text) => parseIp(text)).filter((ip) => ip !== undefined);
  if (prefix === undefined || addresses.length !== sources.length) throw new Error(`no peer: ${subnet} ${sources}`);
  return { key, subnet: prefix, sources: addresses };
}

function deviceOf(family: Family): string {
  return family === 4 ? 'flannel.1' : 'flannel-v6.1';
}

function addressOf(host: Host, family: Family): string {
  return family === 4 ? host.ip : (host.ip6 ?? '');
}

function subnetOf(number: number, family: Family): string {
  return family === 4 ? `10.5.${number}.0/24` : `fd00:5:0:${number}::/64`;
}

function vtepOf(number: number, family: Family): string {
  return subnetOf(number, family).replace(/\/.*/, '');
}

/** As the agent programs it: device, address, and the other peer's neighbour, forwarding entry and route. */
async function join(host: Host, family: Family): Promise<Container> {
  const other = 3 - host.number;
  const mac = (number: number): string => `02:00:00:00:05:0${number}`;
  const device = deviceOf(family);
  const remote = addressOf(host, family).replace(/.$/, family === 4 ? String(other) : (10 + other).toString(16));
  const bits = family === 4 ? 32 : 128;
  const wire = `type vxlan id 1 local ${addressOf(host, family)} dev eth0 dstport ${VXLAN_PORT} nolearning`;
  await host.configure(
    `link add ${device} address ${mac(host.number)} mtu 1430 ${wire}`,
    `link set ${device} up`,
    `addr add ${vtepOf(host.number, family)}/${bits} dev ${device}${family === 6 ? ' nodad' : ''}`,
    `neigh replace ${vtepOf(other, family)} lladdr ${mac(other)} dev ${device} nud permanent`,
    `route replace ${subnetOf(other, family)} via ${vtepOf(other, family)} dev ${device} onlink`,
  );
  await host.run('bridge', ['fdb', 'replace', mac(other), 'dev', device, 'dst', remote, 'self', 'permanent']);
  const six = family === 6 ? `fd00:5:0:${host.number}::1/64` : undefined;
  const network = '10.5.0.0/16';
  return await host.bridge({
    text: '',
    network,
    subnet: `10.5.${host.number}.1/24`,
    ipv6Subnet: six,
    mtu: 1430,
    ipMasq: undefined,
  });
}
