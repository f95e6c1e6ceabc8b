import test from 'ava';
import { type Cleared, type Clearing, clearFirewall } from '../../../../backends/firewall/clear-firewall.ts';
import { Firewall } from '../../../../backends/firewall/firewall.ts';
import type { FirewallWish } from '../../../../backends/firewall/wish.ts';
import { silentLog } from '../../../../config/log.ts';
import { VirtualClock } from '../../../fakes/clock.ts';
import { FakePacketFilters } from '../../../fakes/packet-filters.ts';
import { prefix } from '../../../support/addresses.ts';
import { DOCKER, FLANNELS, IPV4, IPV6, MARK } from '../../../support/firewall-wishes.ts';

const ALL: FirewallWish = { ...FLANNELS, docker: { ...DOCKER, mark: MARK } };
const UNKNOWN = { devices: undefined, networks: undefined };
const KNOWN = { devices: ['flannel.1'], networks: [IPV4.network, IPV6.network] };
const PEERS = 'inet tartan-flannel.1';

async function wished(host: FakePacketFilters, wish: FirewallWish): Promise<void> {
  const firewall = new Firewall({ programs: host, clock: new VirtualClock(), log: silentLog, resyncSeconds: 5 });
  firewall.set(wish);
  await firewall.look();
}

/** A host with all of ours: in iptables, in the other iptables, in nftables; and what is not ours. */
async function hostWithAll(): Promise<FakePacketFilters> {
  const host = new FakePacketFilters({ kinds: ['nft', 'legacy'] });
  await wished(host, ALL);
  const { legacy, nft } = host.iptables;
  for (const name of ['iptables', 'ip6tables'] as const) {
    legacy[name].load(nft[name].listing());
    nft[name].append('filter', 'FORWARD', '-s 192.0.2.7/32 -j DROP');
  }
  host.nft.run(
    'add table ip flannel-ipv4\nadd table ip6 flannel-ipv6\nadd table inet tartan-flannel.1\nadd table inet firewalld',
  );
  host.nft.run('add chain ip flannel-ipv4 forward { type filter hook forward priority 0; policy accept; }');
  return host;
}

const NOTHING: Cleared = { said: [], failed: [] };

const left = (host: FakePacketFilters): string =>
  [host.iptables.nft, host.iptables.legacy]
    .map((kind) => `${kind.iptables.listing()}${kind.ip6tables.listing()}`)
    .join('');
const clear = (programs: FakePacketFilters, clearing: Omit<Clearing, 'programs'>): Promise<Cleared> =>
  clearFirewall({ programs, ...clearing });

for (const [title, clearing] of [
  ['nothing is known', UNKNOWN],
  ['devices and networks are known', KNOWN],
] as const) {
  test(`${title}: all of ours and flannel's goes, in every firewall, and nothing else`, async (t) => {
    const host = await hostWithAll();
    const { said, failed } = await clear(host, clearing);
    t.deepEqual(failed, []);
    t.false(/FLANNEL|tartan|DOCKER-USER/.test(left(host)), left(host));
    t.true(left(host).includes('-A FORWARD -s 192.0.2.7/32 -j DROP'));
    t.deepEqual([...host.nft.tables.keys()], ['inet firewalld']);
    t.deepEqual(said, [
      'cleared the IPv4 rules of iptables',
      'cleared the IPv4 rules of iptables-legacy',
      'cleared the IPv6 rules of ip6tables',
      'cleared the IPv6 rules of ip6tables-legacy',
      'cleared the nft table ip flannel-ipv4',
      'cleared the nft table ip6 flannel-ipv6',
      'cleared the nft table inet tartan-docker-flannel.1',
      `deleted the nft table ${PEERS}`,
    ]);
    t.deepEqual(await clear(host, clearing), NOTHING);
  });
}

test("another agent's network and device stay", async (t) => {
  const host = await hostWithAll();
  const other = { family: 4, network: prefix('10.6.0.0/16'), subnet: prefix('10.6.3.0/24') } as const;
  const theirs: FirewallWish = { ...ALL, families: [other], docker: { devices: ['flannel.2'], mark: MARK } };
  await wished(host, theirs);
  host.nft.run('add table inet tartan-flannel.2');
  await clear(host, KNOWN);
  t.false(/10\.5\./.test(left(host)));
  t.true(host.nft.tables.has('inet tartan-flannel.2'));
  t.true(host.nft.tables.has('inet tartan-docker-flannel.2'));
  const before = host.written.length;
  await wished(host, theirs);
  t.is(host.written.length, before, 'nothing of theirs has to be mended');
});

test('what stays is told, after all the rest was done', async (t) => {
  const host = await hostWithAll();
  host.broken.set('ip6tables-restore', 'ip6tables-restore: line 3 failed');
  const { said, failed } = await clear(host, UNKNOWN);
  t.deepEqual(failed, ['IPv6 rules of ip6tables: ip6tables-restore: line 3 failed']);
  t.is(said.length, 7);
  t.true(left(host).includes('FLANNEL-POSTRTG'));
  t.deepEqual([...host.nft.tables.keys()], ['inet firewalld']);
});

test('a host without IPv6 has nothing of it to be cleared, unless a network says so', async (t) => {
  const host = await hostWithAll();
  host.broken.set('ip6tables-save', 'ip6tables: Address family not supported by protocol');
  t.deepEqual((await clear(host, { ...UNKNOWN, networks: [IPV4.network] })).failed, []);
  t.regex((await clear(host, KNOWN)).failed.join(), /Address family not supported/);
});

test('no packet filter at all: nothing to do', async (t) => {
  t.deepEqual(await clear(new FakePacketFilters({ iptables: undefined, nft: false }), UNKNOWN), NOTHING);
});
