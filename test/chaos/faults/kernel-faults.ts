/** What hands and other programs do to a host's kernel. */

import type { Host } from '../../support/host.ts';
import { type NexthopRow, nexthopsOf, routesOf } from '../../support/kernel-tables.ts';
import { type Fault, Inapplicable, type Target } from '../fault.ts';

const DEVICE = 'flannel.1';

function chosen<T>(of: readonly T[], pick: number, what: string): T {
  const found = of[Math.floor(pick * of.length)];
  if (found === undefined) throw new Inapplicable(`there is no ${what}`);
  return found;
}

/** A peer's subnet as this host's kernel has it. */
async function peerSubnet(host: Host, pick: number): Promise<string> {
  const routes = (await routesOf(host)).filter(({ dev, dst }) => dev === DEVICE && dst.endsWith('/24'));
  return chosen(routes, pick, 'route').dst;
}

const baseOf = (subnet: string): string => subnet.replace(/\/.*/, '');

interface FdbRow {
  readonly mac: string;
  readonly dst?: string;
}

async function peerFdb(host: Host, pick: number): Promise<FdbRow> {
  const { stdout } = await host.exec('bridge', ['-j', 'fdb', 'show', 'dev', DEVICE]);
  const rows: readonly FdbRow[] = stdout.trim() === '' ? [] : JSON.parse(stdout);
  return chosen(
    rows.filter(({ dst }) => dst !== undefined),
    pick,
    'FDB entry',
  );
}

async function ourNexthop(host: Host, pick: number): Promise<NexthopRow> {
  return chosen(
    (await nexthopsOf(host)).filter(({ protocol }) => protocol === '84'),
    pick,
    'nexthop',
  );
}

/** Commands of `ip` or `bridge`; one that fails found nothing to break. */
async function hands(host: Host, ...lines: readonly string[]): Promise<string> {
  for (const line of lines) {
    const [command = '', ...args] = line.split(' ');
    const { status, stderr } = await host.exec(command, args);
    if (status !== 0) throw new Inapplicable(`${line}: ${stderr.trim()}`);
  }
  return lines.join('; ');
}

type Hands = (host: Host, pick: number) => Promise<string>;

function byHand(name: string, weight: number, work: Hands, settleMs = 1_000): Fault {
  return {
    ...{ name, lane: 'kernel', weight },
    async apply({ fleet, station, pick }: Target) {
      const disturbance = fleet.disturb(station, name, { lasts: true, settleMs });
      try {
        return { said: await work(station.host, pick) };
      } finally {
        fleet.over(disturbance);
      }
    },
  };
}

export const kernelFaults: readonly Fault[] = [
  byHand('route deleted', 3, async (host, pick) => hands(host, `ip route del ${await peerSubnet(host, pick)}`)),
  byHand('route changed', 2, async (host, pick) =>
    hands(host, `ip route replace blackhole ${await peerSubnet(host, pick)}`),
  ),
  byHand('routes deleted', 1, async (host) => {
    // `ip route flush` names gateway and nexthop object, and the kernel refuses that.
    const routes = (await routesOf(host)).filter(({ dev, dst }) => dev === DEVICE && dst.endsWith('/24'));
    return await hands(host, ...routes.map(({ dst }) => `ip route del ${dst}`));
  }),
  byHand('stray route of ours', 1, (host) =>
    hands(host, `ip route replace 10.5.99.0/24 via 10.5.99.0 dev ${DEVICE} onlink proto 84`),
  ),
  byHand('neighbour deleted', 2, async (host, pick) =>
    hands(host, `ip neigh del ${baseOf(await peerSubnet(host, pick))} dev ${DEVICE}`),
  ),
  byHand('neighbour changed', 2, async (host, pick) =>
    hands(
      host,
      `ip neigh replace ${baseOf(await peerSubnet(host, pick))} lladdr 02:00:00:00:66:66 nud permanent dev ${DEVICE}`,
    ),
  ),
  byHand('neighbours flushed', 1, (host) => hands(host, `ip neigh flush dev ${DEVICE} nud permanent`)),
  byHand('stray neighbour', 1, (host) =>
    hands(host, `ip neigh replace 10.5.98.0 lladdr 02:00:00:00:66:67 nud permanent dev ${DEVICE}`),
  ),
  byHand('FDB entry deleted', 2, async (host, pick) =>
    hands(host, `bridge fdb del ${(await peerFdb(host, pick)).mac} dev ${DEVICE}`),
  ),
  byHand('FDB entry changed', 2, async (host, pick) =>
    hands(host, `bridge fdb replace ${(await peerFdb(host, pick)).mac} dev ${DEVICE} dst 192.168.77.250 self`),
  ),
  byHand('stray FDB entry', 1, (host) =>
    hands(host, `bridge fdb replace 02:00:00:00:66:68 dev ${DEVICE} dst 192.168.77.251 self`),
  ),
  byHand('nexthop deleted', 3, async (host, pick) =>
    hands(host, `ip nexthop del id ${(await ourNexthop(host, pick)).id}`),
  ),
  byHand('nexthops flushed', 1, (host) => hands(host, 'ip nexthop flush proto 84')),
  byHand('device down', 2, (host) => hands(host, `ip link set ${DEVICE} down`)),
  byHand('device down and up', 2, (host) => hands(host, `ip link set ${DEVICE} down`, `ip link set ${DEVICE} up`)),
  byHand('device deleted', 3, (host) => hands(host, `ip link del ${DEVICE}`)),
  byHand('device is another', 1, (host) =>
    hands(host, `ip link del ${DEVICE}`, `ip link add ${DEVICE} type vxlan id 1 dstport 8473 dev eth0`),
  ),
  byHand('device of another type', 1, (host) =>
    hands(host, `ip link del ${DEVICE}`, `ip link add ${DEVICE} type bridge`),
  ),
  byHand('MAC changed', 2, (host) => hands(host, `ip link set ${DEVICE} address 02:00:00:00:66:69`)),
  byHand('MTU of the device changed', 2, (host) => hands(host, `ip link set ${DEVICE} mtu 1200`)),
  byHand('address deleted', 2, (host) => hands(host, `ip addr flush dev ${DEVICE}`)),
  byHand('forwarding switched off', 2, async (host) => {
    await host.run('sh', ['-c', 'echo 0 >/proc/sys/net/ipv4/ip_forward']);
    return 'net.ipv4.ip_forward=0';
  }),
  byHand('stray address', 1, (host) => hands(host, `ip addr replace 10.5.97.0/32 dev ${DEVICE}`)),
];
