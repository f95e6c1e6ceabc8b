/** Every line of the README's table of Dockers, on real hosts with a real dockerd. */
import test from 'ava';
import { DockerCluster } from '../support/docker-cluster.ts';
import { programByHand } from '../support/docker-hand-rules.ts';
import { MATRIX, type MatrixLine } from '../support/docker-matrix.ts';
import { trafficBecomes } from '../support/docker-traffic.ts';
import { needs } from '../support/require.ts';

function title({ docker, firewall, ipMasq, knowsDockerd }: MatrixLine): string {
  const flags = knowsDockerd ? '' : ', a dockerd that the agent knows nothing of';
  return `Docker ${docker} with ${firewall}, --ip-masq=${ipMasq}${flags}: what crosses, and from whom`;
}

for (const line of MATRIX) {
  test(title(line), async (t) => {
    if (!needs(t, 'lab', 'iptables', 'nft', `docker-${line.docker}`)) return;
    const cluster = await DockerCluster.start({
      docker: line.docker,
      firewall: line.firewall,
      beforeDocker: (node) => programByHand(node, line),
    });
    t.teardown(() => cluster.lab.destroy());
    t.deepEqual(await trafficBecomes(cluster, line.traffic), line.traffic);
  });
}
