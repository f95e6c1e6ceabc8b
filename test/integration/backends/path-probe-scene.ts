/** Two hosts on a switch, peers on a VXLAN made by hand; the first asks the second. A third can be their router. */
import type { ExecutionContext } from 'ava';
import type { PathProbePeer, PathProbeSettings } from '../../../backends/vxlan/path-probe.ts';
import type { Family } from '../../../config/address.ts';
import { ip, mac } from '../../support/addresses.ts';
import type { Host } from '../../support/host.ts';
import { createLab, type Lab } from '../../support/hosts.ts';
import { PathProber, type ProberOptions } from '../../support/path-prober.ts';

const PORT = 8_472;

export class PathProbeScene {
  readonly #t: ExecutionContext;
  readonly lab: Lab;
  readonly family: Family;
  /** Underlay addresses of the two hosts. */
  readonly ends: readonly [string, string];

  private constructor(t: ExecutionContext, lab: Lab, family: Family, ends: readonly [string, string]) {
    this.#t = t;
    this.lab = lab;
    this.family = family;
    this.ends = ends;
  }

  static async create(t: ExecutionContext, family: Family = 4): Promise<PathProbeScene> {
    const lab = await createLab({ hosts: 2, etcd: false, ipv6: family === 6 });
    t.teardown(() => void lab.destroy());
    const ends = [addressOf(lab.host(1), family), addressOf(lab.host(2), family)] as const;
    return await new PathProbeScene(t, lab, family, ends).#join();
  }

  /** The second host is in another network, behind a router whose way there carries `mtu` bytes. */
  static async routed(t: ExecutionContext, mtu: number): Promise<PathProbeScene> {
    const lab = await createLab({ hosts: 3, etcd: false });
    t.teardown(() => void lab.destroy());
    const [one, two, router] = [lab.host(1), lab.host(2), lab.host(3)];
    await router.run('sh', [
      '-c',
      'echo 1 >/proc/sys/net/ipv4/ip_forward; cd /proc/sys/net/ipv4/conf; echo 0 | tee */send_redirects',
    ]);
    await router.configure('addr add 10.99.0.1/24 dev eth0', `route add 10.99.0.2 dev eth0 mtu lock ${mtu}`);
    await one.configure(`route add 10.99.0.0/24 via ${router.ip}`);
    await two.configure(
      'addr add 10.99.0.2/24 dev eth0',
      `addr del ${two.ip}/24 dev eth0`,
      'route replace default via 10.99.0.1',
    );
    return await new PathProbeScene(t, lab, 4, [one.ip, '10.99.0.2']).#join();
  }

  get host(): Host {
    return this.lab.host(1);
  }

  get peerHost(): Host {
    return this.lab.host(2);
  }

  get device(): string {
    return this.family === 4 ? 'flannel.1' : 'flannel-v6.1';
  }

  get settings(): PathProbeSettings {
    return {
      device: this.device,
      vni: 1,
      port: PORT,
      local: ip(this.ends[0]),
      mac: mac(macOf(1)),
      address: ip(vtepOf(1, this.family)),
      mtuBytes: this.family === 4 ? 1_450 : 1_430,
    };
  }

  get peer(): PathProbePeer {
    return { endpoint: ip(this.ends[1]), mac: mac(macOf(2)), address: ip(vtepOf(2, this.family)) };
  }

  /** Starts to ask; it ends with the test. */
  ask(options: Partial<ProberOptions> = {}): PathProber {
    const prober = new PathProber(this.host, { settings: this.settings, peers: [['two', this.peer]], ...options });
    this.#t.teardown(() => prober.process.kill());
    return prober;
  }

  /** As the agent programs it: device, address, and the other's neighbour, forwarding entry and route. */
  async #join(): Promise<this> {
    const { family, device } = this;
    const [bits, subnet, flag] = family === 4 ? [32, 24, ''] : [128, 64, ' nodad'];
    for (const [number, other] of [
      [1, 2],
      [2, 1],
    ] as const) {
      const host = this.lab.host(number);
      const [local, remote] = number === 1 ? this.ends : [this.ends[1], this.ends[0]];
      await host.configure(
        `link add ${device} address ${macOf(number)} mtu ${this.settings.mtuBytes} type vxlan id 1 local ${local} dev eth0 dstport ${PORT} nolearning`,
        `link set ${device} up`,
        `addr add ${vtepOf(number, family)}/${bits} dev ${device}${flag}`,
        `neigh replace ${vtepOf(other, family)} lladdr ${macOf(other)} dev ${device} nud permanent`,
        `route replace ${vtepOf(other, family)}/${subnet} via ${vtepOf(other, family)} dev ${device} onlink`,
      );
      await host.run('bridge', ['fdb', 'replace', macOf(other), 'dev', device, 'dst', remote, 'self', 'permanent']);
    }
    return this;
  }
}

function addressOf(host: Host, family: Family): string {
  return family === 4 ? host.ip : (host.ip6 ?? '');
}

function macOf(number: number): string {
  return `02:00:00:00:05:0${number}`;
}

function vtepOf(number: number, family: Family): string {
  return family === 4 ? `10.5.${number}.0` : `fd00:5:0:${number}::`;
}
