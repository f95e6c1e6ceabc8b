/** The commands, as an operator types them. */
import test from 'ava';
import { TARTAN } from '../../support/agent.ts';
import { vxlanLease } from '../../support/vxlan-lease.ts';
import { narrow, type Scene, scenesOn, VXLAN } from './scene.ts';

const scenes = scenesOn();

const BAD = '{"Network":"10.5.0.0/16","SubnetLen":99,"EnableIPv6":1,"Backend":{"Type":"vxlan"}}';

async function stored(scene: Scene): Promise<string | undefined> {
  return (await scene.lab.etcd.list(`${scene.prefix}/config`))[0]?.value;
}

test('config set stores what is valid, from a file, standard input or the command line, and get prints it', async (t) => {
  const scene = await scenes(t, { config: undefined });
  if (!scene) return;
  const host = scene.host(1);
  const missing = await scene.run(host, ['config', 'get']);
  t.is(missing.status, 3);
  t.regex(missing.stderr, /tartan config set/);
  const set = await scene.run(host, ['config', 'set'], { input: `${VXLAN}\n` });
  t.is(set.status, 0, set.stderr);
  t.regex(set.stdout, /10\.5\.0\.0\/16 in \/24s from 10\.5\.1\.0 to 10\.5\.255\.0, backend vxlan/);
  t.is(await stored(scene), VXLAN);
  await host.run('sh', ['-c', 'cat >/run/config.json'], { input: narrow(1, 9) });
  t.is((await scene.run(host, ['config', 'set', '/run/config.json'])).status, 0);
  t.is((await scene.run(host, ['config', 'get'])).stdout, `${narrow(1, 9)}\n`);
  t.is((await scene.run(host, ['config', 'set', narrow(1, 19)])).status, 0);
  t.is(await stored(scene), narrow(1, 19));
});

test('a reader that is slow gets all of it', async (t) => {
  const scene = await scenes(t);
  if (!scene) return;
  const count = 500;
  for (let first = 0; first < count; first += 100) {
    const puts = Array.from({ length: 100 }, (_, i) => {
      const [high, low] = [(first + i) >> 7, (first + i) & 127];
      return `put ${scene.prefix}/subnets/10.5.${low}.${high * 16}-28 ${vxlanLease(`192.168.${100 + high}.${low + 1}`, '4e:00:00:00:00:01')}\n`;
    });
    await scene.lab.etcd.ctl(['txn'], { input: `\n${puts.join('')}\n\n` });
  }
  const slow = ['sh', '-c', '"$@" | (sleep 2; cat)', 'sh'];
  const { stdout } = await scene.run(scene.host(1), ['leases', '--json'], {}, slow);
  t.true(stdout.length > 65_536);
  t.is(JSON.parse(stdout).length, count);
});

test('config set and check refuse what is invalid with every problem, and what is no file', async (t) => {
  const scene = await scenes(t);
  if (!scene) return;
  const host = scene.host(1);
  for (const command of ['set', 'check']) {
    const { status, stderr } = await scene.run(host, ['config', command, '-'], { input: BAD });
    t.is(status, 3);
    t.regex(stderr, /EnableIPv6[\s\S]*SubnetLen/);
    t.is((await scene.run(host, ['config', command, '-'], { input: '{"Network":' })).status, 3);
    const wireguard = '{"Network":"10.5.0.0/16","Backend":{"Type":"wireguard"}}';
    t.regex((await scene.run(host, ['config', command], { input: wireguard })).stderr, /wireguard.*not offered/);
    t.is((await scene.run(host, ['config', command, '/none'])).status, 2);
    t.is((await scene.run(host, ['config', command], { input: '\n' })).status, 2);
    t.is((await scene.run(host, ['config', command, '/run'])).status, 5);
  }
  t.is(await stored(scene), VXLAN);
});

test('a config that would orphan live leases is refused, naming them; --force stores it', async (t) => {
  const scene = await scenes(t);
  if (!scene) return;
  const host = scene.host(1);
  await scene.putLease('10.5.200.0-24', vxlanLease('192.168.77.200', '4e:00:00:00:00:01'));
  const half = '{"Network":"10.5.0.0/17","Backend":{"Type":"vxlan"}}';
  for (const command of ['set', 'check']) {
    const { status, stdout, stderr } = await scene.run(host, ['config', command], { input: half });
    t.is(status, 3);
    t.is(stdout, '');
    t.regex(stderr, /10\.5\.200\.0\/24 +192\.168\.77\.200[\s\S]*--force/);
  }
  t.is(await stored(scene), VXLAN);
  t.is((await scene.run(host, ['config', 'set', '--force'], { input: half })).status, 0);
  t.is(await stored(scene), half);
});

test('config check says what running agents would do, and works without etcd', async (t) => {
  const scene = await scenes(t, { config: '{"Network":"10.5.0.0/17","Backend":{"Type":"vxlan"}}' });
  if (!scene) return;
  const host = scene.host(1);
  const wider = await scene.run(host, ['config', 'check'], { input: VXLAN });
  t.is(wider.status, 0);
  t.regex(wider.stdout, /running agents follow: Network/);
  const other = await scene.run(host, ['config', 'check'], { input: VXLAN.replace('vxlan', 'host-gw') });
  t.regex(other.stdout, /needs every agent restarted: Backend\.Type/);
  const alone = await scene.run(host, ['config', 'check'], {
    input: VXLAN,
    env: { TARTAN_ETCD_ENDPOINTS: 'http://127.0.0.1:1' },
  });
  t.is(alone.status, 0);
  t.regex(alone.stdout, /^valid: [\s\S]*not compared/);
});

