import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import { BootedHost, bootLack } from '../support/booted-host.ts';
import { installTartan } from '../support/booted-tartan.ts';
import { isLacking } from '../support/lacking.ts';
import { inRepository } from '../support/repository.ts';
import { needs } from '../support/require.ts';

const PROBE = '/usr/local/lib/probe';

/** A dockerd that notes how it was started, in a unit as Docker's packages have it. */
const DOCKERD = '#!/bin/sh\necho "$@" >/run/dockerd-arguments\nexec sleep infinity\n';
const DOCKER = `[Unit]
After=network-online.target
[Service]
ExecStart=/usr/sbin/dockerd -H fd:// --containerd=/run/containerd/containerd.sock
Restart=on-failure
StartLimitBurst=3
StartLimitIntervalSec=60s
`;
const STARTED = '-H fd:// --containerd=/run/containerd/containerd.sock --bip=10.5.17.1/24 --ip-masq=true --mtu=1450';
/** The pauses between restarts, shortened: shorter than any start limit allows. */
const IMPATIENT = '[Service]\nRestartSec=100ms\n';
/** A catch-all, as many installations have it. */
const EVERY_DEVICE = '[Match]\nName=*\n[Network]\nAddress=192.0.2.1/24\n';

function hostToBoot(t: ExecutionContext): BootedHost {
  const host = new BootedHost();
  t.teardown(() => host.halt());
  return host;
}

function installAgent(host: BootedHost): void {
  host.copy(inRepository('deploy/tartan.service'), '/etc/systemd/system/tartan.service');
  host.write('/etc/systemd/system/tartan.service.d/impatient.conf', IMPATIENT);
  // Copied, because the unit hides /root and /home, where the repository may lie.
  host.copy(fileURLToPath(new URL('../support/sandbox-probe.js', import.meta.url)), `${PROBE}/probe.mjs`);
  for (const name of ['koffi', '@koromix']) {
    host.copy(inRepository(`node_modules/${name}`), `${PROBE}/node_modules/${name}`);
  }
  host.write('/usr/local/bin/tartan', `#!/bin/sh\nexec ${process.execPath} ${PROBE}/probe.mjs "$@"\n`, 0o755);
}

function installDocker(host: BootedHost): void {
  host.write('/etc/systemd/system/docker.service', DOCKER);
  host.copy(inRepository('deploy/docker.service.d/tartan.conf'), '/etc/systemd/system/docker.service.d/tartan.conf');
  host.write('/etc/systemd/system/docker.service.d/zz-impatient.conf', IMPATIENT);
  host.write('/usr/sbin/dockerd', DOCKERD, 0o755);
}

const isActive = (host: BootedHost, unit: string) => async () => (await host.show(unit, 'ActiveState')) === 'active';
const count = async (host: BootedHost, unit: string, property: string) => Number(await host.show(unit, property));

async function sandboxAllowsWhatIsNeededAndNoMore(t: ExecutionContext, host: BootedHost): Promise<void> {
  const { '/dev/net/tun': tun, ...found } = JSON.parse(await host.run('cat', '/run/flannel/found.json'));
  t.true(tun === undefined || tun === '0');
  t.deepEqual(found, {
    callback: '1,2,3',
    'forced receive buffer': '0',
    'raw socket': 'true',
    'packet socket': 'false',
    ip_forward: 'allowed',
    'kernel sysctl': 'EROFS',
    '/run/flannel': 'allowed',
    '/var/lib/tartan': 'allowed',
    '/var/lib': 'EROFS',
    '/etc': 'EROFS',
    '/etc/machine-id': '33',
    '/proc/net/netlink': 'true',
    doorbell: 'true',
    'many messages': 'true',
    thread: 'true',
  });
}

async function dockerStartedWhenTheAgentWasReady(t: ExecutionContext, host: BootedHost): Promise<void> {
  const ready = await count(host, 'tartan', 'ActiveEnterTimestampMonotonic');
  t.true((await count(host, 'docker', 'ExecMainStartTimestampMonotonic')) >= ready);
  t.is(await host.show('tartan', 'StatusText'), 'run');
  t.is(await host.run('cat', '/run/dockerd-arguments'), STARTED);
}

async function dockerOutlivesTheAgent(t: ExecutionContext, host: BootedHost): Promise<void> {
  const docker = await host.show('docker', 'MainPID');
  await host.run('systemctl', 'kill', '--signal=KILL', 'tartan');
  await host.until(async () => (await count(host, 'tartan', 'NRestarts')) === 1);
  await host.until(isActive(host, 'tartan'));
  await host.run('systemctl', 'stop', 'tartan');
  t.true((await host.run('cat', '/run/flannel/docker')).startsWith('DOCKER_NETWORK_OPTIONS='));
  t.is(await host.show('docker', 'MainPID'), docker);
}

