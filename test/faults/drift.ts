/** Somebody's hand in the kernel: what is ours deleted, changed, added to. */
import type { Fault } from './fault.ts';
import { paperPeer } from './paper-peer.ts';
import type { Scene } from './scene.ts';

const WITHIN_MS = 1_000;
const ELSEWHERE = '192.168.77.99';
const WRONG_MAC = '02:00:00:00:00:99';
/** A subnet that nobody leases. */
const NOBODY = paperPeer(250);

function drift(name: string, breaks: Fault['breaks'], more: Partial<Fault> = {}): Fault {
  return { group: 'drift', name, withinMs: WITHIN_MS, breaks, ...more };
}

/** The nexthop object that the route to the peer hangs on. */
async function nexthopOf({ host, peer }: Scene): Promise<string> {
  const route = await host.run('ip', ['route', 'show', peer.network]);
  return / nhid (\d+) /.exec(route)?.[1] ?? '';
}

const TARTAN = { only: { subject: 'tartan' } } as const;

export const DRIFT: readonly Fault[] = [
  drift("a peer's route deleted", ({ ip, peer }) => ip(`route del ${peer.network}`)),
  drift("a peer's route leads to another gateway", ({ ip, peer, kind }) =>
    ip(`route replace ${peer.network} via ${NOBODY.gateway} dev flannel.1 onlink proto ${kind.protocol}`),
  ),
  drift("a peer's route replaced by somebody's", ({ ip, peer, lab }) =>
    ip(`route replace ${peer.network} via ${lab.gateway} dev eth0 proto static`),
  ),
  // `ip route flush` fails on routes that hang on nexthop objects.
  drift('all routes of ours deleted', ({ shell, kind }) =>
    shell(`ip route show dev flannel.1 proto ${kind.protocol} | while read dst rest; do ip route del $dst; done`),
  ),
  drift('a route of ours to a subnet that nobody leases', ({ ip, kind }) =>
    ip(`route add ${NOBODY.network} via ${NOBODY.gateway} dev flannel.1 onlink proto ${kind.protocol}`),
  ),
  drift("a peer's neighbour deleted", ({ ip, peer }) => ip(`neigh del ${peer.gateway} dev flannel.1`)),
  drift("a peer's neighbour has another MAC", ({ ip, peer }) =>
    ip(`neigh replace ${peer.gateway} lladdr ${WRONG_MAC} dev flannel.1 nud permanent`),
  ),
  drift("a peer's neighbour made dynamic", ({ ip, peer }) =>
    ip(`neigh replace ${peer.gateway} lladdr ${WRONG_MAC} dev flannel.1 nud reachable`),
  ),
  drift('a neighbour that nobody leases', ({ ip }) =>
    ip(`neigh replace ${NOBODY.gateway} lladdr ${NOBODY.mac} dev flannel.1 nud permanent`),
  ),
  drift("a peer's FDB entry deleted", ({ bridge, peer }) => bridge(`fdb del ${peer.mac} dev flannel.1`)),
  drift("a peer's FDB entry leads elsewhere", ({ bridge, peer }) =>
    bridge(`fdb replace ${peer.mac} dev flannel.1 dst ${ELSEWHERE} self permanent`),
  ),
  drift('an FDB entry that nobody leases', ({ bridge }) =>
    bridge(`fdb add ${NOBODY.mac} dev flannel.1 dst ${NOBODY.ip} self permanent`),
  ),
  drift('a flooding FDB entry', ({ bridge }) =>
    bridge(`fdb append 00:00:00:00:00:00 dev flannel.1 dst ${ELSEWHERE} self permanent`),
  ),
  drift('all neighbours and FDB entries flushed', ({ shell }) =>
    shell(`ip neigh flush dev flannel.1 nud permanent
      bridge fdb show dev flannel.1 | while read mac rest; do bridge fdb del $mac dev flannel.1; done`),
  ),
  drift('a nexthop object deleted', async (scene) => scene.ip(`nexthop del id ${await nexthopOf(scene)}`), TARTAN),
  drift(
    'a nexthop object leads elsewhere',
    async (scene) =>
      scene.ip(`nexthop replace id ${await nexthopOf(scene)} via ${NOBODY.gateway} dev flannel.1 onlink proto 84`),
    TARTAN,
  ),
  drift(
    'a nexthop object of ours that no route needs',
    ({ ip }) => ip(`nexthop add id ${0x54ffff00} via ${NOBODY.gateway} dev flannel.1 onlink proto 84`),
    TARTAN,
  ),
  drift('the device deleted', ({ ip }) => ip('link del flannel.1')),
  drift('the device down', ({ ip }) => ip('link set flannel.1 down')),
  drift('the device down and up again', ({ ip }) => ip('link set flannel.1 down', 'link set flannel.1 up')),
  drift("the device's MTU changed", ({ ip }) => ip('link set flannel.1 mtu 1300')),
  drift("the device's MAC changed", ({ ip }) => ip(`link set flannel.1 address ${WRONG_MAC}`)),
  drift('the device renamed', ({ ip, unseen }) =>
    unseen(() => ip('link set flannel.1 down', 'link set flannel.1 name mine', 'link set mine up')),
  ),
  drift('the device replaced by one of another VNI', ({ ip, host, unseen }) =>
    unseen(() =>
      ip(
        'link del flannel.1',
        `link add flannel.1 type vxlan id 7 local ${host.ip} dev eth0 dstport 8472 nolearning`,
        'link set flannel.1 up',
      ),
    ),
  ),
  drift('the device replaced by a bridge', ({ ip, unseen }) =>
    unseen(() => ip('link del flannel.1', 'link add flannel.1 type bridge', 'link set flannel.1 up')),
  ),
  drift("the device's address flushed", ({ ip }) => ip('addr flush dev flannel.1')),
  drift("the device's address replaced by another", ({ ip, subject }) =>
    ip(`addr del ${subject.base}/32 dev flannel.1`, `addr add ${NOBODY.gateway}/32 dev flannel.1`),
  ),
  drift('an address of our network added to the device', ({ ip }) => ip(`addr add ${NOBODY.gateway}/32 dev flannel.1`)),
  drift('packet forwarding switched off', ({ shell }) => shell('echo 0 >/proc/sys/net/ipv4/ip_forward')),
  drift("the device's forwarding switched off", ({ shell }) =>
    shell('echo 0 >/proc/sys/net/ipv4/conf/flannel.1/forwarding'),
  ),
];
