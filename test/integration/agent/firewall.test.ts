/** What a running agent makes of a host's packet filters, by what crosses and what does not. */
import test from 'ava';
import type { Status, StatusPeerFilter } from '../../../agent/status.ts';
import { eventually } from '../../support/eventually.ts';
import { forge, receiverIn } from '../../support/forgery.ts';
import type { Container, Host } from '../../support/host.ts';
import { rulesOf } from '../../support/packet-filters.ts';
import { PacketStream } from '../../support/packet-stream.ts';
import type { LabProcess } from '../../support/process.ts';
import { needs } from '../../support/require.ts';
import { type Scene, scenesOn, VXLAN } from './scene.ts';

const NFTABLES = '{"EnableNFTables":true,"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"}}';
const WIDER = '{"Network":"10.4.0.0/15","Backend":{"Type":"vxlan"}}';

const scenes = scenesOn();

interface Node {
  readonly host: Host;
  readonly agent: LabProcess;
  readonly container: Container;
}

function filterOf({ peerFilters }: Status): StatusPeerFilter | undefined {
  return peerFilters?.[0];
}

async function node(scene: Scene, number: number, flags: readonly string[] = []): Promise<Node> {
  const host = scene.host(number);
  const agent = await scene.ready(host, flags);
  const env = await host.subnetEnv();
  if (!env) throw new Error(`${host.name} has no subnet`);
  return { host, agent, container: await host.bridge(env) };
}

/** Who a server on that host sees when the container calls. */
async function seenBy(server: Host, container: Container): Promise<string> {
  const code = `require('node:net').createServer((s) => s.end(s.remoteAddress)).listen(8080, '0.0.0.0', () => console.log('up'))`;
  const listener = server.spawn(process.execPath, ['-e', code]);
  await listener.until(/^up$/);
  const call = `require('node:net').connect({ host: '${server.ip}', port: 8080, timeout: 2000 }, function () { this.pipe(process.stdout); })
    .on('timeout', () => process.exit(1))`;
  const { stdout } = await container.exec(process.execPath, ['-e', call]);
  await listener.kill();
  return stdout.trim().replace('::ffff:', '');
}

/** Docker's policy for what it did not ask for. */
async function dropForwarded(host: Host): Promise<void> {
  await host.run('iptables', ['-P', 'FORWARD', 'DROP']);
}

for (const [title, config] of [
  ['iptables', VXLAN],
  ['nftables', NFTABLES],
] as const) {
  test(`with --ip-masq containers leave the network by the host's address, ${title}; flushed rules are back; down takes all away`, async (t) => {
    if (!needs(t, 'iptables', 'nft')) return;
    const scene = await scenes(t, { hosts: 3, config });
    if (!scene) return;
    const outside = scene.host(3);
    const before = await rulesOf(scene.host(1));
    const one = await node(scene, 1, ['--ip-masq']);
    const two = await node(scene, 2);
    // The way back to a container that is not masqueraded.
    await outside.configure(`route add ${two.container.ip}/32 via ${two.host.ip}`);
    t.is(await seenBy(outside, one.container), one.host.ip);
    t.is(await seenBy(outside, two.container), two.container.ip);
    t.regex((await one.host.read('/run/flannel/subnet.env')) ?? '', /^FLANNEL_IPMASQ=true$/m);
    t.regex((await one.host.read('/run/flannel/docker')) ?? '', / --ip-masq=false /);
    t.is(await crosses(one.container, two.container), true);
    t.is(await seenBy(two.host, one.container), one.host.ip, 'a peer itself is outside the network');

    for (const flush of [
      ['iptables', '-F'],
      ['iptables', '-t', 'nat', '-F'],
      ['nft', 'flush', 'ruleset'],
    ] as const) {
      const [program, ...args] = flush;
      await one.host.run(program, args);
      await eventually(`masqueraded again after ${flush.join(' ')}`, async () => {
        return (await seenBy(outside, one.container)) === one.host.ip;
      });
    }
    const status = await scene.status(one.host, one.agent, ({ firewall }) => firewall?.inPlaceSince !== undefined);
    t.true((status.firewall?.repairs ?? 0) >= 2, JSON.stringify(status.firewall));

    await one.host.run('iptables', ['-N', 'SOMEBODYS']);
    const { status: code, stdout } = await scene.run(one.host, ['down']);
    t.is(code, 0, stdout);
    await one.host.run('iptables', ['-X', 'SOMEBODYS']);
    t.deepEqual(await rulesOf(one.host), before);
  });
}

