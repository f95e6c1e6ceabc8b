/** `tartan down`: nothing of ours is left, whatever else is going on. */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import type { Status } from '../../../agent/status.ts';
import { difference } from '../../support/difference.ts';
import { eventually } from '../../support/eventually.ts';
import type { Host } from '../../support/host.ts';
import { rulesOf } from '../../support/packet-filters.ts';
import type { LabProcess } from '../../support/process.ts';
import { missing, needs } from '../../support/require.ts';
import { kernelDump, type Scene, scenesOn, VXLAN } from './scene.ts';

const scenes = scenesOn({ ipv6: true });
const FLANNELDS = readFileSync('test/golden/firewall/flanneld-iptables-nft.txt', 'utf8');

/** What is below /etc and /var/lib lies in /run/.lab; the kernel's own bookkeeping of that beside it is left out. */
const FILES = `find /run /var/lib/tartan -path '/run/.lab/*/work' -prune -o -printf '%y %m %p ' \\( -type f -exec md5sum {} \\; -o -printf '\\n' \\) 2>/dev/null | sort`;
const SYSCTLS = 'cd /proc/sys/net && grep -rs . ipv4 ipv6 | sort';

/** The host as it is, in lines: all that tartan could have changed. */
async function picture(host: Host): Promise<readonly string[]> {
  const texts = {
    ...(await kernelDump(host)),
    ...(missing('iptables', 'nft').length === 0 ? await rulesOf(host) : {}),
    rules: await host.run('ip', ['rule']),
    rules6: await host.run('ip', ['-6', 'rule']),
    files: await host.run('sh', ['-c', FILES]),
    sysctls: await host.run('sh', ['-c', SYSCTLS]),
  };
  const lines = Object.entries(texts).flatMap(([what, text]) =>
    text.split('\n').map((line) => `${what}: ${line.trim()}`),
  );
  // It has the pid of whoever held it last.
  return lines.filter((line) => !/\/lock [0-9a-f]{32} /.test(line));
}

/** What is no longer as it was: lines that went, and lines that came. */
async function changed(host: Host, before: readonly string[]): Promise<readonly string[]> {
  return difference(before, await picture(host));
}

/** Somebody else's things, to be left alone, and forwarding switched off. */
async function furnish(host: Host): Promise<readonly string[]> {
  await host.configure(
    'link add wire7 type veth peer name end7',
    'link set end7 up',
    'link set wire7 up',
    'addr add 172.30.0.1/24 dev wire7',
    'route add 172.31.0.0/24 via 172.30.0.9',
    'route add 10.5.0.0/24 via 172.30.0.9 proto static',
    'neigh add 172.30.0.9 lladdr 4e:00:00:00:00:07 dev wire7 nud permanent',
    'nexthop add id 7 via 172.30.0.9 dev wire7',
  );
  await eventually('the wire is up', async () => !/LOWERLAYERDOWN|NO-CARRIER/.test(await host.run('ip', ['link'])));
  // A host that forwards on one wire only, and takes no redirects: switching forwarding on and off would lose both.
  const sysctls = ['all/forwarding', 'all/accept_redirects', 'wire7/forwarding'].map((name) => `net/ipv4/conf/${name}`);
  const values = ['0', '0', '1'];
  await host.run('sh', ['-c', sysctls.map((name, i) => `echo ${values[i]} >/proc/sys/${name}`).join('; ')]);
  return await picture(host);
}

interface Stage {
  readonly scene: Scene;
  readonly host: Host;
  readonly agent: LabProcess;
  /** How the host was before. */
  readonly before: readonly string[];
}

/** Two hosts in step, and how the first was before. */
async function inStep(scene: Scene, flags: readonly string[] = []): Promise<Stage> {
  const [host, peer] = [scene.host(1), scene.host(2)];
  const before = await furnish(host);
  const agent = await scene.ready(host, flags);
  await scene.ready(peer);
  await scene.status(host, agent, ({ peers, inStep }) => inStep && peers.length === 1);
  return { scene, host, agent, before };
}

