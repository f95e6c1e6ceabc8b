/** Until the agent has a firewall: what it is to program, by hand. */
import type { DockerNode } from './docker-cluster.ts';
import type { MatrixLine } from './docker-matrix.ts';

const N = '10.5.0.0/16';
const MARK = '0x1000/0x1000';

export async function programByHand(
  node: DockerNode,
  { firewall, ipMasq, knowsDockerd }: MatrixLine,
): Promise<readonly string[]> {
  const subnet = node.network;
  const mine = `-i flannel.1 -s ${N} -d ${subnet} -j ACCEPT`;
  const masq = [
    `-A POSTROUTING -s ${N} -d ${N} -j RETURN`,
    `-A POSTROUTING -s ${N} ! -d 224.0.0.0/4 -j MASQUERADE --random-fully`,
    `-A POSTROUTING ! -s ${N} -d ${subnet} -j RETURN`,
    `-A POSTROUTING ! -s ${N} -d ${N} -j MASQUERADE --random-fully`,
  ];
  const rules = [
    ...(ipMasq ? masq.map((rule) => `-t nat ${rule}`) : []),
    `-A FORWARD -s ${N} -j ACCEPT`,
    `-A FORWARD -d ${N} -j ACCEPT`,
    '-N DOCKER-USER',
    `-A DOCKER-USER ${mine}`,
    `-t raw -I PREROUTING ${mine}`,
    `-t mangle -I PREROUTING ${mine.replace('ACCEPT', 'MARK')} --set-xmark ${MARK}`,
    '-P FORWARD DROP',
  ];
  await node.host.run('sh', ['-ec', rules.map((rule) => `iptables ${rule}`).join('\n')]);
  const through = firewall === 'nftables' && knowsDockerd;
  return [`--ip-masq=${!ipMasq}`, ...(through ? [`--bridge-accept-fwmark=${MARK}`, '--allow-direct-routing'] : [])];
}
