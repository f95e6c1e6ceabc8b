import test from 'ava';
import { PeerFilter } from '../../../backends/firewall/peer-filter.ts';
import type { Outcome } from '../../../backends/firewall/programs.ts';
import { silentLog } from '../../../config/log.ts';
import { eventually } from '../../support/eventually.ts';
import { PacketStream } from '../../support/packet-stream.ts';
import { realClock } from '../../support/real-clock.ts';
import { needs } from '../../support/require.ts';
import { PeerFilterScene, peerNamed } from './peer-filter-scene.ts';

for (const family of [4, 6] as const) {
  test(`who is in no lease gets everything through while it is reported, and nothing after, IPv${family}`, async (t) => {
    if (!needs(t, 'namespaces', 'ip', 'ping', 'nft')) return;
    const scene = await PeerFilterScene.create(t, family);
    const inner = family === 4 ? '10.5.2.2' : 'fd00:5:0:2::2';
    const stray = family === 4 ? '10.9.9.9' : 'fd00:9::9';
    const receiver = await scene.receiver();
    const received = (text: string): number => receiver.lines.filter((line) => line === text).length;
    const filter = scene.filter();
    filter.set({ mode: 'report' });
    filter.setPeers([scene.peer]);
    await filter.look();
    scene.run(filter);
    t.is(filter.state().effective, 'report');

    await scene.forge({ from: inner, count: 20, text: 'reported' });
    await eventually('everything arrives', () => received('reported') === 20);
    await scene.state('all is counted', filter, ({ packets }) => packets.reported >= 20);
    t.is(filter.state().packets.dropped, 0);

    filter.set({ mode: 'enforce' });
    await scene.state('it drops', filter, ({ effective }) => effective === 'enforce');
    await scene.forge({ from: inner, count: 20, text: 'spoofed' });
    await scene.forge({ from: stray, count: 20, text: 'stray' });
    const { strangers } = await scene.state(
      'both are judged',
      filter,
      (state) =>
        state.packets.dropped >= 40 && state.strangers.filter(({ verdict }) => verdict !== 'asked').length === 2,
    );
    t.is(received('spoofed') + received('stray'), 0);
    const byInner = new Map(strangers.map((one) => [one.inner as string, one]));
    t.is(byInner.get(inner)?.verdict, 'spoofing');
    t.is(byInner.get(inner)?.lease, 'two');
    t.is(byInner.get(stray)?.verdict, 'unknown');
    const to = family === 4 ? scene.container(1).ip : (scene.container(1).ip6 ?? '');
    t.true((await scene.container(2).ping(to)).ok, 'the peer itself is not affected');
    t.is(scene.logged.length, 2, scene.logged.join('\n'));

    filter.set({ mode: 'off' });
    await filter.look();
    t.is(await scene.host.run('nft', ['list', 'ruleset']), '');
  });
}

test("another overlay on the same port is other people's", async (t) => {
  if (!needs(t, 'namespaces', 'ip', 'ping', 'nft')) return;
  const scene = await PeerFilterScene.create(t);
  const [first, third] = [scene.lab.host(1), scene.lab.host(3)];
  for (const [host, other] of [
    [first, third],
    [third, first],
  ] as const) {
    await host.configure(
      `link add theirs type vxlan id 100 local ${host.ip} remote ${other.ip} dev eth0 dstport 8472`,
      'link set theirs up',
      `addr add 172.30.0.${host.number}/24 dev theirs`,
    );
  }
  const filter = await scene.enforcing();
  t.true((await third.ping('172.30.0.1')).ok);
  await scene.forge({ from: '10.5.2.2' });
  await filter.look();
  t.is(filter.state().packets.dropped, 1, 'the filter is there, and counts ours alone');
});

test('five thousand peers come and go: the set is right, and no packet of a live one is lost', async (t) => {
  if (!needs(t, 'namespaces', 'ip', 'ping', 'nft')) return;
  const scene = await PeerFilterScene.create(t);
  const filter = scene.filter();
  const crowd = Array.from({ length: 5_000 }, (_, i) => {
    const at = `${Math.floor(i / 250)}.${i % 250}`;
    return peerNamed(`crowd${i}`, `10.6.${at}/32`, `198.18.${at}`);
  });
  filter.set({ mode: 'enforce' });
  filter.setPeers([scene.peer]);
  await filter.look();
  scene.run(filter);
  const stream = await PacketStream.start(scene.container(2), scene.container(1));
  const half = crowd.slice(0, 2_500);
  for (const round of [1, 2, 3]) {
    filter.setPeers([scene.peer, ...crowd]);
    await eventually('all are in the set', async () => (await scene.elements('peers')).size === 5_001);
    filter.update(half.map(({ key }) => [key, undefined]));
    await eventually('half of them are gone', async () => (await scene.elements('peers')).size === 2_501);
    for (const peer of half) {
      filter.update([[peer.key, peer]]);
      filter.update([[`crowd${4_999 - half.indexOf(peer)}`, undefined]]);
    }
    await filter.look();
    const wanted = new Set(['192.168.77.12', ...half.flatMap(({ sources }) => sources)]);
    t.deepEqual(new Set(await scene.elements('peers')), wanted, `round ${round}`);
    filter.setPeers([scene.peer]);
  }
  await filter.look();
  t.deepEqual([...(await scene.elements('peers'))], ['192.168.77.12']);
  const { lost, sent } = await stream.stop();
  t.deepEqual(lost, []);
  t.true(sent > 0);
  t.is(filter.state().repairs, 0);
  t.is(filter.state().packets.dropped, 0);
});

