/** What others have on a host: nothing of it may be touched, whatever is repaired around it. */
import { difference } from '../support/difference.ts';
import type { Host } from '../support/host.ts';

const DEVICE = 'others0';

const OBJECTS = [
  `link add ${DEVICE} address 02:00:00:00:99:01 type veth peer name others1`,
  'link set others1 up',
  `link set ${DEVICE} up`,
  `addr add 198.18.0.1/24 dev ${DEVICE}`,
  `neigh add 198.18.0.9 lladdr 02:00:00:00:99:09 nud permanent dev ${DEVICE}`,
  // Somebody else's, though inside the cluster's network; no host leases it.
  `route add 10.5.200.0/24 via 198.18.0.9 dev ${DEVICE} proto static`,
  `route add 198.51.100.0/24 via 198.18.0.10 dev ${DEVICE} proto static`,
  `nexthop add id 77 via 198.18.0.9 dev ${DEVICE} proto static`,
  'route add 203.0.113.0/24 nhid 77 proto static',
  'link add vxlan9 type vxlan id 9 dstport 4790 local 198.18.0.1 nolearning',
  'link set vxlan9 up',
  'neigh add 198.19.0.9 lladdr 02:00:00:00:99:0a nud permanent dev vxlan9',
];

const SHOWN: readonly (readonly [string, ...string[]])[] = [
  ['ip', '-d', 'link', 'show', 'dev', DEVICE],
  ['ip', '-d', 'link', 'show', 'dev', 'vxlan9'],
  ['ip', '-4', 'addr', 'show', 'dev', DEVICE],
  ['ip', 'neigh', 'show', 'dev', DEVICE],
  ['ip', 'neigh', 'show', 'dev', 'vxlan9'],
  ['ip', 'route', 'show', 'proto', 'static'],
  ['ip', 'nexthop', 'show', 'id', '77'],
  ['bridge', 'fdb', 'show', 'dev', 'vxlan9'],
];

export class Foreigners {
  readonly #host: Host;
  #before: readonly string[] = [];

  constructor(host: Host) {
    this.#host = host;
  }

  async settle(): Promise<void> {
    await this.#host.configure(...OBJECTS);
    await this.#host.run('bridge', ['fdb', 'add', '02:00:00:00:99:0a', 'dev', 'vxlan9', 'dst', '198.18.0.9', 'self']);
    this.#before = await this.#show();
  }

  /** What is not as it was; empty: all is. */
  async harm(): Promise<readonly string[]> {
    return difference(this.#before, await this.#show());
  }

  async #show(): Promise<readonly string[]> {
    const shown = await Promise.all(SHOWN.map(([command, ...args]) => this.#host.run(command, args)));
    return shown.join('').split('\n');
  }
}
