/**
 * The rules of a real flanneld and ours, for the same network. What flanneld wrote is kept as golden texts, with which
 * the unit tests compare the rules that are rendered; here they are compared with what it writes today.
 *
 * The differences:
 *
 *   iptables   none.
 *   nftables   flannel's fourth rule returns whatever comes from outside the network and goes anywhere into it, which
 *              swallows its last one. Ours returns it where it goes into this host's own subnet, as its iptables rule.
 *              Where the network has no IPv6, flannel makes an empty table `ip6 flannel-ipv6`; we make none.
 *   restarts   flannel moves its jumps to the end of POSTROUTING and FORWARD; we leave them where they are.
 */

import { readFileSync } from 'node:fs';
import test, { type ExecutionContext } from 'ava';
import { Firewall } from '../../backends/firewall/firewall.ts';
import type { FirewallWish } from '../../backends/firewall/wish.ts';
import { silentLog } from '../../config/log.ts';
import { flanneldAt, PREFIX, startAgent, subnetOf } from '../support/agent.ts';
import { eventually } from '../support/eventually.ts';
import { FLANNELS } from '../support/firewall-wishes.ts';
import { findFlanneld } from '../support/flanneld.ts';
import type { Host } from '../support/host.ts';
import { createLab, type Lab } from '../support/hosts.ts';
import {
  type IptablesKind,
  programsOn,
  RecordingPrograms,
  type Rules,
  rulesOf,
  useIptables,
} from '../support/packet-filters.ts';
import { realClock } from '../support/real-clock.ts';
import { needs } from '../support/require.ts';

/** One subnet of each family, so that the golden texts are the same each time. */
const CONFIG = {
  Network: '10.5.0.0/16',
  SubnetMin: '10.5.17.0',
  SubnetMax: '10.5.17.0',
  Backend: { Type: 'vxlan' },
};
const CONFIG6 = {
  EnableIPv6: true,
  IPv6Network: 'fd00:5::/48',
  IPv6SubnetMin: 'fd00:5:0:17::',
  IPv6SubnetMax: 'fd00:5:0:17::',
};

/** flannel's rule of nftables that swallows the next but one, and what ours is. */
const MENDED = [
  ['ip saddr != 10.5.17.0/24 ip daddr 10.5.0.0/16 return', 'ip saddr != 10.5.0.0/16 ip daddr 10.5.17.0/24 return'],
  [
    'ip6 saddr != fd00:5:0:17::/64 ip6 daddr fd00:5::/48 return',
    'ip6 saddr != fd00:5::/48 ip6 daddr fd00:5:0:17::/64 return',
  ],
] as const;

interface Scene {
  readonly lab: Lab;
  readonly host: Host;
  /** What flanneld has written. */
  readonly flannels: Rules;
}

/** A host on which flanneld has been, and is no more. */
async function afterFlanneld(
  t: ExecutionContext,
  kind: IptablesKind,
  { nftables, ipv6 = true }: { readonly nftables: boolean; readonly ipv6?: boolean },
): Promise<Scene | undefined> {
  if (!needs(t, 'lab', 'flanneld', 'nft', 'iptables')) return undefined;
  const found = findFlanneld();
  if ('reason' in found) throw new Error(found.reason);
  const lab = await createLab({ hosts: 1, ipv6: true });
  t.teardown(() => lab.destroy());
  const host = lab.host(1);
  await useIptables(host, kind);
  const config = { ...CONFIG, ...(ipv6 ? CONFIG6 : {}), EnableNFTables: nftables };
  await lab.etcd.put(`${PREFIX}/config`, JSON.stringify(config));
  const flanneld = startAgent(lab, host, flanneldAt(found.path), ['--ip-masq']);
  const env = await subnetOf(host, flanneld);
  t.is(env.subnet, '10.5.17.1/24');
  const flannels = await eventually(
    'flanneld has written its rules',
    () => completeRules(host, nftables, ipv6 ? 2 : 1),
    {
      context: () => flanneld.tail(20),
    },
  );
  // Not SIGTERM: some versions take their rules away then.
  flanneld.signal('SIGKILL');
  await flanneld.exited;
  return { lab, host, flannels };
}

