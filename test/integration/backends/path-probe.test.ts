import test from 'ava';
import { eventually } from '../../support/eventually.ts';
import { needs } from '../../support/require.ts';
import { PathProbeScene } from './path-probe-scene.ts';

for (const family of [4, 6] as const) {
  test(`a kernel's VXLAN device answers: round trip, no loss, path MTU, IPv${family}`, async (t) => {
    if (!needs(t, 'namespaces', 'ip')) return;
    const scene = await PathProbeScene.create(t, family);
    const prober = scene.ask({ speed: 1 });
    const result = await prober.sees(
      'two',
      'all is known',
      (one) => one.pathMtuBytes !== undefined && one.roundTripMs !== undefined,
    );
    t.is(result.state, 'answering');
    t.is(result.pathMtuBytes, 1_500);
    t.false(result.isSmaller);
    t.is(result.lost, 0);
    t.is(result.refused, undefined);
    t.true((result.roundTripMs ?? 0) > 0 && (result.smoothedMs ?? 0) > 0);
    t.is(prober.state()?.problem, undefined);
    t.deepEqual(prober.logged, []);
  });

  test(`a link in between that carries less is found to the byte, and so is the day it is mended, IPv${family}`, async (t) => {
    if (!needs(t, 'namespaces', 'ip')) return;
    const scene = await PathProbeScene.create(t, family);
    const port = scene.peerHost.port;
    await scene.lab.switch.configure(`link set ${port} mtu 1400`);
    const prober = scene.ask();
    const found = await prober.sees('two', 'the path MTU is known', ({ pathMtuBytes }) => pathMtuBytes !== undefined);
    t.is(found.pathMtuBytes, 1_400);
    t.true(found.isSmaller);
    t.is(found.state, 'answering');
    t.is(prober.logged.length, 1, prober.logged.join('\n'));
    await scene.lab.switch.configure(`link set ${port} mtu 1500`);
    await prober.sees('two', 'it is full again', ({ pathMtuBytes }) => pathMtuBytes === 1_500);
  });

  test(`a peer that drops ICMP is silent, never more than that, until it answers, IPv${family}`, async (t) => {
    if (!needs(t, 'namespaces', 'ip', 'nft')) return;
    const scene = await PathProbeScene.create(t, family);
    const drop = `table inet quiet { chain in { type filter hook input priority 0; ${family === 4 ? 'icmp type echo-request' : 'icmpv6 type echo-request'} drop; }; }`;
    await scene.peerHost.run('nft', ['-f', '-'], { input: drop });
    const prober = scene.ask();
    const silent = await prober.sees('two', 'it is silent', ({ state }) => state === 'silent');
    t.is(silent.since, undefined, 'ever since it is asked');
    t.is(silent.heard, undefined);
    t.is(silent.pathMtuBytes, undefined);
    await scene.peerHost.run('nft', ['delete', 'table', 'inet', 'quiet']);
    await prober.sees('two', 'it answers', ({ state }) => state === 'answering');
    await scene.peerHost.run('nft', ['-f', '-'], { input: drop });
    const again = await prober.sees('two', 'it is silent again', ({ state }) => state === 'silent');
    t.true((again.since ?? 0) > (again.heard ?? Number.POSITIVE_INFINITY));
  });
}

test('a router that says what it carries is heard by nobody but the probe, and containers lose nothing', async (t) => {
  if (!needs(t, 'namespaces', 'ip', 'ping')) return;
  const scene = await PathProbeScene.routed(t, 1_380);
  const vtep = scene.peer.address;
  const large = ['-n', '-c', '1', '-W', '2', '-M', 'dont', '-s', '1422', vtep];
  t.is((await scene.host.exec('ping', large)).status, 0, 'VXLAN packets may be fragmented');
  const prober = scene.ask();
  const found = await prober.sees('two', 'the path MTU is known', ({ pathMtuBytes }) => pathMtuBytes !== undefined);
  t.is(found.pathMtuBytes, 1_380);
  t.is((await scene.host.exec('ping', large)).status, 0, 'and are, as before');
});

