/** A tartan host that gets another address, as a flanneld sees it: a lease that is put again. */
import test from 'ava';
import { eventually } from '../support/eventually.ts';
import { MixedCluster } from '../support/mixed-cluster.ts';

const ADDRESS = '192.168.77.211';

for (const type of ['vxlan', 'host-gw'] as const) {
  test(`${type}: a flanneld follows a tartan host to its new address`, async (t) => {
    const cluster = await MixedCluster.create(t, { type });
    if (cluster === undefined) return;
    const [flanneld, tartan] = [cluster.member(1, 'flanneld'), cluster.member(2, 'tartan')];
    for (const member of [flanneld, tartan]) await member.start();
    await Promise.all([flanneld.addContainer(), tartan.addContainer()]);
    await flanneld.reach(tartan);
    await tartan.host.configure(
      `addr del ${tartan.host.ip}/24 dev eth0`,
      `addr add ${ADDRESS}/24 dev eth0`,
      `route add default via ${cluster.lab.gateway}`,
    );
    const sees = async (): Promise<boolean> => {
      const isVxlan = type === 'vxlan';
      const shown = isVxlan
        ? await flanneld.host.run('bridge', ['fdb', 'show', 'dev', 'flannel.1'])
        : await flanneld.host.run('ip', ['route']);
      return shown.includes(` ${isVxlan ? 'dst' : 'via'} ${ADDRESS} `);
    };
    await eventually('flanneld has the new address', sees, { context: () => flanneld.agent.tail() });
    await flanneld.reach(tartan);
    await tartan.reach(flanneld);
    t.true(flanneld.agent.running && tartan.agent.running);
  });
}