const NETWORK = '"Network":"10.5.0.0/16"';
const DUAL = `${NETWORK},"EnableIPv6":true,"IPv6Network":"fd00:5::/48"`;
const BACKENDS: Readonly<Record<string, string>> = {
  vxlan: VXLAN,
  udp: `{${NETWORK}}`,
  'vxlan in user space, dual stack': `{${DUAL},"Backend":{"Type":"vxlan","Mode":"user"}}`,
  'host-gw': `{${NETWORK},"Backend":{"Type":"host-gw"}}`,
  'vxlan, dual stack': `{${DUAL},"Backend":{"Type":"vxlan"}}`,
  'host-gw, dual stack': `{${DUAL},"Backend":{"Type":"host-gw"}}`,
  'DirectRouting, dual stack': `{${DUAL},"Backend":{"Type":"vxlan","DirectRouting":true}}`,
};

for (const [name, config] of Object.entries(BACKENDS)) {
  test(`--purge, ${name}: the host is as it was before, and a second time there is nothing to do`, async (t) => {
    const scene = await scenes(t, { hosts: 2, config });
    if (!scene) return;
    const { host, before } = await inStep(scene);
    const { status, stdout, stderr } = await scene.run(host, ['down', '--purge']);
    t.is(status, 0, stderr);
    t.regex(stdout, /removed \d+ kernel objects/);
    t.regex(stdout, /set net\.ipv4\.ip_forward back to 0/);
    t.deepEqual(await changed(host, before), []);
    const again = await scene.run(host, ['down', '--purge']);
    t.is(again.status, 0);
    t.deepEqual(await changed(host, before), []);
  });
}

test('--purge after kill -9, with etcd away', async (t) => {
  const scene = await scenes(t, { hosts: 2 });
  if (!scene) return;
  const { host, agent, before } = await inStep(scene);
  await agent.kill();
  scene.lab.etcd.freeze();
  t.teardown(() => scene.lab.etcd.thaw());
  const { status, stdout, stderr } = await scene.run(host, ['down', '--purge']);
  t.is(status, 0, stderr);
  t.regex(stdout, /etcd does not tell who holds /);
  t.deepEqual(await changed(host, before), []);
});

test('--purge while the agent runs from memory, with etcd away', async (t) => {
  const scene = await scenes(t, { hosts: 2 });
  if (!scene) return;
  const { host, agent, before } = await inStep(scene);
  t.is((await agent.stop()).status, 0);
  scene.lab.etcd.freeze();
  t.teardown(() => scene.lab.etcd.thaw());
  const again = scene.start(host);
  const runs = ({ fromMemory, peers }: Status): boolean => fromMemory !== undefined && peers.length === 1;
  await scene.status(host, again, runs, 'runs from memory');
  const { status, stdout, stderr } = await scene.run(host, ['down', '--purge']);
  t.is(status, 0, stderr);
  t.regex(stdout, new RegExp(`stopped the agent \\(pid ${again.pid}\\)`));
  t.regex(stdout, /etcd does not tell who holds /);
  t.is((await again.exited).status, 0);
  t.deepEqual(await changed(host, before), []);
});

test('--purge after another config and other files: what each run made goes', async (t) => {
  const scene = await scenes(t, { hosts: 2 });
  if (!scene) return;
  const { host, agent, before } = await inStep(scene, ['--docker-opts-file=/run/other/place/docker']);
  await agent.kill();
  await scene.configure('{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan","VNI":7}}');
  const second = scene.start(host, ['--subnet-file=/run/third/place/net.env']);
  await second.until(/ ready /);
  await second.kill();
  await (await scene.ready(host)).kill();
  const { status, stderr } = await scene.run(host, ['down', '--purge']);
  t.is(status, 0, stderr);
  t.deepEqual(await changed(host, before), []);
});

test('--purge, cut short by kill -9 at any time and done again', async (t) => {
  const scene = await scenes(t, { hosts: 2 });
  if (!scene) return;
  const { host, before } = await inStep(scene);
  for (const afterMs of [200, 300, 350, 400, 450, 500, 600]) {
    const cut = scene.spawn(host, ['down', '--purge']);
    await sleep(afterMs);
    await cut.kill();
  }
  const { status, stderr } = await scene.run(host, ['down', '--purge']);
  t.is(status, 0, stderr);
  t.deepEqual(await changed(host, before), []);
});

test('--purge of what an agent left that was killed on its way up, at any time', async (t) => {
  const scene = await scenes(t);
  if (!scene) return;
  const host = scene.host(1);
  const before = await furnish(host);
  for (const afterMs of [250, 350, 450, 550, 650, 800]) {
    const agent = scene.start(host);
    await sleep(afterMs);
    await agent.kill();
    const { status, stderr } = await scene.run(host, ['down', '--purge']);
    t.is(status, 0, stderr);
    t.deepEqual(await changed(host, before), [], `${afterMs} ms`);
  }
});

