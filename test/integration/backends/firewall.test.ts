/** Rules in real packet filters: iptables on nftables and on the old tables, and nft. */

import test, { type ExecutionContext } from 'ava';
import { clearFirewall } from '../../../backends/firewall/clear-firewall.ts';
import { Firewall } from '../../../backends/firewall/firewall.ts';
import type { FirewallWish } from '../../../backends/firewall/wish.ts';
import { silentLog } from '../../../config/log.ts';
import { eventually } from '../../support/eventually.ts';
import { FLANNELS } from '../../support/firewall-wishes.ts';
import type { Host } from '../../support/host.ts';
import { createLab } from '../../support/hosts.ts';
import {
  type IptablesKind,
  programsOn,
  RecordingPrograms,
  rulesOf,
  useIptables,
} from '../../support/packet-filters.ts';
import { realClock } from '../../support/real-clock.ts';
import { needs } from '../../support/require.ts';

const WISH: FirewallWish = {
  ...FLANNELS,
  docker: { devices: ['flannel.1', 'eth0'], mark: { value: 0x1000, mask: 0x1000 } },
};
const ALL_GONE = { devices: ['flannel.1'], networks: undefined };

async function hostOf(t: ExecutionContext, kind: IptablesKind = 'nft'): Promise<Host | undefined> {
  if (!needs(t, 'lab', 'nft', 'iptables')) return undefined;
  const lab = await createLab({ hosts: 1, etcd: false });
  t.teardown(() => lab.destroy());
  await useIptables(lab.host(1), kind);
  return lab.host(1);
}

interface Keeper {
  readonly firewall: Firewall;
  readonly programs: RecordingPrograms;
}

function keeperOn(host: Host): Keeper {
  const programs = new RecordingPrograms(programsOn(host));
  return { programs, firewall: new Firewall({ programs, clock: realClock, log: silentLog, resyncSeconds: 5 }) };
}

/** Looks once, and once more, when nothing may be left to be done. */
async function keeps(t: ExecutionContext, { firewall, programs }: Keeper, wish?: FirewallWish): Promise<void> {
  if (wish) firewall.set(wish);
  await firewall.look();
  t.is(firewall.problem(), undefined);
  programs.written.length = 0;
  await firewall.look();
  t.deepEqual(programs.written, [], 'what stands is what is wanted');
}

/** Runs the commands, each behind the name of the program. */
const lines = (host: Host, program: string, ...rules: readonly string[]): Promise<string> =>
  host.run('sh', ['-ec', rules.map((rule) => `${program} ${rule}`).join('\n')]);

/** What stands, with its order where that counts. */
const standing = (host: Host): Promise<unknown> => rulesOf(host);

for (const kind of ['nft', 'legacy'] as const) {
  test(`iptables-${kind}: whatever is done to the rules, the next look makes them right`, async (t) => {
    const host = await hostOf(t, kind);
    if (host === undefined) return;
    await keeps(t, keeperOn(host), WISH);
    const right = await standing(host);
    const jump = '-m comment --comment "flanneld masq" -j FLANNEL-POSTRTG';
    const way = '-s 10.5.0.0/16 -d 10.5.17.0/24 -i flannel.1 -m comment --comment "tartan docker" -j ACCEPT';
    const deeds: readonly (readonly string[])[] = [
      ['-F', '-t nat -F', '-t raw -F'],
      ['-t nat -F', '-t nat -X', '-F', '-X', '-t raw -F'],
      [`-t nat -A POSTROUTING ${jump}`, `-t nat -A POSTROUTING ${jump}`],
      ['-t nat -D FLANNEL-POSTRTG 1', '-t nat -A FLANNEL-POSTRTG -s 10.5.9.0/24 -j RETURN'],
      ['-t nat -D FLANNEL-POSTRTG 6', '-t nat -I FLANNEL-POSTRTG ! -s 10.5.0.0/16 -d 10.5.0.0/16 -j MASQUERADE'],
      ['-D FLANNEL-FWD 1', '-D DOCKER-USER 1', '-t raw -D PREROUTING 2'],
      [`-A DOCKER-USER ${way}`, `-t raw -A PREROUTING ${way}`],
    ];
    for (const deed of deeds) {
      await lines(host, 'iptables', ...deed);
      t.notDeepEqual(await standing(host), right, deed.join('; '));
      // A new one each time: so many repairs within a minute would be a fight.
      await keeps(t, keeperOn(host), WISH);
      t.deepEqual(await standing(host), right, deed.join('; '));
    }
  });

  test(`iptables-${kind}: what others have stays where it is, and is left alone when all of ours goes`, async (t) => {
    const host = await hostOf(t, kind);
    if (host === undefined) return;
    await lines(
      host,
      'iptables',
      '-N DOCKER-USER',
      '-A DOCKER-USER -s 192.0.2.7/32 -j DROP',
      '-A DOCKER-USER -j RETURN',
      '-A FORWARD -j DOCKER-USER',
      '-A FORWARD -m comment --comment "mine, not -j FLANNEL-FWD" -j LOG',
      '-t raw -A PREROUTING -d 10.5.17.2/32 ! -i docker0 -j DROP',
      '-t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE',
    );
    await host.run('nft', ['add', 'table', 'inet', 'firewalld']);
    const before = await standing(host);
    const keeper = keeperOn(host);
    await keeps(t, keeper, WISH);
    const listed = await host.run('iptables-save');
    const chain = (name: string): string[] =>
      Array.from(listed.matchAll(new RegExp(`^-A ${name} .*-j (\\S+)$`, 'gm')), ([, target = '']) => target);
    t.deepEqual(chain('DOCKER-USER'), ['DROP', 'ACCEPT', 'ACCEPT', 'RETURN']);
    t.deepEqual(chain('PREROUTING'), ['ACCEPT', 'ACCEPT', 'DROP']);
    t.deepEqual(chain('FORWARD'), ['DOCKER-USER', 'LOG', 'FLANNEL-FWD']);
    t.true((await clearFirewall({ programs: programsOn(host), ...ALL_GONE })).said.length > 0);
    t.deepEqual(await standing(host), before);
    t.deepEqual(await clearFirewall({ programs: programsOn(host), ...ALL_GONE }), { said: [], failed: [] });
  });

  test(`iptables-${kind}: from iptables to nftables and back, and masquerading that waits for Docker's`, async (t) => {
    const host = await hostOf(t, kind);
    if (host === undefined) return;
    const keeper = keeperOn(host);
    const wish = { ...WISH, docker: undefined };
    await keeps(t, keeper, wish);
    const asIptables = await rulesOf(host);
    t.is(asIptables.nft, '');
    await keeps(t, keeper, { ...wish, nftables: true });
    const asNftables = await rulesOf(host);
    t.deepEqual([asNftables.iptables, asNftables.ip6tables], ['', '']);
    t.true(asNftables.nft.includes('table ip6 flannel-ipv6'));
    await keeps(t, keeper, wish);
    t.deepEqual(await rulesOf(host), asIptables);

    await keeps(t, keeper, { ...wish, masquerade: false });
    t.true((await rulesOf(host)).iptables.includes('FLANNEL-POSTRTG'));
    await lines(host, 'iptables', '-t nat -A POSTROUTING -s 10.5.17.0/24 ! -o docker0 -j MASQUERADE');
    await keeps(t, keeper);
    t.false((await rulesOf(host)).iptables.includes('FLANNEL-POSTRTG'));
    t.true((await rulesOf(host)).ip6tables.includes('FLANNEL-POSTRTG'), 'Docker masquerades IPv4 alone here');
  });
}

