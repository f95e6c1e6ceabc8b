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
import type { Container, Host } from '../../support/host.ts';
import { createLab, type Lab } from '../../support/hosts.ts';
import { programsOn } from '../../support/packet-filters.ts';
import type { LabProcess } from '../../support/process.ts';
import { realClock } from '../../support/real-clock.ts';

export const PORT = 8472;
const RECEIVE = `const s = require('node:dgram').createSocket(process.argv[1]);
s.on('message', (m) => console.log(String(m))); s.bind(7777, () => console.log('ready'));`;

/** As the agent does it, from inside the host. */
const PROBE = `import { probe } from '${new URL('../../../backends/firewall/probe.js', import.meta.url)}';
probe(process.argv[1]);`;

/** Inner Ethernet, IP and UDP, sent as VXLAN from this host's address. */
const FORGE = `const [family, to, vni, mac, from, dest, count, text, spread] = JSON.parse(process.argv[1]);
const six = family === 6, data = Buffer.from(text);
const bytes = (ip) => Buffer.from(ip, 'hex');
const udp = Buffer.alloc(8 + data.length); udp.writeUInt16BE(7000, 0); udp.writeUInt16BE(7777, 2);
udp.writeUInt16BE(udp.length, 4); data.copy(udp, 8);
const sum = (...parts) => { let all = Buffer.concat(parts); if (all.length % 2) all = Buffer.concat([all, Buffer.alloc(1)]);
  let s = 0; for (let i = 0; i < all.length; i += 2) s += all.readUInt16BE(i); while (s > 65535) s = (s & 65535) + (s >>> 16);
  return 65535 - s; };
let ip;
if (six) { ip = Buffer.concat([Buffer.from([0x60,0,0,0,0,udp.length,17,64]), bytes(from), bytes(dest)]);
  udp.writeUInt16BE(sum(bytes(from), bytes(dest), Buffer.from([0,0,0,udp.length,0,0,0,17]), udp) || 65535, 6); }
else { ip = Buffer.concat([Buffer.from([0x45,0,0,20 + udp.length,0,0,0,0,64,17,0,0]), bytes(from), bytes(dest)]);
  ip.writeUInt16BE(sum(ip), 10); }
const vxlan = Buffer.alloc(8); vxlan[0] = 8; vxlan.writeUInt32BE(vni * 256, 4);
const frame = Buffer.concat([vxlan, bytes(mac), bytes('020000000066'), Buffer.from(six ? '86dd' : '0800', 'hex'), ip, udp]);
const s = require('node:dgram').createSocket(six ? 'udp6' : 'udp4');
let left = count;
const next = () => {
  if (spread) frame.writeUInt16BE(left, six ? 44 : 36);
  if (left-- > 0) s.send(frame, ${PORT}, to, () => setImmediate(next)); else s.close();
};
next();`;

export interface Forgery {
  /** Inner source. */
  readonly from: string;
  readonly vni?: number;
  readonly count?: number;
  readonly text?: string;
  /** Each with another inner source; what is inside is broken then. */
  readonly spread?: boolean;
}

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
    const wire = { device, family, udpPort: PORT, vni: 1 };
    return new PeerFilter({ programs, clock: realClock, log, ...wire, resyncSeconds: 1, probe });
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
  async receiver(): Promise<LabProcess> {
    const type = this.family === 4 ? 'udp4' : 'udp6';
    const receiver = this.container(1).spawn(process.execPath, ['-e', RECEIVE, type]);
    await receiver.until(/^ready$/);
    return receiver;
  }

  /** Datagrams by the third host to the first one's VXLAN port, for the container's receiver. */
  async forge({ from, vni = 1, count = 1, text = 'forged', spread = false }: Forgery): Promise<void> {
    const { host, family } = this;
    const mac = (await host.run('cat', [`/sys/class/net/${this.device}/address`])).trim().replaceAll(':', '');
    const dest = family === 4 ? this.container(1).ip : (this.container(1).ip6 ?? '');
    const spec = [family, addressOf(host, family), vni, mac, hexOf(from), hexOf(dest), count, text, spread];
    await this.lab.host(3).run(process.execPath, ['-e', FORGE, JSON.stringify(spec)]);
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
  const wire = `type vxlan id 1 local ${addressOf(host, family)} dev eth0 dstport ${PORT} nolearning`;
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

function hexOf(ip: string): string {
  if (!ip.includes(':')) return Buffer.from(ip.split('.').map(Number)).toString('hex');
  const [head = '', tail = ''] = ip.split('::');
  const groups = (text: string): string[] => text.split(':').filter((group) => group !== '');
  const zeros = Array<string>(8 - groups(head).length - groups(tail).length).fill('0');
  return [...groups(head), ...zeros, ...groups(tail)].map((group) => group.padStart(4, '0')).join('');
}