/** With what tartan needs of it: the overlay's devices trusted, and so the wire. */
async function startFirewalld(host: Host): Promise<void> {
  await host.run('sh', ['-c', 'mkdir -p /run/dbus && dbus-daemon --system --fork']);
  host.spawn('firewalld', ['--nofork', '--nopid']);
  await eventually('firewalld runs', async () => (await host.exec('firewall-cmd', ['--state'])).status === 0);
  for (const dev of ['eth0', 'flannel.1', 'docker0']) {
    for (const lasting of [[], ['--permanent']])
      await host.run('firewall-cmd', [...lasting, '--zone=trusted', `--add-interface=${dev}`]);
  }
}

test('a reload of firewalld flushes all, and ours is back', async (t) => {
  if (!needs(t, 'iptables', 'nft', 'firewalld')) return;
  const scene = await scenes(t, { hosts: 3 });
  if (!scene) return;
  const [host, outside] = [scene.host(1), scene.host(3)];
  await startFirewalld(host);
  const [one, two] = [await node(scene, 1, ['--ip-masq']), await node(scene, 2)];
  t.true(await crosses(two.container, one.container));
  const rules = await iptablesRules(host);
  for (const how of ['--reload', '--complete-reload']) {
    await host.run('firewall-cmd', [how]);
    await eventually(`the rules are back after ${how}`, async () => (await iptablesRules(host)) === rules);
    t.is(await seenBy(outside, one.container), host.ip);
    t.true(await crosses(two.container, one.container));
  }
  const { firewall } = await scene.status(host, one.agent, (status) => status.firewall?.inPlaceSince !== undefined);
  t.true((firewall?.repairs ?? 0) >= 2, 'it did flush them');
});

async function iptablesRules(host: Host): Promise<string> {
  return (await host.run('iptables-save')).replaceAll(/^(#| *:).*$/gm, '');
}

async function crosses(from: Container, to: Container): Promise<boolean> {
  return await eventually(`${from.ip} reaches ${to.ip}`, async () => (await from.ping(to, { waitSeconds: 1 })).ok);
}

test('forwarded packets of the network pass where the policy is to drop, and a wider network is followed', async (t) => {
  if (!needs(t, 'iptables')) return;
  const scene = await scenes(t, { hosts: 2 });
  if (!scene) return;
  const [one, two] = [await node(scene, 1), await node(scene, 2)];
  await dropForwarded(one.host);
  await dropForwarded(two.host);
  t.true(await crosses(one.container, two.container));
  await scene.configure(WIDER);
  await eventually('the rules name the wider network', async () => {
    const rules = await one.host.run('iptables', ['-S', 'FLANNEL-FWD']);
    return rules.includes('-s 10.4.0.0/15') && !rules.includes('10.5.0.0/16');
  });
  t.true(await crosses(two.container, one.container));
});

test('without forward rules and masquerading nothing of flannel is made', async (t) => {
  if (!needs(t, 'iptables', 'nft')) return;
  const scene = await scenes(t);
  if (!scene) return;
  const flags = ['--iptables-forward-rules=false', '--docker-rules=off', '--peer-filter=off'];
  const before = await rulesOf(scene.host(1));
  await node(scene, 1, flags);
  t.deepEqual(await rulesOf(scene.host(1)), before);
});

test('who is in no lease gets nothing through, and is named; peers that come and go are never kept out', async (t) => {
  if (!needs(t, 'nft')) return;
  const scene = await scenes(t, { hosts: 4 });
  if (!scene) return;
  const [one, two] = [await node(scene, 1), await node(scene, 2)];
  const stream = await PacketStream.start(one.container, two.container);
  const isGuarded = await scene.status(one.host, one.agent, (status) => filterOf(status)?.effective === 'enforce');
  t.is(filterOf(isGuarded)?.addresses, 1);
  const receiver = await receiverIn(one.container);
  const target = { host: one.host, device: 'flannel.1', dest: one.container.ip };
  await forge(scene.host(3), target, { from: two.container.ip, count: 10, text: 'spoofed' });
  const judged = await scene.status(
    one.host,
    one.agent,
    (status) => filterOf(status)?.strangers.some(({ verdict }) => verdict === 'spoofing') ?? false,
    'names who pretends to be a peer',
  );
  t.like(filterOf(judged), { dropped: 10 });
  t.like(filterOf(judged)?.strangers[0], { source: scene.host(3).ip, inner: two.container.ip });
  const three = await node(scene, 3);
  t.true(await crosses(three.container, one.container), 'with a lease it is a peer');
  const fresh = await node(scene, 4);
  t.true(await crosses(fresh.container, one.container));
  t.deepEqual(
    receiver.lines.filter((line) => line === 'spoofed'),
    [],
  );
  const report = await stream.stop();
  t.is(report.lostCount, 0, report.lost.join('\n'));
  const text = await scene.run(one.host, ['status']);
  t.regex(text.stdout, /filter +flannel\.1 drops strangers, 3 addresses named, 10 packets dropped/);
  t.regex(text.stdout, new RegExp(`${scene.host(3).ip} .*no peer: another host has that subnet`));
});
