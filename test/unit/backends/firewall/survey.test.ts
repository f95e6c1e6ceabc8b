import test from 'ava';
import { inOrder, iptablesOf, Surveyor, tablesIn } from '../../../../backends/firewall/survey.ts';
import { FakePacketFilters } from '../../../fakes/packet-filters.ts';

for (const [answer, kind, version, isRecent] of [
  ['iptables v1.8.9 (nf_tables)', 'nft', '1.8.9', true],
  ['ip6tables v1.8.9 (legacy)', 'legacy', '1.8.9', true],
  ['iptables v1.6.1', 'legacy', '1.6.1', false],
  ['iptables v1.6.2', 'legacy', '1.6.2', true],
  ['iptables v1.4.21', 'legacy', '1.4.21', false],
  ['iptables v2.0 (nf_tables)', 'nft', '2.0', true],
] as const) {
  test(`${answer}: ${kind}, ${isRecent ? 'recent' : 'old'}`, (t) => {
    t.deepEqual(iptablesOf(4, 'iptables', answer), { family: 4, program: 'iptables', kind, version, isRecent });
  });
}

test('what is no answer of iptables is no iptables', (t) => {
  t.is(iptablesOf(4, 'iptables', ''), undefined);
  t.is(iptablesOf(4, 'iptables', 'xtables-multi: something'), undefined);
});

const KINDS = ['iptables v1.8.9 (nf_tables)', 'iptables v1.8.9 (legacy)'].map((answer, at) =>
  iptablesOf(4, at === 0 ? 'iptables' : 'iptables-legacy', answer),
);
const [NFT, LEGACY] = KINDS;

for (const [title, listings, first] of [
  ['nobody uses either', ['', ''], NFT],
  ['Docker uses the second', ['', '*nat\n:DOCKER - [0:0]\n'], LEGACY],
  ['Kubernetes uses the second', ['', ':KUBE-KUBELET-CANARY - [0:0]\n'], LEGACY],
  ['both are in use', [':DOCKER - [0:0]\n', ':KUBE-SERVICES - [0:0]\n'], NFT],
  ['DOCKER-USER may be ours', ['', ':DOCKER-USER - [0:0]\n'], NFT],
] as const) {
  test(`of two kinds the one in use: ${title}`, (t) => {
    const kinds = KINDS.flatMap((kind) => kind ?? []);
    t.is(inOrder(kinds, listings)[0], first);
    t.is(inOrder(kinds, listings).length, 2);
  });
}

test('a kind that goes by two names is one', async (t) => {
  const { iptables } = await new Surveyor(new FakePacketFilters({ kinds: ['nft', 'legacy'] })).survey();
  t.deepEqual(
    iptables[4].map(({ program }) => program),
    ['iptables', 'iptables-legacy'],
  );
  t.deepEqual(
    iptables[6].map(({ program }) => program),
    ['ip6tables', 'ip6tables-legacy'],
  );
});

test('a kind that goes only by its own name is found', async (t) => {
  const { iptables } = await new Surveyor(new FakePacketFilters({ iptables: undefined, kinds: ['legacy'] })).survey();
  t.deepEqual(
    iptables[4].map(({ program }) => program),
    ['iptables-legacy'],
  );
});

test('what nft can is tried once', async (t) => {
  const host = new FakePacketFilters();
  const surveyor = new Surveyor(host);
  const { nftables } = await surveyor.survey();
  t.deepEqual(nftables, { version: '1.0.6', abilities: { comments: true, randomFully: true }, tables: [] });
  const runs = host.runs.get('nft') ?? 0;
  await surveyor.survey();
  t.is((host.runs.get('nft') ?? 0) - runs, runs - 2);
});

test('tables', (t) => {
  t.deepEqual(tablesIn('table ip nat\ntable inet tartan-flannel.1\n'), ['ip nat', 'inet tartan-flannel.1']);
});