test('with the agent running: it is stopped, the lease and the identity stay, and the host gets its subnet back', async (t) => {
  const scene = await scenes(t, { hosts: 2 });
  if (!scene) return;
  const { host, agent } = await inStep(scene);
  const lease = await scene.lease(host.ip);
  const { status, stdout, stderr } = await scene.run(host, ['down']);
  t.is(status, 0, stderr);
  t.regex(stdout, new RegExp(`stopped the agent \\(pid ${agent.pid}\\)`));
  t.regex(
    stdout,
    /removed \d+ kernel objects[\s\S]*removed \/run\/flannel\/subnet\.env[\s\S]*removed \/run\/flannel\/docker/,
  );
  t.regex(stdout, /lease of 10\.5\.\d+\.0\/24 stays/);
  t.is((await agent.exited).status, 0);
  t.deepEqual(await scene.lease(host.ip), lease);
  const down = await picture(host);
  const again = await scene.run(host, ['down']);
  t.is(again.status, 0);
  t.regex(again.stdout, /nothing of ours/);
  t.deepEqual(await changed(host, down), []);
  // And up again, as if nothing had been.
  await scene.ready(host);
  t.is((await scene.lease(host.ip)).key, lease.key);
});

test('an agent that hangs is killed, and all is as before', async (t) => {
  const scene = await scenes(t, { hosts: 2 });
  if (!scene) return;
  const { host, agent, before } = await inStep(scene);
  agent.signal('SIGSTOP');
  const { status, stdout, stderr } = await scene.run(host, ['down', '--purge']);
  t.is(status, 0, stderr);
  t.regex(stdout, /killed, as it did not end within 10 s, the agent/);
  t.is((await agent.exited).signal, 'SIGKILL');
  t.deepEqual(await changed(host, before), []);
});

test('--release with etcd away: the rest is done, and it can be said again when etcd is back', async (t) => {
  const scene = await scenes(t, { hosts: 2 });
  if (!scene) return;
  const { host, before } = await inStep(scene);
  scene.lab.etcd.freeze();
  t.teardown(() => scene.lab.etcd.thaw());
  const { status, stdout, stderr } = await scene.run(host, ['down', '--release', '--purge']);
  t.is(status, 6);
  t.regex(stderr, /etcd at .* did not answer/);
  t.regex(stdout, /left \/var\/lib\/tartan.*needed to do the rest/);
  scene.lab.etcd.thaw();
  const again = await scene.run(host, ['down', '--release', '--purge']);
  t.is(again.status, 0, again.stderr);
  t.regex(again.stdout, /released the lease of 10\.5\.\d+\.0\/24/);
  t.deepEqual(await changed(host, before), []);
});

test('--release gives the lease back, with what stands beside it; twice is no failure', async (t) => {
  const scene = await scenes(t, { hosts: 2 });
  if (!scene) return;
  const { host } = await inStep(scene);
  const { status, stdout, stderr } = await scene.run(host, ['down', '--release']);
  t.is(status, 0, stderr);
  t.regex(stdout, /released the lease of 10\.5\.\d+\.0\/24/);
  t.is((await scene.leases()).length, 1);
  const side = await scene.lab.etcd.list(`${scene.prefix}/tartan/`);
  t.deepEqual(
    side.filter(({ value }) => value.includes(`"name":"${host.name}"`)),
    [],
  );
  const again = await scene.run(host, ['down', '--release']);
  t.is(again.status, 0);
  t.regex(again.stdout, /holds no lease/);
});

test('forwarding that somebody else has set meanwhile is theirs, and what was on before stays on', async (t) => {
  const scene = await scenes(t);
  if (!scene) return;
  const host = scene.host(1);
  const write = (value: string): Promise<string> =>
    host.run('sh', ['-c', `echo ${value} >/proc/sys/net/ipv4/ip_forward`]);
  const read = (): Promise<string> => host.run('cat', ['/proc/sys/net/ipv4/ip_forward']);
  await write('1');
  await (await scene.ready(host)).kill();
  const { stdout } = await scene.run(host, ['down', '--purge']);
  t.notRegex(stdout, /ip_forward/);
  t.is(await read(), '1\n');
  await write('0');
  await (await scene.ready(host)).kill();
  // A second start finds it on, and knows better.
  await (await scene.ready(host)).kill();
  await write('2');
  t.regex((await scene.run(host, ['down'])).stdout, /left net\.ipv4\.ip_forward at 2/);
  t.is(await read(), '2\n');
});

