/** Until the agent has its firewall: that, kept from here. */
import { Firewall } from '../../backends/firewall/firewall.ts';
import { HostPrograms } from '../../backends/firewall/programs.ts';
import { silentLog } from '../../config/log.ts';
import { prefix } from './addresses.ts';
import type { DockerNode } from './docker-cluster.ts';
import type { MatrixLine } from './docker-matrix.ts';
import { realClock } from './real-clock.ts';

export async function programByHand(
  node: DockerNode,
  { firewall: kind, ipMasq, knowsDockerd }: MatrixLine,
): Promise<readonly string[]> {
  const firewall = new Firewall({
    programs: new HostPrograms(node.host.enter),
    clock: realClock,
    log: silentLog,
    resyncSeconds: 5,
  });
  const mark = { value: 0x1000, mask: 0x1000 };
  firewall.set({
    families: [{ family: 4, network: prefix('10.5.0.0/16'), subnet: prefix(node.network) }],
    masquerade: ipMasq,
    randomFully: true,
    forward: true,
    nftables: false,
    docker: { devices: ['flannel.1'], mark: kind === 'nftables' ? mark : undefined },
  });
  await firewall.look();
  if (firewall.problem()) throw new Error(firewall.problem());
  const stop = new AbortController();
  node.lab.afterwards(() => stop.abort());
  firewall.run(stop.signal).catch(() => {});
  const through = kind === 'nftables' && knowsDockerd;
  return [
    `--ip-masq=${!ipMasq}`,
    ...(through ? [`--bridge-accept-fwmark=0x1000/0x1000`, '--allow-direct-routing'] : []),
  ];
}