test('leases: a table, and JSON', async (t) => {
  const scene = await scenes(t);
  if (!scene) return;
  const host = scene.host(1);
  t.is((await scene.run(host, ['leases', '--json'])).stdout, '[]\n');
  await scene.ready(host);
  await scene.putLease('10.5.1.0-24', '{"PublicIP":"192.168.77.201","PublicIPv6":null}');
  await scene.putLease(
    '0.0.0.0-0&fd00:5::-64',
    '{"PublicIP":"0.0.0.0","PublicIPv6":"fd77::9","BackendType":"host-gw"}',
  );
  const { stdout } = await scene.run(host, ['leases']);
  const [head, ...rows] = stdout.trimEnd().split('\n');
  t.regex(head ?? '', /^SUBNET +PUBLIC IP +BACKEND +NODE +TIME LEFT$/);
  t.is(rows.length, 3);
  const wanted = [
    /^fd00:5::\/64 +fd77::9 +host-gw +- +reservation$/,
    /^10\.5\.1\.0\/24 +192\.168\.77\.201 +- +- +reservation$/,
    new RegExp(`^10\\.5\\.\\d+\\.0/24 +${host.ip} +vxlan +${host.name} +2[34]h\\d\\dm$`),
  ];
  for (const row of wanted)
    t.true(
      rows.some((line) => row.test(line)),
      `${row}\n${stdout}`,
    );
  const json = JSON.parse((await scene.run(host, ['leases', '--json'])).stdout);
  const own = json.find((one: { publicIp: string }) => one.publicIp === host.ip);
  t.deepEqual(Object.keys(own), [
    'subnet',
    'subnet6',
    'publicIp',
    'publicIp6',
    'backend',
    'node',
    'name',
    'secondsLeft',
  ]);
  t.true(own.secondsLeft > 86_000);
});

test('leases without etcd: what is wrong and where, within a few seconds', async (t) => {
  const scene = await scenes(t);
  if (!scene) return;
  const { status, stderr } = await scene.run(scene.host(1), ['leases'], {
    env: { TARTAN_ETCD_ENDPOINTS: 'http://127.0.0.1:1' },
  });
  t.is(status, 6);
  t.regex(stderr, /127\.0\.0\.1:1 did not answer/);
});

test('status, its check and wait: before, while it waits, and when it is ready', async (t) => {
  const scene = await scenes(t, { hosts: 2, config: undefined });
  if (!scene) return;
  const [host, peer] = [scene.host(1), scene.host(2)];
  const nobody = await scene.run(host, ['status']);
  t.is(nobody.status, 12);
  t.regex(nobody.stderr, /is the agent running/);
  const agent = scene.start(host);
  await scene.status(host, agent, ({ phase }) => phase.includes('config'));
  t.is((await scene.run(host, ['status'])).status, 0);
  t.is((await scene.run(host, ['status', '--check'])).status, 13);
  const late = await scene.run(host, ['wait', '--timeout=1']);
  t.is(late.status, 13);
  t.regex(late.stderr, /not ready after 1 s: waiting for the network config/);
  const waiting = scene.run(host, ['wait', '--timeout=20']);
  await scene.configure(VXLAN);
  t.is((await waiting).status, 0);
  await scene.ready(peer);
  await scene.status(host, agent, ({ peers, inStep }) => inStep && peers.length === 1);
  const { stdout, status } = await scene.run(host, ['status', '--check']);
  t.is(status, 0);
  const wanted = [
    /^agent +ready: holding the lease \(pid \d+, up \d+s\)$/m,
    /^etcd +connected for \d+s, http:\/\/192\.168\.77\.1:2379, prefix /m,
    /^network +10\.5\.0\.0\/16 in \/24s, backend vxlan$/m,
    /^lease +10\.5\.\d+\.0\/24 as 192\.168\.77\.\d+ \(2[34]h\d\dm left\)$/m,
    /^device +flannel\.1 [0-9a-f:]{17} mtu 1450$/m,
    /^kernel +in step for \d+s$/m,
    new RegExp(`^10\\.5\\.\\d+\\.0/24 +${peer.ip} +${peer.name} +\\S`, 'm'),
  ];
  for (const line of wanted) t.regex(stdout, line);
  const json = JSON.parse((await scene.run(host, ['status', '--json'])).stdout);
  t.is(json.pid, agent.pid);
  t.is(json.peers[0].publicIp, peer.ip);
});

test('docker opts writes what mk-docker-opts.sh would', async (t) => {
  const scene = await scenes(t, { config: narrow(66) });
  if (!scene) return;
  const host = scene.host(1);
  await scene.ready(host);
  const combined = await scene.run(host, ['docker', 'opts', '-c', '-d', '-']);
  t.is(combined.stdout, 'DOCKER_OPTS=" --bip=10.5.66.1/24 --ip-masq=true --mtu=1450"\n');
  t.is((await scene.run(host, ['docker', 'opts', '-i', '-d', '/run/opts'])).status, 0);
  t.is(
    await host.read('/run/opts'),
    'DOCKER_OPT_BIP="--bip=10.5.66.1/24"\nDOCKER_OPT_IPMASQ="--ip-masq=true"\nDOCKER_OPT_MTU="--mtu=1450"\n',
  );
});

test('a reader that has seen enough is no failure', async (t) => {
  const scene = await scenes(t);
  if (!scene) return;
  const host = scene.host(1);
  const script = 'set -o pipefail; "$@" help | head -1';
  const { status, stderr } = await host.exec('bash', ['-c', script, 'sh', ...TARTAN]);
  t.deepEqual([status, stderr], [0, '']);
});
