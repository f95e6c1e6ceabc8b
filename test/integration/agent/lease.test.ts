/** Holding the lease: renewed silently, claimed again when it is gone, given up when it is another's. */
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import type { Status } from '../../../agent/status.ts';
import { eventually } from '../../support/eventually.ts';
import { vxlanLease } from '../../support/vxlan-lease.ts';
import { DOCKER_FILE, filesUnder, kernelDump, SUBNET_ENV, scenesOn } from './scene.ts';

const scenes = scenesOn();

test('a short lease lives on without a single PUT', async (t) => {
  const scene = await scenes(t);
  if (!scene) return;
  const host = scene.host(1);
  const agent = await scene.ready(host, ['--lease-ttl=6']);
  const before = await scene.lease(host.ip);
  await sleep(20_000);
  t.deepEqual(await scene.lease(host.ip), before);
  const { ready, lease } = await scene.status(host, agent);
  t.true(ready);
  t.is(lease?.renewalFailing, undefined);
});

test('the key deleted by hand: the same subnet is claimed again, and the kernel never changed', async (t) => {
  const scene = await scenes(t, { hosts: 2 });
  if (!scene) return;
  const [host, peer] = [scene.host(1), scene.host(2)];
  const agent = await scene.ready(host);
  const other = await scene.ready(peer);
  await scene.status(peer, other, ({ peers, inStep }) => inStep && peers.length === 1);
  await scene.status(host, agent, ({ peers, inStep }) => inStep && peers.length === 1);
  const before = await scene.lease(host.ip);
  const kernel = await kernelDump(host);
  await scene.lab.etcd.ctl(['del', before.key]);
  await scene.leaseIs(host.ip, 'there');
  const after = await scene.lease(host.ip);
  t.deepEqual([after.key, after.value], [before.key, before.value]);
  t.not(after.lease, '0');
  t.deepEqual(await kernelDump(host), kernel);
  t.true((await scene.status(host, agent)).ready);
  await scene.status(peer, other, ({ peers, inStep }) => inStep && peers.length === 1);
});

test('the etcd lease revoked: the same', async (t) => {
  const scene = await scenes(t);
  if (!scene) return;
  const host = scene.host(1);
  await scene.ready(host);
  const before = await scene.lease(host.ip);
  await scene.lab.etcd.ctl(['lease', 'revoke', before.lease]);
  await scene.leaseIs(host.ip, 'there');
  const after = await scene.lease(host.ip);
  t.is(after.key, before.key);
  t.not(after.lease, before.lease);
});

test('our value overwritten with nonsense: put again', async (t) => {
  const scene = await scenes(t);
  if (!scene) return;
  const host = scene.host(1);
  const agent = await scene.ready(host);
  const { key, value } = await scene.lease(host.ip);
  await scene.lab.etcd.put(key, '{"PublicIP":');
  await scene.leaseIs(host.ip, 'there');
  t.is((await scene.lease(host.ip)).value, value);
  t.true((await scene.status(host, agent)).ready);
});

test("another tartan's owner at our key: withdrawn, its own exit status, and the next start gets another subnet", async (t) => {
  const scene = await scenes(t, { hosts: 2 });
  if (!scene) return;
  const [host, peer] = [scene.host(1), scene.host(2)];
  const kernel = await kernelDump(host);
  const agent = await scene.ready(host);
  await scene.ready(peer);
  await scene.status(host, agent, ({ peers, inStep }) => inStep && peers.length === 1);
  const { key, value } = await scene.lease(host.ip);
  const foreign = value
    .replace(host.ip, '192.168.77.250')
    .replace(/"Tartan":.*/, '"Tartan":{"node":"other","name":"other","claim":"ffffffffffffffffffffffffffffffff"}}')
    .replace(/"VtepMAC":"[^"]*"/, '"VtepMAC":"4e:00:00:00:00:01"');
  await scene.takeKey(key, foreign);
  t.is((await agent.exited).status, 7);
  t.regex(agent.lines.join('\n'), /was taken by another host \(192\.168\.77\.250\)/);
  t.is((await scene.leases()).find((one) => one.key === key)?.value, foreign);
  t.is(await host.read(SUBNET_ENV), undefined);
  t.is(await host.read(DOCKER_FILE), undefined);
  t.deepEqual(await kernelDump(host), kernel);
  await scene.ready(host);
  t.not((await scene.lease(host.ip)).key, key);
});

test('a flanneld of this host at our key: handed over, nothing touched, its own exit status', async (t) => {
  const scene = await scenes(t);
  if (!scene) return;
  const host = scene.host(1);
  const forwarding = '/proc/sys/net/ipv4/ip_forward';
  await host.run('sh', ['-c', `echo 0 >${forwarding}`]);
  const agent = await scene.ready(host);
  await scene.status(host, agent, ({ inStep }) => inStep);
  const { key, value } = await scene.lease(host.ip);
  const mac = /"VtepMAC":"([^"]*)"/.exec(value)?.[1] ?? '';
  const kernel = await kernelDump(host);
  const files = (await filesUnder(host, '/run/flannel')).replace(/.*\.sock\n/, '');
  await scene.takeKey(key, vxlanLease(host.ip, mac));
  t.is((await agent.exited).status, 8);
  t.regex(agent.lines.join('\n'), /flanneld on this host/);
  t.deepEqual(await kernelDump(host), kernel);
  t.is((await filesUnder(host, '/run/flannel')).replace(/.*\.sock\n/, ''), files);
  t.is((await scene.lease(host.ip)).value, vxlanLease(host.ip, mac));
  // What is flanneld's now is none of ours to take down.
  const down = await scene.run(host, ['down']);
  t.is(down.status, 0, down.stderr);
  t.deepEqual(await kernelDump(host), kernel);
  t.is(await host.run('cat', [forwarding]), '1\n');
  // And taken back, as the next start would from any flanneld.
  await scene.ready(host);
  t.is((await scene.lease(host.ip)).key, key);
});

test('etcd away beyond the lease: forwarding stays, readiness goes, and all is well when it is back', async (t) => {
  const scene = await scenes(t);
  if (!scene) return;
  const host = scene.host(1);
  const agent = await scene.ready(host, ['--lease-ttl=6']);
  await scene.status(host, agent, ({ inStep }) => inStep);
  const before = await scene.lease(host.ip);
  const kernel = await kernelDump(host);
  await scene.lab.etcd.stop();
  const away = await scene.status(host, agent, ({ etcd }) => !etcd.connected);
  t.true(away.ready);
  t.regex(away.problems.join(), /etcd is away, the network stays as it is/);
  const late = await scene.status(host, agent, ({ ready }) => !ready, 'is not ready any more');
  t.regex(late.phase, /run out/);
  t.regex(late.problems.join(), /run out.*renewals of the lease have failed since/);
  t.deepEqual(await kernelDump(host), kernel);
  await scene.lab.etcd.start();
  const isWell = ({ ready, etcd, problems }: Status) => ready && etcd.connected && problems.length === 0;
  await scene.status(host, agent, isWell, 'has no problems any more');
  t.true(agent.lines.some((line) => /error .*run out unrenewed/.test(line)));
  await eventually('the lease is there again', async () => (await scene.lease(host.ip)).key === before.key);
  t.deepEqual(await kernelDump(host), kernel);
});
