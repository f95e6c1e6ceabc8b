/** Every line of the README's table of Dockers, on real hosts with a real dockerd. */
import { isDeepStrictEqual } from 'node:util';
import test from 'ava';
import { DockerCluster } from '../support/docker-cluster.ts';
import { programByHand } from '../support/docker-hand-rules.ts';
import { MATRIX, type MatrixLine, type Traffic } from '../support/docker-matrix.ts';
import { eventually } from '../support/eventually.ts';
import { needs } from '../support/require.ts';

function title({ docker, firewall, ipMasq, knowsDockerd }: MatrixLine): string {
  const flags = knowsDockerd ? '' : ', a dockerd that the agent knows nothing of';
  return `Docker ${docker} with ${firewall}, --ip-masq=${ipMasq}${flags}: what crosses, and from whom`;
}

for (const line of MATRIX) {
  test(title(line), async (t) => {
    if (!needs(t, 'lab', 'iptables', 'nft', line.docker === '29' ? 'docker-29' : 'docker-20.10')) return;
    const cluster = await DockerCluster.start({
      docker: line.docker,
      firewall: line.firewall,
      beforeDocker: (node) => programByHand(node, line),
    });
    t.teardown(() => cluster.lab.destroy());
    let seen: Traffic | undefined;
    await eventually('what crosses is what the table says', async () => {
      seen = await cluster.traffic();
      return isDeepStrictEqual(seen, line.traffic);
    }).catch((fault: unknown) => t.log(fault));
    t.deepEqual(seen, line.traffic);
  });
}
