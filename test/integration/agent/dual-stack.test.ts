/** IPv4 and IPv6 at once, and IPv6 alone. */
import test from 'ava';
import { eventually } from '../../support/eventually.ts';
import { kernelDump, type Scene, SUBNET_ENV, scenesOn } from './scene.ts';

const scenes = scenesOn({ ipv6: true });

const DUAL = '{"Network":"10.5.0.0/16","EnableIPv6":true,"IPv6Network":"fd00:5::/48","Backend":{"Type":"vxlan"}}';
const SIX = '{"EnableIPv4":false,"EnableIPv6":true,"IPv6Network":"fd00:5::/48","Backend":{"Type":"vxlan"}}';

async function bothInStep(scene: Scene): Promise<void> {
  const agents = await Promise.all(scene.hosts.map((host) => scene.ready(host)));
  for (const [i, agent] of agents.entries()) {
    await scene.status(scene.host(i + 1), agent, ({ inStep, peers }) => inStep && peers.length === 1);
  }
}

test('vxlan in both families: files, lease, and containers reach each other with packets of the full MTU', async (t) => {
  const scene = await scenes(t, { hosts: 2, config: DUAL });
  if (!scene) return;
  const [first] = scene.hosts;
  await bothInStep(scene);
  const text = (await first?.read(SUBNET_ENV)) ?? '';
  t.regex(
    text,
    /^FLANNEL_NETWORK=10\.5\.0\.0\/16\nFLANNEL_SUBNET=10\.5\.\d+\.1\/24\nFLANNEL_IPV6_NETWORK=fd00:5::\/48\nFLANNEL_IPV6_SUBNET=fd00:5:0:\w+::1\/64\nFLANNEL_MTU=1430\nFLANNEL_IPMASQ=false\n$/,
  );
  for (const { key } of await scene.leases()) t.regex(key, /\/10\.5\.\d+\.0-24&fd00:5:0:\w+::-64$/);
  const containers = await Promise.all(
    scene.hosts.map(async (host) => {
      const env = await host.subnetEnv();
      return env && (await host.bridge(env));
    }),
  );
  const [a, b] = containers;
  if (!a || !b || !a.ip6 || !b.ip6) return t.fail('no containers');
  for (const [from, to] of [
    [a, b.ip],
    [b, a.ip],
    [a, b.ip6],
    [b, a.ip6],
  ] as const) {
    await eventually(`${from.host.name} reaches ${to}`, async () => (await from.ping(to, { packetBytes: 1430 })).ok);
  }
  const { stdout } = await scene.run(scene.host(1), ['status']);
  t.regex(stdout, /^10\.5\.\d+\.0\/24 fd00:5:0:\w+::\/64 +192\.168\.77\.\d+ fd77::\w+ +host\d+ +\S/m);
});

test('IPv6 alone: two hosts, which flannel can not', async (t) => {
  const scene = await scenes(t, { hosts: 2, config: SIX });
  if (!scene) return;
  await bothInStep(scene);
  const leases = await scene.leases();
  t.is(leases.length, 2);
  for (const { key } of leases) t.regex(key, /\/0\.0\.0\.0-0&fd00:5:0:\w+::-64$/);
  t.notRegex((await scene.host(1).read(SUBNET_ENV)) ?? '', /FLANNEL_(NETWORK|SUBNET)=/);
  const ends = leases.map(({ key }) => /&(.*)-64/.exec(key)?.[1] ?? '');
  for (const host of scene.hosts) {
    for (const to of ends) await eventually(`${host.name} reaches ${to}`, async () => (await host.ping(to)).ok);
  }
});

test('down and --release in dual stack: nothing is left', async (t) => {
  const scene = await scenes(t, { hosts: 2, config: DUAL });
  if (!scene) return;
  const host = scene.host(1);
  await host.run('sh', ['-c', 'echo 1 >/proc/sys/net/ipv6/conf/all/forwarding; echo 1 >/proc/sys/net/ipv4/ip_forward']);
  const before = await kernelDump(host);
  await bothInStep(scene);
  const { status, stderr } = await scene.run(host, ['down', '--release']);
  t.is(status, 0, stderr);
  t.deepEqual(await kernelDump(host), before);
  t.is((await scene.leases()).length, 1);
});