async function dockerWaitsForItsOptions(t: ExecutionContext, host: BootedHost): Promise<void> {
  await host.run('systemctl', 'stop', 'docker');
  await host.run('sh', '-c', 'rm -r /run/flannel /run/dockerd-arguments; echo 6 >/etc/probe-exit');
  await host.run('systemctl', 'start', '--no-block', 'docker');
  await host.until(async () => (await count(host, 'docker', 'NRestarts')) > 4);
  t.true((await count(host, 'tartan', 'NRestarts')) > 0);
  t.is(await host.run('cat', '/run/dockerd-arguments'), '');
  await host.run('rm', '/etc/probe-exit');
  await host.until(isActive(host, 'docker'));
  t.is(await host.run('cat', '/run/dockerd-arguments'), STARTED);
}

async function replacedAgentStaysDown(t: ExecutionContext, host: BootedHost): Promise<void> {
  await host.run('sh', '-c', 'echo 8 >/etc/probe-exit');
  await host.run('systemctl', 'restart', 'tartan');
  t.is(await host.show('tartan', 'ActiveState'), 'failed');
  t.is(await count(host, 'tartan', 'ExecMainStatus'), 8);
  t.true(await isActive(host, 'docker')());
}

test('a host boots the agent in its sandbox, then Docker on its options, and Docker outlives it', async (t) => {
  if (isLacking(t, bootLack())) return;
  const host = hostToBoot(t);
  installAgent(host);
  installDocker(host);
  await host.boot(['tartan.service', 'docker.service']);
  await host.until(isActive(host, 'docker'));
  await sandboxAllowsWhatIsNeededAndNoMore(t, host);
  await dockerStartedWhenTheAgentWasReady(t, host);
  await dockerOutlivesTheAgent(t, host);
  await dockerWaitsForItsOptions(t, host);
  await replacedAgentStaysDown(t, host);
});

/** An underlay and an etcd of the host's own, before the agent. */
const UNDERLAY = `[Unit]
Before=tartan.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'ip link add eth0 type veth peer name wire; ip address add 192.168.77.10/24 dev eth0; \\
  ip link set eth0 up; ip link set wire up; ip route add default via 192.168.77.1'
`;
const ETCD = `[Unit]
Before=tartan.service
[Service]
Type=notify
ExecStart=/usr/bin/etcd --data-dir /run/etcd-data --unsafe-no-fsync
`;
const CONFIG = '{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"}}';
const UDP = '{"Network":"10.5.0.0/16","Backend":{"Type":"udp"}}';
const WATCHED = '[Service]\nWatchdogSec=2\n';

async function comesBackFromWhatNobodyAskedFor(t: ExecutionContext, host: BootedHost): Promise<void> {
  for (const signal of ['KILL', 'HUP']) {
    const before = await count(host, 'tartan', 'NRestarts');
    await host.run('systemctl', 'kill', `--signal=${signal}`, 'tartan');
    await host.until(async () => (await count(host, 'tartan', 'NRestarts')) > before);
    await host.until(isActive(host, 'tartan'));
    t.is(await count(host, 'tartan', 'NRestarts'), before + 1, signal);
  }
}

/** While a restart is due the unit counts as activating. */
async function staysDownUntilStarted(t: ExecutionContext, host: BootedHost): Promise<void> {
  await host.run('systemctl', 'start', 'tartan');
  const said = await host.run('tartan', 'down');
  t.regex(said, /stopped the agent \(pid \d+\); .*: systemctl disable --now tartan\.service/);
  await host.until(async () => (await host.show('tartan', 'ActiveState')) === 'inactive');
  t.is(await host.show('tartan', 'Result'), 'success');
  t.is(await host.run('ip', '-o', 'link', 'show', 'dev', 'flannel.1'), '');
  await host.run('systemctl', 'start', 'tartan');
  t.true(await isActive(host, 'tartan')());
}