test("this host's own interface that carries less is known at once", async (t) => {
  if (!needs(t, 'namespaces', 'ip')) return;
  const scene = await PathProbeScene.create(t);
  await scene.host.configure('link set eth0 mtu 1300');
  const prober = scene.ask();
  const found = await prober.sees('two', 'the path MTU is known', ({ pathMtuBytes }) => pathMtuBytes !== undefined);
  t.is(found.pathMtuBytes, 1_300);
  t.is(found.lost, 0);
});

test('a path that drops large packets which may not be fragmented: so much is said, and the peer answers', async (t) => {
  if (!needs(t, 'namespaces', 'ip', 'nft')) return;
  const scene = await PathProbeScene.create(t);
  const drop = (what: string): string =>
    `table bridge narrow { chain through { type filter hook forward priority 0; ${what} drop; }; }`;
  await scene.lab.switch.run('nft', ['-f', '-'], { input: drop('ip frag-off & 0x4000 != 0 ip length > 1250') });
  const prober = scene.ask();
  const found = await prober.sees('two', 'the path MTU is known', ({ pathMtuBytes }) => pathMtuBytes !== undefined);
  t.is(found.pathMtuBytes, 1_250);
  t.is(found.lost, 0);
});

test('a path that drops all packets which may not be fragmented: a plain ping still tells that the peer is there', async (t) => {
  if (!needs(t, 'namespaces', 'ip', 'nft')) return;
  const scene = await PathProbeScene.create(t);
  const drop =
    'table bridge narrow { chain through { type filter hook forward priority 0; ip frag-off & 0x4000 != 0 drop; }; }';
  await scene.lab.switch.run('nft', ['-f', '-'], { input: drop });
  const prober = scene.ask();
  const heard = await prober.sees('two', 'it is asked for a while', ({ asked }) => asked >= 6);
  t.is(heard.state, 'answering');
  t.is(heard.lost, heard.asked);
  t.is(heard.pathMtuBytes, undefined);
});

test("a host that drops answers to questions that its connection tracking has not seen, as firewalld's rules do", async (t) => {
  if (!needs(t, 'namespaces', 'ip', 'nft')) return;
  const scene = await PathProbeScene.create(t);
  const drop = 'table inet wall { chain in { type filter hook input priority 0; ct state invalid drop; }; }';
  await scene.host.run('nft', ['-f', '-'], { input: drop });
  await scene.host.run('sh', ['-c', 'echo 1 >/proc/sys/net/netfilter/nf_conntrack_icmp_timeout']);
  const prober = scene.ask({ intervalSeconds: 15 });
  await eventually('it notices', () => prober.logged.length > 0, {
    timeoutMs: 60_000,
    context: () => prober.process.tail(),
  });
  const found = await prober.sees(
    'two',
    'nothing is lost since',
    ({ asked, lost, pathMtuBytes }) => asked >= 3 && lost === 0 && pathMtuBytes !== undefined,
  );
  t.is(found.pathMtuBytes, 1_500);
  t.is(prober.logged.length, 1);
});

test('without CAP_NET_RAW nobody is asked, and why is said', async (t) => {
  if (!needs(t, 'namespaces', 'ip')) return;
  const scene = await PathProbeScene.create(t);
  const prober = scene.ask({ wrapper: ['setpriv', '--bounding-set', '-net_raw', '--'] });
  await eventually('it says why', () => prober.state()?.problem === 'a raw ICMP socket needs CAP_NET_RAW');
  t.is(prober.logged.length, 1);
  t.true(prober.process.running);
});

test("with a user-space VTEP small packets go by that one's socket, large ones still may not be fragmented", async (t) => {
  if (!needs(t, 'namespaces', 'ip')) return;
  const scene = await PathProbeScene.create(t);
  await scene.lab.switch.configure(`link set ${scene.peerHost.port} mtu 1400`);
  const prober = scene.ask({ bySocket: true });
  const found = await prober.sees('two', 'the path MTU is known', ({ pathMtuBytes }) => pathMtuBytes !== undefined);
  t.is(found.pathMtuBytes, 1_400);
  t.is(found.lost, 0);
});
