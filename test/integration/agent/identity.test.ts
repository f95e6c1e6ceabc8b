/** Whose lease is it? Hosts that are reinstalled, renumbered, cloned, doubled. */
import { randomBytes } from 'node:crypto';
import test from 'ava';
import type { Host } from '../../support/host.ts';
import { type Scene, scenesOn } from './scene.ts';

const scenes = scenesOn();

const subnetIn = (key: string): string => /subnets\/([\d.]+)-/.exec(key)?.[1] ?? key;

async function forget(scene: Scene, host: Host): Promise<void> {
  await host.run('rm', ['-rf', `/var/lib/tartan${scene.prefix}`, '/run/flannel']);
}

async function machineIdOf(host: Host): Promise<string> {
  return ((await host.read('/etc/machine-id')) ?? '').trim();
}

test('the state is lost: the host is known by its machine-id, and back once nobody answers for it', async (t) => {
  const scene = await scenes(t);
  if (!scene) return;
  const host = scene.host(1);
  await (await scene.ready(host)).stop();
  const before = await scene.lease(host.ip);
  await forget(scene, host);
  const agent = await scene.ready(host);
  const after = await scene.lease(host.ip);
  t.is(after.key, before.key);
  t.is((await scene.leases()).length, 1);
  t.true(agent.lines.some((line) => /holding a lease .*by=ours-state-lost/.test(line)));
});

test('reinstalled, the machine-id new too: its own subnet back within 10 s', async (t) => {
  const scene = await scenes(t);
  if (!scene) return;
  const old = scene.host(1);
  await scene.ready(old);
  const before = await scene.lease(old.ip);
  await old.kill();
  scene.hosts.pop();
  const address = Number(old.ip.split('.')[3]);
  const host = await scene.addHost({ address, machineId: randomBytes(16).toString('hex') });
  const from = performance.now();
  await scene.ready(host);
  t.true(performance.now() - from < 10_000);
  t.is((await scene.lease(host.ip)).key, before.key);
  t.is((await scene.leases()).length, 1);
});

test('renumbered: the same subnet under the new address', async (t) => {
  const scene = await scenes(t, { hosts: 2 });
  if (!scene) return;
  const [host, peer] = [scene.host(1), scene.host(2)];
  const watcher = await scene.ready(peer);
  await (await scene.ready(host)).stop();
  const before = await scene.lease(host.ip);
  await host.configure(
    `addr del ${host.ip}/24 dev eth0`,
    'addr add 192.168.77.240/24 dev eth0',
    `route add default via ${scene.lab.gateway}`,
  );
  await scene.ready(host);
  t.is((await scene.lease('192.168.77.240')).key, before.key);
  t.is((await scene.leases()).length, 2);
  await scene.status(peer, watcher, ({ peers }) => peers.some(({ publicIp }) => publicIp === '192.168.77.240'));
});

test('a second host with the same address: refused and told who it is, while the first goes on', async (t) => {
  const scene = await scenes(t);
  if (!scene) return;
  const first = scene.host(1);
  const holder = await scene.ready(first);
  const before = await scene.lease(first.ip);
  const second = await scene.addHost();
  const twin = scene.start(second, [`--public-ip=${first.ip}`]);
  const { ready, problems } = await scene.status(second, twin, ({ phase }) => phase.startsWith('refused'));
  t.false(ready);
  t.regex(problems.join(), new RegExp(`live host ${first.name} .*${subnetIn(before.key)}`));
  t.deepEqual(await scene.lease(first.ip), before);
  t.true((await scene.status(first, holder)).ready);
  t.true(holder.lines.some((line) => line.includes('another host asked for our lease')));
});

test('the same node name: refused alike; and taken over when the first is dead though its lease lives', async (t) => {
  const scene = await scenes(t, { hosts: 2 });
  if (!scene) return;
  const [first, second] = [scene.host(1), scene.host(2)];
  const holder = await scene.ready(first, ['--node-name=n1']);
  const before = await scene.lease(first.ip);
  const refused = scene.start(second, ['--node-name=n1']);
  const { problems } = await scene.status(second, refused, ({ phase }) => phase.startsWith('refused'));
  t.regex(problems.join(), /live host n1 \(node n1\)/);
  await refused.stop();
  await holder.kill();
  await scene.ready(second, ['--node-name=n1']);
  t.is((await scene.lease(second.ip)).key, before.key);
  t.is((await scene.leases()).length, 1);
});

test('a clone, machine-id and state and all: refused while the original lives', async (t) => {
  const scene = await scenes(t);
  if (!scene) return;
  const original = scene.host(1);
  await (await scene.ready(original)).stop();
  const clone = await scene.addHost({ machineId: await machineIdOf(original) });
  const state = `/var/lib/tartan${scene.prefix}/state.json`;
  await clone.run('sh', ['-c', `mkdir -p $(dirname ${state}); cat >${state}`], {
    input: (await original.read(state)) ?? '',
  });
  await scene.ready(original);
  const before = await scene.leases();
  const agent = scene.start(clone);
  const { problems } = await scene.status(clone, agent, ({ phase }) => phase.startsWith('refused'));
  t.regex(problems.join(), new RegExp(`live host ${original.name}`));
  t.deepEqual(await scene.leases(), before);
});

test('two hosts with one address start in the same moment: exactly one lease, exactly one is ready', async (t) => {
  const scene = await scenes(t, { hosts: 2 });
  if (!scene) return;
  const agents = scene.hosts.map((host) => ({ host, agent: scene.start(host, ['--public-ip=203.0.113.7']) }));
  const settled = await Promise.all(
    agents.map(({ host, agent }) =>
      scene.status(host, agent, ({ ready, phase }) => ready || phase.startsWith('refused')),
    ),
  );
  t.deepEqual(settled.map(({ ready }) => ready).sort(), [false, true]);
  t.is((await scene.leases()).length, 1);
});

test('a public IP that the host does not have: advertised, and never a source address', async (t) => {
  const scene = await scenes(t);
  if (!scene) return;
  const host = scene.host(1);
  await scene.ready(host, ['--public-ip=203.0.113.9']);
  t.is((await scene.leases()).length, 1);
  await scene.lease('203.0.113.9');
  t.regex(
    await host.run('ip', ['-d', 'link', 'show', 'flannel.1']),
    new RegExp(`vxlan id 1 local ${host.ip} dev eth0`),
  );
});

test('a reservation for our address is adopted and stays one, over a restart too', async (t) => {
  const scene = await scenes(t);
  if (!scene) return;
  const host = scene.host(1);
  await scene.putLease('10.5.99.0-24', `{"PublicIP":"${host.ip}","PublicIPv6":null}`);
  for (const flags of [[], ['--lease-ttl=6']]) {
    const agent = await scene.ready(host, flags);
    const entry = await scene.lease(host.ip);
    t.is(subnetIn(entry.key), '10.5.99.0');
    t.is(entry.lease, '0');
    t.regex(entry.value, /"BackendType":"vxlan".*"Tartan"/);
    t.is((await scene.status(host, agent)).lease?.secondsLeft, null);
    await agent.stop();
  }
  t.is((await scene.leases()).length, 1);
});