/** Eight rules a family, and the two jumps to them where they stand in iptables. */
async function completeRules(host: Host, nftables: boolean, families: number): Promise<Rules | undefined> {
  const rules = await rulesOf(host);
  const count = (text: string, rule: RegExp): number => Array.from(text.matchAll(rule)).length;
  if (nftables) {
    const lines = count(rules.nft, /^\t\t.*(?:return|accept|masquerade.*)$/gm);
    return lines === families * 8 && rules.nft.includes('table ip6') ? rules : undefined;
  }
  const counts = [rules.iptables, rules.ip6tables].map((text) => count(text, /^-A /gm));
  return counts.every((lines) => lines === 10) ? rules : undefined;
}

function golden(name: string): string {
  return readFileSync(`test/golden/firewall/flanneld-${name}.txt`, 'utf8');
}

/** A process that has just started, and has never seen this host, looks once. @returns what it writes */
async function writtenOn(t: ExecutionContext, host: Host, wish: FirewallWish): Promise<readonly string[]> {
  const programs = new RecordingPrograms(programsOn(host));
  const firewall = new Firewall({ programs, clock: realClock, log: silentLog, resyncSeconds: 5 });
  firewall.set(wish);
  await firewall.look();
  t.is(firewall.problem(), undefined);
  return programs.written;
}

for (const kind of ['nft', 'legacy'] as const) {
  test(`iptables-${kind}: what flanneld wrote is found right, and what we write is the same`, async (t) => {
    const scene = await afterFlanneld(t, kind, { nftables: false });
    if (scene === undefined) return;
    const { host, flannels } = scene;
    t.is(flannels.iptables, golden(`iptables-${kind}`));
    t.is(flannels.ip6tables, golden(`ip6tables-${kind}`));
    t.is(flannels.nft, '');

    t.deepEqual(await writtenOn(t, host, FLANNELS), []);

    for (const program of ['iptables', 'ip6tables']) {
      for (const table of ['nat', 'filter']) {
        await host.run(program, ['-t', table, '-F']);
        await host.run(program, ['-t', table, '-X']);
      }
    }
    t.is((await writtenOn(t, host, FLANNELS)).length, 2);
    t.deepEqual(await rulesOf(host), flannels);
  });
}

test('nftables: of what flanneld wrote one rule is mended, and what we write is the same but for that', async (t) => {
  const scene = await afterFlanneld(t, 'nft', { nftables: true });
  if (scene === undefined) return;
  const { host, flannels } = scene;
  t.is(flannels.nft, golden('nftables'));
  let mended = flannels.nft;
  for (const [theirs, ours] of MENDED) mended = mended.replace(theirs, ours);
  const wish = { ...FLANNELS, nftables: true };
  t.is((await writtenOn(t, host, wish)).length, 2);
  t.is((await rulesOf(host)).nft, mended);
  await host.run('nft', ['flush', 'ruleset']);
  await writtenOn(t, host, wish);
  t.is((await rulesOf(host)).nft, mended);
});

test('nftables, IPv4 alone: the empty table that flannel makes for IPv6 is left alone, and we make none', async (t) => {
  const scene = await afterFlanneld(t, 'nft', { nftables: true, ipv6: false });
  if (scene === undefined) return;
  const { host, flannels } = scene;
  const wish = { ...FLANNELS, families: FLANNELS.families.slice(0, 1), nftables: true };
  await writtenOn(t, host, wish);
  const empty = 'table ip6 flannel-ipv6 {\n\tcomment "rules for flannel-ipv6"\n}\n';
  t.true(flannels.nft.endsWith(empty), flannels.nft);
  t.true((await rulesOf(host)).nft.endsWith(empty));
  await host.run('nft', ['flush', 'ruleset']);
  await writtenOn(t, host, wish);
  t.false((await rulesOf(host)).nft.includes('ip6'));
});