/** The sandbox lets it have the device, a thread and all that the kernel offers. */
async function carriesPacketsItself(t: ExecutionContext, host: BootedHost): Promise<void> {
  await host.run('sh', '-c', `echo '${UDP}' | tartan config set -`);
  await host.run('systemctl', 'restart', 'tartan');
  const everything = /^data path +flannel0 up \(wasm, tun-offload, udp-gso, udp-gro, batches\)/m;
  await host.until(async () => everything.test(await host.run('tartan', 'status')));
  await host.until(async () => (await host.run('ip', '-o', 'link', 'show', 'dev', 'flannel.1')) === '');
  await host.run('tartan', 'down');
  t.is(await host.run('sh', '-c', 'ip -o link show dev flannel0; ip route show 10.5.0.0/16'), '');
}

test('the agent itself runs in its sandbox: leases, tells systemd, survives a restart, stays down after `down`, carries packets itself', async (t) => {
  if (isLacking(t, bootLack()) || !needs(t, 'etcd', 'etcdctl')) return;
  const host = hostToBoot(t);
  installTartan(host);
  host.write('/etc/systemd/system/tartan.service.d/watched.conf', WATCHED);
  host.write('/etc/systemd/system/underlay.service', UNDERLAY);
  host.write('/etc/systemd/system/etcd.service', ETCD);
  await host.boot(['underlay.service', 'etcd.service']);
  await host.run('systemctl', 'start', '--no-block', 'tartan');
  await host.until(async () => (await host.show('tartan', 'StatusText')).startsWith('waiting for the network config'));
  t.is(await host.show('tartan', 'ActiveState'), 'activating');
  await host.run('sh', '-c', `echo '${CONFIG}' | tartan config set -`);
  await host.until(isActive(host, 'tartan'));
  const env = await host.run('cat', '/run/flannel/subnet.env');
  const subnet = /FLANNEL_SUBNET=(\S+)\.1\/24/.exec(env)?.[1];
  t.is(await host.show('tartan', 'StatusText'), `lease ${subnet}.0/24, backend vxlan on eth0`);
  t.is(
    await host.run('cat', '/run/flannel/docker'),
    `DOCKER_NETWORK_OPTIONS=" --bip=${subnet}.1/24 --ip-masq=true --mtu=1450"`,
  );
  t.is(await host.run('cat', '/proc/sys/net/ipv4/ip_forward'), '1');
  t.regex(await host.run('tartan', 'status'), /^agent +ready/);
  t.regex(await host.run('journalctl', '-u', 'tartan', '-o', 'cat'), /holding a lease/);
  const watched = await host.show('tartan', 'WatchdogTimestampMonotonic');
  await host.until(async () => (await host.show('tartan', 'WatchdogTimestampMonotonic')) !== watched);
  await host.run('systemctl', 'restart', 'tartan');
  await host.until(isActive(host, 'tartan'));
  t.is(await host.run('cat', '/run/flannel/subnet.env'), env);
  await comesBackFromWhatNobodyAskedFor(t, host);
  await host.run('systemctl', 'stop', 'tartan');
  t.is(await host.show('tartan', 'Result'), 'success');
  t.regex(await host.run('ip', 'address', 'show', 'dev', 'flannel.1'), new RegExp(`${subnet}\\.0/32`));
  await staysDownUntilStarted(t, host);
  await carriesPacketsItself(t, host);
  t.regex(await host.run('tartan', 'down', '--release'), /released the lease/);
  t.is(await host.run('sh', '-c', 'etcdctl get --prefix /coreos.com/network/subnets/ --keys-only'), '');
});

test('systemd-networkd leaves the overlay device alone, also beside a catch-all', async (t) => {
  if (isLacking(t, bootLack())) return;
  const host = hostToBoot(t);
  host.write('/etc/systemd/network/10-every.network', EVERY_DEVICE);
  host.copy(inRepository('deploy/05-tartan.network'), '/etc/systemd/network/05-tartan.network');
  host.copy(inRepository('deploy/networkd.conf.d/tartan.conf'), '/etc/systemd/networkd.conf.d/tartan.conf');
  await host.boot(['systemd-networkd.service']);
  await host.run('ip', 'link', 'add', 'flannel.1', 'type', 'vxlan', 'id', '1', 'dstport', '8472');
  await host.run('ip', 'link', 'add', 'other0', 'type', 'veth', 'peer', 'other1');
  for (const device of ['flannel.1', 'other0', 'other1']) await host.run('ip', 'link', 'set', device, 'up');
  const addresses = (device: string) => host.run('ip', '-4', '-o', 'address', 'show', 'dev', device);
  await host.until(async () => (await addresses('other0')).includes('192.0.2.1/24'));
  t.is(await addresses('flannel.1'), '');
  t.regex(await host.run('networkctl', 'list', '--no-legend', 'flannel.1'), / unmanaged$/);
});