test('where no agent ever ran nothing is done, and no directory made', async (t) => {
  const scene = await scenes(t);
  if (!scene) return;
  const host = scene.host(1);
  await host.run('sh', ['-c', 'mkdir -p /run/flannel; echo FLANNEL_MTU=1450 >/run/flannel/subnet.env']);
  const before = await picture(host);
  const { status, stdout } = await scene.run(host, ['down', '--purge']);
  t.is(status, 0);
  t.regex(stdout, /no state directory/);
  t.deepEqual(await changed(host, before), []);
});

test("a state directory that is gone: what bears tartan's mark goes all the same, a flanneld's device only if forced", async (t) => {
  const scene = await scenes(t, { hosts: 2 });
  if (!scene) return;
  const { host, agent, before } = await inStep(scene);
  await agent.kill();
  const lease = await scene.lease(host.ip);
  await host.run('rm', ['-r', '/var/lib/tartan', '/run/flannel/docker', '/run/flannel/subnet.sock']);
  const { status, stdout, stderr } = await scene.run(host, ['down', '--release', '--purge']);
  t.is(status, 0, stderr);
  t.regex(stdout, /there is no .*going by what the kernel and the subnet file show/);
  t.false((await scene.leases()).some(({ key }) => key === lease.key));
  // What forwarding was is not known any more, nor who made /run/flannel.
  await host.run('rmdir', ['/run/flannel']);
  await host.run('sh', [
    '-c',
    `echo 0 >/proc/sys/net/ipv4/ip_forward; echo 0 >/proc/sys/net/ipv4/conf/all/accept_redirects; echo 1 >/proc/sys/net/ipv4/conf/wire7/forwarding`,
  ]);
  t.deepEqual(await changed(host, before), []);
  await host.configure(
    'link add flannel.1 type vxlan id 1 local 192.168.77.1 dev eth0 dstport 8472',
    'addr add 10.5.9.0/32 dev flannel.1',
  );
  await host.run('sh', [
    '-c',
    'mkdir -p /run/flannel; printf "FLANNEL_NETWORK=10.5.0.0/16\\nFLANNEL_SUBNET=10.5.9.1/24\\n" >/run/flannel/subnet.env',
  ]);
  t.regex((await scene.run(host, ['down'])).stdout, /flannel\.1 may be a flanneld's/);
  t.true((await host.run('ip', ['link'])).includes('flannel.1'));
  t.is((await scene.run(host, ['down', '--force'])).status, 0);
  t.false((await host.run('ip', ['link'])).includes('flannel.1'));
});

test('no state directory, and nothing of ours in the kernel: what an agent left in packet filters goes if forced', async (t) => {
  if (!needs(t, 'iptables')) return;
  const scene = await scenes(t, { config: '{"Network":"10.5.0.0/16","Backend":{"Type":"host-gw"}}' });
  if (!scene) return;
  const host = scene.host(1);
  const before = await rulesOf(host);
  const agent = await scene.ready(host, ['--ip-masq']);
  await agent.kill();
  await host.run('rm', ['-r', '/var/lib/tartan']);
  t.regex((await scene.run(host, ['down'])).stdout, /rules of a packet filter.*tartan down --force/);
  const { status, stderr } = await scene.run(host, ['down', '--force']);
  t.is(status, 0, stderr);
  t.deepEqual(await rulesOf(host), before);
});

test("an agent that never came so far as to write rules: down leaves a flanneld's", async (t) => {
  if (!needs(t, 'iptables')) return;
  const scene = await scenes(t, { config: undefined });
  if (!scene) return;
  const host = scene.host(1);
  await host.run('sh', ['-c', `printf '%s' '${FLANNELDS}' | iptables-restore --noflush`]);
  const before = await rulesOf(host);
  const agent = scene.start(host);
  await scene.status(host, agent);
  const { status, stderr } = await scene.run(host, ['down', '--purge']);
  t.is(status, 0, stderr);
  t.deepEqual(await rulesOf(host), before);
});

for (const [what, damage] of [
  ['damaged', 'echo half >STATE'],
  ["somebody else's", 'echo {\\"version\\":9} >STATE'],
  ['unreadable', 'rm STATE; mkdir STATE'],
  ['set aside already', 'mv STATE STATE.damaged'],
] as const) {
  test(`a state file that is ${what}: told, and all goes that can be known`, async (t) => {
    const scene = await scenes(t, { hosts: 2 });
    if (!scene) return;
    const { host, agent } = await inStep(scene);
    await agent.kill();
    const state = `/var/lib/tartan${scene.prefix}/state.json`;
    await host.run('sh', ['-c', damage.replaceAll('STATE', state)]);
    const { status, stdout, stderr } = await scene.run(host, ['down', '--purge']);
    t.is(status, 0, stderr);
    t.regex(stdout, /going by what the kernel and the subnet file show[\s\S]*removed \/run\/flannel\/subnet\.env/);
    t.notRegex(await host.run('ip', ['-d', 'link']), /flannel/);
    t.is(await host.run('ip', ['route', 'show', 'proto', '84']), '');
    t.is((await host.exec('ls', ['/var/lib/tartan'])).status, 2);
  });
}

test('a lease that a flanneld on this host took over meanwhile: refused, and nothing touched, unless forced', async (t) => {
  const scene = await scenes(t);
  if (!scene) return;
  const host = scene.host(1);
  await (await scene.ready(host)).stop();
  const lease = await scene.lease(host.ip);
  const { Tartan: _, ...flannels } = JSON.parse(lease.value);
  await scene.lab.etcd.put(lease.key, JSON.stringify(flannels));
  const before = await picture(host);
  const { status, stderr } = await scene.run(host, ['down']);
  t.is(status, 8, stderr);
  t.deepEqual(await changed(host, before), []);
  const forced = await scene.run(host, ['down', '--force']);
  t.is(forced.status, 0, forced.stderr);
  t.notDeepEqual(await changed(host, before), []);
});

test('an agent in a container, whose pid is another one there, is found by its lock', async (t) => {
  const scene = await scenes(t);
  if (!scene) return;
  const host = scene.host(1);
  const agent = await scene.ready(host);
  const bystander = host.spawn('sleep', ['60']);
  await host.run('sh', ['-c', `echo ${bystander.pid} >/var/lib/tartan${scene.prefix}/lock`]);
  // Seen from inside of a container no pid is of use.
  const inside = await scene.run(host, ['down'], {}, ['unshare', '--pid', '--fork', '--mount-proc']);
  t.is(inside.status, 11, inside.stderr);
  t.regex(inside.stderr, /container/);
  t.true((await scene.status(host, agent)).ready);
  const { status, stdout } = await scene.run(host, ['down']);
  t.is(status, 0);
  t.regex(stdout, new RegExp(`stopped the agent \\(pid ${agent.pid}\\)`));
  t.true(bystander.running);
});

test('files that an agent of another prefix publishes by now are left to it', async (t) => {
  const scene = await scenes(t);
  if (!scene) return;
  const host = scene.host(1);
  await (await scene.ready(host)).kill();
  await scene.lab.etcd.put(`${scene.prefix}-b/config`, '{"Network":"10.6.0.0/16","Backend":{"Type":"vxlan","VNI":6}}');
  const agent = scene.start(host, [`--etcd-prefix=${scene.prefix}-b`]);
  await scene.isReady(host, agent);
  const { status, stdout } = await scene.run(host, ['down', '--purge']);
  t.is(status, 0);
  t.regex(stdout, /left \/run\/flannel\/subnet\.env, .*pid \d+ serves/);
  const links = await host.run('ip', ['-br', 'link']);
  t.false(links.includes('flannel.1 '));
  t.true(links.includes('flannel.6 '));
  t.true((await host.subnetEnv())?.subnet.startsWith('10.6.'));
  t.true((await scene.status(host, agent)).inStep);
});

test('what a crash left half written goes, by the next start or by down', async (t) => {
  const scene = await scenes(t);
  if (!scene) return;
  const host = scene.host(1);
  await (await scene.ready(host)).kill();
  const left = ['/run/flannel/.subnet.env.tartan-new', `/var/lib/tartan${scene.prefix}/.state.json.tartan-new`];
  const leave = (): Promise<string> => host.run('sh', ['-c', left.map((path) => `echo half >${path}`).join('; ')]);
  const isThere = async (): Promise<boolean> => (await host.exec('ls', left)).status === 0;
  await leave();
  t.true(await isThere());
  const agent = await scene.ready(host);
  await eventually('swept', async () => !(await isThere()));
  await agent.kill();
  await leave();
  t.is((await scene.run(host, ['down', '--purge'])).status, 0);
  t.is((await host.exec('ls', ['-d', ...left, '/run/flannel'])).stdout, '');
});
