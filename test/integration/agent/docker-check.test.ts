/** What `tartan docker check` and `docker opts --format` make of a host. Without a Docker: its marks alone. */
import test from 'ava';
import type { Host } from '../../support/host.ts';
import { needs } from '../../support/require.ts';
import { narrow, type Scene, scenesOn } from './scene.ts';

const scenes = scenesOn();

const DAEMON = '/etc/docker/daemon.json';
const NOT_READY = 13;

interface Answer {
  readonly status: number | null;
  readonly findings: readonly { readonly id: string; readonly severity: string; readonly what: string }[];
}

async function check(scene: Scene, host: Host): Promise<Answer> {
  const { status, stdout, stderr } = await scene.run(host, ['docker', 'check', '--json']);
  try {
    return { status, findings: JSON.parse(stdout).findings };
  } catch {
    throw new Error(`status ${status}: ${stdout}${stderr}`);
  }
}

const sorted = ({ findings }: Answer) => findings.map(({ severity, id }) => `${severity} ${id}`).sort();

/** A docker0 as a Docker would leave it. */
async function bridge(host: Host, address: string): Promise<void> {
  await host.run('sh', ['-c', `rm -f ${DAEMON}; ip link add docker0 type bridge && ip link set docker0 up`]);
  await host.run('ip', ['address', 'add', address, 'dev', 'docker0']);
}

test('docker check tells that docker0 is not on the lease, and nothing once it is', async (t) => {
  const scene = await scenes(t, { config: narrow(66) });
  if (!scene) return;
  const host = scene.host(1);
  await bridge(host, '172.17.0.1/16');
  t.true(sorted(await check(scene, host)).includes('stops no-lease'));
  await scene.ready(host);
  const { status, stdout } = await scene.run(host, ['docker', 'check']);
  t.is(status, NOT_READY);
  t.regex(
    stdout,
    /^STOPS PACKETS \(docker0-off-lease\): docker0 has 172\.17\.0\.1\/16, .*10\.5\.66\.0\/24\. .*Restart/m,
  );
  await host.run('ip', ['address', 'flush', 'dev', 'docker0']);
  await host.run('ip', ['address', 'add', '10.5.66.1/24', 'dev', 'docker0']);
  t.deepEqual(await check(scene, host), { status: 0, findings: [] });
});

test('docker check names the rule that drops packets, to containers and from them', async (t) => {
  const scene = await scenes(t, { config: narrow(66) });
  if (!scene || !needs(t, 'nft')) return;
  const host = scene.host(1);
  await bridge(host, '10.5.66.1/24');
  await scene.ready(host);
  const chain = 'chain forward { type filter hook forward priority 10; policy accept; }';
  const input = `table inet guard {\n${chain}\n}\nadd rule inet guard forward iifname "flannel.1" drop comment "mine"\n`;
  await host.run('nft', ['-f', '-'], { input });
  const inward = await check(scene, host);
  t.deepEqual([inward.status, sorted(inward)], [NOT_READY, ['stops dropped']]);
  t.regex(
    inward.findings[0]?.what ?? '',
    /to containers here .* by nftables inet guard, chain forward, rule drop "mine"/,
  );
  await host.run('nft', ['-f', '-'], { input: 'add rule inet guard forward ip daddr 10.5.0.0/16 drop\n' });
  t.deepEqual(sorted(await check(scene, host)), ['stops dropped', 'stops dropped']);
  await host.run('nft', ['delete', 'table', 'inet', 'guard']);
  t.is((await check(scene, host)).status, 0);
});

test('docker check tells what Docker will not start with', async (t) => {
  const scene = await scenes(t, { config: narrow(66) });
  if (!scene) return;
  const host = scene.host(1);
  await bridge(host, '10.5.66.1/24');
  await scene.ready(host);
  await host.run('sh', ['-c', `mkdir -p /etc/docker; echo '{"mtu": 1450,' >${DAEMON}`]);
  t.deepEqual(sorted(await check(scene, host)), ['restart unreadable']);
  const unit = '/run/systemd/system/docker.service';
  const text = '[Service]\\nEnvironmentFile=/run/flannel/docker\\nExecStart=dockerd $DOCKER_NETWORK_OPTIONS\\n';
  await host.run('sh', [
    '-c',
    `mkdir -p /run/systemd/system; printf '${text}' >${unit}; echo '{"mtu": 1450}' >${DAEMON}`,
  ]);
  t.true(sorted(await check(scene, host)).includes('restart set-twice'));
  const refused = await scene.run(host, ['docker', 'opts', '--format', 'daemon.json']);
  t.is(refused.status, 1);
  t.regex(refused.stderr, /EnvironmentFile/);
  t.is(await host.read(DAEMON), '{"mtu": 1450}\n');
});

test('docker opts writes into daemon.json, through a link, and changes nothing the second time', async (t) => {
  const scene = await scenes(t, { config: narrow(66) });
  if (!scene) return;
  const host = scene.host(1);
  await scene.ready(host);
  const before = '{\n\t"log-driver": "local",\n\t"mtu": 9000\n}\n';
  await host.run(
    'sh',
    ['-c', `mkdir -p /etc/docker; rm -f ${DAEMON}; ln -s real.json ${DAEMON}; cat >/etc/docker/real.json`],
    {
      input: before,
    },
  );
  const write = ['docker', 'opts', '--format', 'daemon.json', '-m'];
  for (let times = 0; times < 2; times += 1) {
    t.is((await scene.run(host, write)).status, 0);
    const { 'default-network-opts': _mtu, ...keys } = JSON.parse((await host.read(DAEMON)) ?? '');
    t.deepEqual(keys, { 'log-driver': 'local', mtu: 1450, bip: '10.5.66.1/24' });
  }
  t.is((await host.run('readlink', [DAEMON])).trim(), 'real.json');
});