test('rules that are flushed under a running agent are back, in every table', async (t) => {
  const host = await hostOf(t);
  if (host === undefined) return;
  const { firewall } = keeperOn(host);
  firewall.set({ ...WISH, nftables: true });
  await firewall.look();
  const right = await standing(host);
  const stop = new AbortController();
  const run = firewall.run(stop.signal).catch(() => undefined);
  await host.run('nft', ['flush', 'ruleset']);
  await eventually('all is back', async () => JSON.stringify(await standing(host)) === JSON.stringify(right));
  stop.abort(new Error('over'));
  await run;
  t.deepEqual(await standing(host), right);
  t.true(firewall.state().repairs > 0);
});

test('somebody who holds the lock of iptables is waited for', async (t) => {
  const host = await hostOf(t, 'legacy');
  if (host === undefined) return;
  const holder = host.spawn('flock', ['/run/xtables.lock', 'sh', '-c', 'echo held; sleep 1']);
  await holder.until(/^held$/);
  await keeps(t, keeperOn(host), WISH);
  await holder.exited;
});

test("the kind of iptables that Docker uses is used, and the other's rules go", async (t) => {
  const host = await hostOf(t, 'nft');
  if (host === undefined) return;
  await keeps(t, keeperOn(host), WISH);
  await lines(host, 'iptables-legacy', '-N DOCKER');
  await lines(host, 'ip6tables-legacy', '-N DOCKER');
  const keeper = keeperOn(host);
  await keeps(t, keeper, WISH);
  t.is(keeper.firewall.state().program, 'iptables-legacy');
  t.false((await host.run('iptables-nft-save')).includes('FLANNEL'));
  t.true((await host.run('iptables-legacy-save')).includes('FLANNEL-POSTRTG'));
  await clearFirewall({ programs: programsOn(host), ...ALL_GONE });
  t.false(/FLANNEL|tartan/.test(await host.run('iptables-legacy-save')));
  t.false((await host.run('nft', ['list', 'tables'])).includes('tartan'));
});

test('a table into which somebody put rules that iptables has no words for is named', async (t) => {
  const host = await hostOf(t);
  if (host === undefined) return;
  const chain = 'chain FORWARD { type filter hook forward priority 0; meta cpu 0-3 numgen inc mod 4 { 0, 1 } accept; }';
  await host.run('nft', ['-f', '-'], { input: `table ip filter { ${chain}; }\n` });
  const { firewall } = keeperOn(host);
  firewall.set({ ...WISH, docker: undefined });
  await firewall.look();
  t.regex(
    firewall.problem() ?? '',
    /^IPv4 rules of iptables: the table filter has rules that iptables has no words for/,
  );
  t.true((await host.run('iptables-save', ['-t', 'nat'])).includes('FLANNEL-POSTRTG'));
});
