/** What an agent waits for before it holds a lease, and what it says meanwhile. */
import test from 'ava';
import { hangDirectory } from '../../support/hanging-mount.ts';
import { createLab } from '../../support/hosts.ts';
import { needs } from '../../support/require.ts';
import { http, narrow, Scene, SUBNET_ENV, scenesOn, VXLAN } from './scene.ts';

const scenes = scenesOn();

async function withoutEtcd(t: Parameters<typeof scenes>[0]): Promise<Scene | undefined> {
  if (!needs(t, 'lab')) return undefined;
  const lab = await createLab({ hosts: 0, etcd: false });
  t.teardown(() => lab.destroy());
  const scene = new Scene(lab, '/coreos.com/network');
  await scene.addHost();
  return scene;
}

test('etcd absent: it says so everywhere, and is ready when etcd comes', async (t) => {
  const scene = await withoutEtcd(t);
  if (!scene) return;
  const host = scene.host(1);
  const agent = scene.start(host, ['--healthz-port=8471']);
  const { ready, etcd } = await scene.status(
    ...([host, agent] as const),
    ({ phase, problems }) =>
      phase === 'waiting for etcd' && problems.some((one) => one.includes(scene.lab.etcd.endpoint)),
  );
  t.deepEqual([ready, etcd.connected], [false, false]);
  t.true(agent.lines.some((line) => /warn .*etcd is away/.test(line)));
  const { status, body } = await http(host, 'http://127.0.0.1:8471/readyz');
  t.is(status, 503);
  t.regex(body, /waiting for etcd: etcd at /);
  await scene.lab.etcd.start();
  await scene.configure(VXLAN);
  await scene.isReady(host, agent);
});

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  test(`${signal} while etcd hangs: at once, exit 0`, async (t) => {
    const scene = await scenes(t, { config: undefined });
    if (!scene) return;
    const host = scene.host(1);
    const { etcd } = scene.lab;
    t.teardown(() => etcd.thaw());
    etcd.freeze();
    const agent = scene.start(host);
    await scene.status(host, agent, ({ phase }) => phase === 'waiting for etcd');
    const from = performance.now();
    t.deepEqual(await agent.stop(signal), { status: 0, signal: null });
    // Less than one call to etcd may take.
    t.true(performance.now() - from < 2_500);
  });
}

test('SIGTERM while the disk of the state directory hangs: within seconds, exit 0, and all stays', async (t) => {
  if (!needs(t, 'fuse')) return;
  const scene = await scenes(t);
  if (!scene) return;
  const host = scene.host(1);
  const agent = await scene.ready(host);
  const giveBack = await hangDirectory(host, `/var/lib/tartan${scene.prefix}`);
  // Something new to be written down.
  await scene.configure(VXLAN);
  t.deepEqual(await agent.stop(), { status: 0, signal: null });
  t.true(
    agent.lines.some((line) => /state directory hangs/.test(line)),
    agent.tail(),
  );
  t.regex(await host.run('ip', ['-d', 'link']), /flannel\.1/);
  await giveBack();
  await scene.ready(host);
});

test('no config, then an unusable one, then another type, then a good one: each is named', async (t) => {
  const scene = await scenes(t, { config: undefined });
  if (!scene) return;
  const host = scene.host(1);
  const agent = scene.start(host);
  const says = (word: RegExp) => scene.status(host, agent, ({ problems }) => problems.some((one) => word.test(one)));
  t.is((await says(/\/config; store one/)).phase, 'waiting for the network config');
  await scene.configure('{"Network":"10.5.0.0/16","SubnetLen":40,"EnableIPv6":"yes","Backend":{"Type":"vxlan"}}');
  const both = await says(/SubnetLen/);
  t.true(both.problems.some((one) => one.includes('EnableIPv6')));
  await scene.configure('{"Network":"10.5.0.0/16"');
  await says(/not JSON/);
  await scene.configure('{"Network":"10.5.0.0/16","Backend":{"Type":"wireguard"}}');
  await says(/"wireguard" is not offered/);
  await scene.configure('{"Network":"10.5.0.0/16","Backend":{"Type":"vxlam"}}');
  await says(/vxlam.*vxlan/);
  await scene.configure('{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan","VNI":"one"}}');
  await says(/VNI/);
  t.is((await scene.leases()).length, 0);
  t.is(await host.read(SUBNET_ENV), undefined);
  await scene.configure(VXLAN);
  await scene.isReady(host, agent);
});

test('no such interface: said with those that there are, exit 4', async (t) => {
  const scene = await scenes(t);
  if (!scene) return;
  const agent = scene.start(scene.host(1), ['--iface=eth7']);
  // --iface=eth0 of the harness comes first.
  await agent.until(/ready/);
  await agent.stop();
  const other = scene.host(1).spawn('sh', ['-c', 'exec "$@"', 'sh', ...runWithout(scene, '--iface=eth7')]);
  t.is((await other.exited).status, 4);
  t.regex(other.lines.join('\n'), /eth7.*eth0:\[192\.168/);
});

function runWithout(scene: Scene, ...flags: readonly string[]): string[] {
  const main = process.argv[0] ?? 'node';
  const script = new URL('../../../agent/main.js', import.meta.url).pathname;
  return [
    main,
    script,
    'run',
    `--etcd-endpoints=${scene.lab.etcd.endpoint}`,
    `--etcd-prefix=${scene.prefix}`,
    ...flags,
  ];
}

test('every subnet leased: said, and ready as soon as one is given back', async (t) => {
  const scene = await scenes(t, { hosts: 2, config: narrow(7) });
  if (!scene) return;
  const [first, second] = [scene.host(1), scene.host(2)];
  const holder = await scene.ready(first);
  const late = scene.start(second);
  const { problems } = await scene.status(second, late, ({ phase }) => phase === 'waiting for a free subnet');
  t.regex(problems.join(), /every subnet.*widen Network/);
  await holder.stop();
  const { key } = await scene.lease(first.ip);
  await scene.lab.etcd.ctl(['del', key]);
  // Sooner than the next try would be, 30 s later.
  await scene.isReady(second, late, { timeoutMs: 10_000 });
  t.is((await scene.lease(second.ip)).key, key);
});
