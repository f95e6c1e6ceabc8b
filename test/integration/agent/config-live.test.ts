/** The network config is followed while the agent runs, or the operator is told. */
import test from 'ava';
import { eventually } from '../../support/eventually.ts';
import { vxlanLease } from '../../support/vxlan-lease.ts';
import { filesUnder, kernelDump, SUBNET_ENV, scenesOn } from './scene.ts';

const scenes = scenesOn();

const HALF = '{"Network":"10.5.0.0/17","Backend":{"Type":"vxlan"}}';
const WHOLE = '{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"}}';

test('a widened network: subnet.env is rewritten, peers of the new part are taken', async (t) => {
  const scene = await scenes(t, { config: HALF });
  if (!scene) return;
  const host = scene.host(1);
  const agent = await scene.ready(host);
  const before = (await host.read(SUBNET_ENV)) ?? '';
  const lease = await scene.lease(host.ip);
  await scene.putLease('10.5.200.0-24', vxlanLease('192.168.77.200', '4e:00:00:00:00:01'));
  await scene.status(host, agent, ({ refusedCount }) => refusedCount === 1);
  await scene.configure(WHOLE);
  const { problems } = await scene.status(host, agent, ({ peers, inStep }) => inStep && peers.length === 1);
  t.deepEqual(problems, []);
  const after = before.replace('10.5.0.0/17', '10.5.0.0/16');
  await eventually('subnet.env has the new network', async () => (await host.read(SUBNET_ENV)) === after);
  t.regex(await host.run('ip', ['route']), /10\.5\.200\.0\/24 /);
  t.deepEqual(await scene.lease(host.ip), lease);
});

const UNFOLLOWED = [
  [
    'another backend',
    '{"Network":"10.5.0.0/16","Backend":{"Type":"host-gw"}}',
    /restart.*Backend\.Type: vxlan -> host-gw/,
  ],
  ['another VNI, with a wider network', '{"Network":"10.0.0.0/8","Backend":{"Type":"vxlan","VNI":9}}', /restart.*VNI/],
  ['nonsense', '{"Network":"10.5.0.0/33"}', /unusable.*Network/],
] as const;

test('what can not be followed is told, and nothing is half applied; back to the old, the problem is gone', async (t) => {
  const scene = await scenes(t);
  if (!scene) return;
  const host = scene.host(1);
  const agent = await scene.ready(host);
  await scene.status(host, agent, ({ inStep }) => inStep);
  const before = [await kernelDump(host), await filesUnder(host, '/run/flannel'), await scene.leases()];
  for (const [what, config, problem] of UNFOLLOWED) {
    await scene.configure(config);
    const { ready, problems } = await scene.status(host, agent, (status) => problem.test(status.problems.join()), what);
    t.true(ready, what);
    t.is(problems.length, 1);
  }
  await scene.lab.etcd.ctl(['del', `${scene.prefix}/config`]);
  const gone = await scene.status(host, agent, ({ problems }) => /gone from etcd/.test(problems.join()));
  t.true(gone.ready);
  t.deepEqual([await kernelDump(host), await filesUnder(host, '/run/flannel'), await scene.leases()], before);
  await scene.configure(WHOLE);
  await scene.status(host, agent, ({ problems }) => problems.length === 0);
  t.deepEqual([await kernelDump(host), await filesUnder(host, '/run/flannel'), await scene.leases()], before);
});

test('the config changed while the agent was away, so that the lease does not fit: a new one, no leftovers', async (t) => {
  const scene = await scenes(t, { hosts: 2 });
  if (!scene) return;
  const [host, peer] = [scene.host(1), scene.host(2)];
  const agent = await scene.ready(host);
  const other = await scene.ready(peer);
  await scene.status(host, agent, ({ peers, inStep }) => inStep && peers.length === 1);
  await agent.stop();
  await other.stop();
  await scene.configure('{"Network":"10.6.0.0/16","Backend":{"Type":"vxlan"}}');
  const [again, too] = [await scene.ready(host), await scene.ready(peer)];
  await scene.status(host, again, ({ peers, inStep }) => inStep && peers.length === 1);
  await scene.status(peer, too, ({ peers, inStep }) => inStep && peers.length === 1);
  const leases = await scene.leases();
  t.is(leases.length, 2);
  t.true(leases.every(({ key }) => key.includes('/10.6.')));
  t.regex((await host.read(SUBNET_ENV)) ?? '', /FLANNEL_SUBNET=10\.6\./);
  const { routes, addresses, neighbours } = await kernelDump(host);
  for (const table of [routes, addresses, neighbours]) t.notRegex(table ?? '', /10\.5\./);
});

test('another backend after a restart: no route, device or forwarding entry of the old one is left', async (t) => {
  const scene = await scenes(t, { hosts: 2 });
  if (!scene) return;
  const [host, peer] = [scene.host(1), scene.host(2)];
  const before = await kernelDump(host);
  const agent = await scene.ready(host);
  const other = await scene.ready(peer);
  await scene.status(host, agent, ({ peers, inStep }) => inStep && peers.length === 1);
  await scene.configure('{"Network":"10.5.0.0/16","Backend":{"Type":"host-gw"}}');
  await agent.stop();
  await other.stop();
  const [again, too] = [await scene.ready(host), await scene.ready(peer)];
  await scene.status(host, again, ({ peers, inStep }) => inStep && peers.length === 1);
  await scene.status(peer, too, ({ peers, inStep }) => inStep && peers.length === 1);
  await eventually('the old device is gone', async () => !/flannel/.test((await kernelDump(host))['links'] ?? ''));
  const { routes = '', ...rest } = await kernelDump(host);
  t.regex(routes, new RegExp(`10\\.5\\.\\d+\\.0/24 via ${peer.ip} dev eth0 proto 84`));
  const { routes: _, ...unchanged } = before;
  t.deepEqual(rest, unchanged);
});