test('a peer behind NAT is let through, named once, and no longer when it is heard by its own address', async (t) => {
  if (!needs(t, 'namespaces', 'ip', 'ping', 'nft')) return;
  const scene = await PeerFilterScene.create(t);
  const two = scene.lab.host(2);
  await two.configure('addr add 192.168.77.112/24 dev eth0');
  await two.run('nft', ['-f', '-'], {
    input:
      'table ip away { chain out { type nat hook postrouting priority 100; udp dport 8472 snat to 192.168.77.112; }; }',
  });
  const filter = await scene.enforcing();
  scene.run(filter);
  await eventually('the peer gets through', async () => (await scene.container(2).ping(scene.container(1).ip)).ok);
  const { strangers } = filter.state();
  t.deepEqual(
    strangers.map(({ source, lease, verdict }) => [source as string, lease, verdict]),
    [['192.168.77.112', 'two', 'tolerated']],
  );
  t.is(scene.logged.length, 1);
  await scene.state('it is counted', filter, ({ packets }) => packets.passed > 0);

  await scene.host.run('nft', ['flush', 'ruleset']);
  await scene.state('the table is back', filter, ({ repairs }) => repairs === 1);
  t.true((await scene.container(2).ping(scene.container(1).ip)).ok, 'and lets it through from the start');

  await scene.stop();
  const next = await scene.enforcing();
  t.is(next.state().strangers[0]?.verdict, 'tolerated', 'an agent that starts anew finds it in the kernel');
  scene.run(next);

  await two.run('nft', ['delete', 'table', 'ip', 'away']);
  await two.run('sh', ['-c', 'command -v conntrack >/dev/null && conntrack -F || true']);
  await two.configure(`addr del 192.168.77.112/24 dev eth0`);
  await eventually('it is no longer tolerated', async () => {
    await scene.container(2).ping(scene.container(1).ip);
    return (await scene.host.run('nft', ['list', 'set', ...scene.table, 'tolerated'])).includes('elements') === false;
  });
});

test('an agent that starts anew writes nothing but the guard; who is gone guards nothing', async (t) => {
  if (!needs(t, 'namespaces', 'ip', 'nft')) return;
  const scene = await PeerFilterScene.create(t);
  await scene.enforcing();
  t.is(scene.scripts.length, 1);

  const second = await scene.enforcing((script) => script.replaceAll('timeout 60s', 'timeout 2s'));
  t.is(scene.scripts.length, 2);
  t.regex(scene.scripts[1] ?? '', /^(?:(?:add|delete) element inet tartan-flannel\.1 guarded \{.*\}\n){3}$/);
  t.is(second.state().repairs, 0);

  const receiver = await scene.receiver();
  await eventually('the guard runs out', async () => {
    await scene.forge({ from: '10.5.2.2', text: 'unguarded' });
    return receiver.lines.includes('unguarded');
  });
});

test('however many inner sources somebody makes up, what is kept and told of it is bounded', async (t) => {
  if (!needs(t, 'namespaces', 'ip', 'nft')) return;
  const scene = await PeerFilterScene.create(t);
  const filter = await scene.enforcing();
  await scene.forge({ from: '10.9.0.0', count: 1_000, spread: true });
  await filter.look();
  const { packets, strangers, hasMoreStrangers } = filter.state();
  t.is(packets.dropped, 1_000);
  t.true(hasMoreStrangers);
  t.is(strangers.length, 1, 'they have one source');
  t.is(scene.logged.length, 1);
  await filter.look();
  t.false(filter.state().hasMoreStrangers, 'there is room for the next');
});

test('what others make of the table is put right', async (t) => {
  if (!needs(t, 'namespaces', 'ip', 'nft')) return;
  const scene = await PeerFilterScene.create(t);
  const filter = await scene.enforcing();
  const nft = (...args: readonly string[]): Promise<string> => scene.host.run('nft', args);
  const good = await nft('-s', 'list', 'ruleset');
  scene.run(filter);
  const acts = [
    ['flush', 'ruleset'],
    ['flush', 'set', ...scene.table, 'peers'],
    ['add', 'element', ...scene.table, 'peers', '{ 192.168.77.13 }'],
    ['flush', 'chain', ...scene.table, 'datagrams'],
  ];
  for (const [index, act] of acts.entries()) {
    await nft(...act);
    await scene.state(act.join(' '), filter, ({ repairs }) => repairs === index + 1);
    await filter.look();
    t.is(withoutTimes(await nft('-s', 'list', 'ruleset')), withoutTimes(good), act.join(' '));
  }
  await nft('flush', 'set', ...scene.table, 'guarded');
  await eventually('the port is guarded again', async () => (await scene.elements('guarded')).size >= 0);
  t.is(filter.problem(), undefined);
});

test('without nft, or where the kernel refuses, there is no filter, and that is said', async (t) => {
  const made = (run: () => Promise<Outcome | undefined>): PeerFilter =>
    new PeerFilter({
      programs: { run },
      clock: realClock,
      log: silentLog,
      device: 'flannel.1',
      family: 4,
      udpPort: 8472,
      vni: 1,
      resyncSeconds: 5,
      probe: () => undefined,
    });
  const without = made(async () => undefined);
  const refused = made(async () => ({
    ok: false,
    stdout: '',
    failure: 'nft: Error: Could not process rule',
  }));
  for (const [filter, why, isProblem] of [
    [without, /no nft.*install nftables/, false],
    [refused, /table inet tartan-flannel\.1: nft: Error: Could not process rule.*--peer-filter=off/, true],
  ] as const) {
    filter.set({ mode: 'enforce' });
    filter.setPeers([]);
    await filter.look();
    t.is(filter.state().effective, 'off');
    t.regex(filter.state().why ?? '', why);
    t.is(filter.problem(), isProblem ? filter.state().why : undefined);
  }
});

function withoutTimes(listing: string): string {
  return listing.replaceAll(/ expires \w+/g, '');
}
