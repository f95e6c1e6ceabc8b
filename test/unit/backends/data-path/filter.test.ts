import test from 'ava';
import type { PathFilter } from '../../../../backends/data-path/path-settings.ts';
import type { Ip, Prefix } from '../../../../config/address.ts';
import {
  HERE,
  HERE6,
  OWN_MAC,
  OWN_OUTER,
  PacketCores,
  PEER,
  PEER_MAC,
  PEER_OUTER,
  THERE,
  THERE6,
  UDP,
  VXLAN,
} from '../../../support/packet-cores.ts';
import { ethernet, ipPacket, udpPacket, vxlan } from '../../../support/packets.ts';

const cores = await PacketCores.open();

test.afterEach(() => cores.compareMemory());

const FILTERS: readonly PathFilter[] = ['off', 'report', 'enforce', 'strict'];
const OTHER_OUTER = '192.0.2.3' as Ip;
const OTHER = {
  ...PEER,
  endpoint: OTHER_OUTER,
  sources: [OTHER_OUTER],
  subnets: ['10.5.3.0/24' as Prefix],
  mac: undefined,
};
const NOBODY = '198.51.100.9' as Ip;

/** Whether a packet of that inner source, from that outer one, reaches the device; and what is counted. */
function arrives(from: Ip, address: Ip): { readonly passed: boolean; readonly counted: readonly string[] } {
  const to = from.includes(':') ? HERE6 : HERE;
  const written = cores.receive([{ data: udpPacket({ from, to }, Buffer.alloc(20)), address }]);
  const traffic = ['rx-packets', 'rx-bytes', 'rx-messages', 'rx-writes'];
  return {
    passed: written.length === 1,
    counted: Object.keys(cores.counters()).filter((name) => !traffic.includes(name)),
  };
}

/** Inner source, outer source, the counter, and whether it passes with each of the filters. */
const CASES: readonly (readonly [string, string, string | undefined, string])[] = [
  [THERE, PEER_OUTER, undefined, 'yyyy'],
  [THERE6, PEER_OUTER, undefined, 'yyyy'],
  ['10.5.3.1', OTHER_OUTER, undefined, 'yyyy'],
  // Somebody else's subnet, and nobody's.
  ['10.5.3.1', PEER_OUTER, 'rx-spoofed', 'yynn'],
  ['10.5.9.1', PEER_OUTER, 'rx-spoofed', 'yynn'],
  ['fd00:5:0:9::1', PEER_OUTER, 'rx-spoofed', 'yynn'],
  // Not of the cluster.
  ['203.0.113.1', PEER_OUTER, 'rx-foreign', 'yyyn'],
  ['2001:db8::1', PEER_OUTER, 'rx-foreign', 'yyyn'],
  ['fe80::1', PEER_OUTER, undefined, 'yyyy'],
  ['::', PEER_OUTER, undefined, 'yyyy'],
  // From nobody's address.
  [THERE, NOBODY, 'rx-stranger', 'yynn'],
  ['203.0.113.1', NOBODY, 'rx-stranger', 'yynn'],
  [THERE, '2001:db8::9', 'rx-stranger', 'yynn'],
  // From here.
  [HERE, PEER_OUTER, 'rx-looped', 'nnnn'],
  ['10.5.1.0', PEER_OUTER, 'rx-looped', 'nnnn'],
  [HERE6, PEER_OUTER, 'rx-looped', 'nnnn'],
  [THERE, OWN_OUTER, 'rx-looped', 'nnnn'],
  [HERE, NOBODY, 'rx-looped', 'nnnn'],
];

for (const [inner, outer, counter, verdicts] of CASES) {
  test(`from ${inner} in a datagram from ${outer}: ${counter ?? 'passes'}`, (t) => {
    for (const [i, filter] of FILTERS.entries()) {
      cores.begin({ ...UDP, filter }, [PEER, OTHER]);
      const { passed, counted } = arrives(inner as Ip, outer as Ip);
      t.is(passed, verdicts[i] === 'y', filter);
      const silent = counter !== 'rx-looped' && (filter === 'off' || (counter === 'rx-foreign' && filter !== 'strict'));
      t.deepEqual(counted, counter === undefined || silent ? [] : [counter], filter);
      const named = counter === undefined || counter === 'rx-looped' || silent ? [] : [counter.slice(3)];
      t.deepEqual(
        cores.takeStrangers().map(({ reason, outer: from, inner: of }) => [reason, from, of]),
        named.map((reason) => [reason, outer, inner]),
        filter,
      );
    }
  });
}

test('hosts behind one NAT share their outer source', (t) => {
  const shared = '192.0.2.9' as Ip;
  cores.begin(UDP, [
    { ...PEER, endpoint: shared, sources: [shared] },
    { ...OTHER, endpoint: shared, sources: [shared] },
  ]);
  t.true(arrives(THERE, shared).passed);
  t.true(arrives('10.5.3.1' as Ip, shared).passed);
  t.false(arrives('10.5.4.1' as Ip, shared).passed);
  cores.removePeer('peer 0');
  t.false(arrives(THERE, shared).passed);
  t.true(arrives('10.5.3.1' as Ip, shared).passed);
});

test('two peers may claim one subnet; each is heard', (t) => {
  cores.begin(UDP, [PEER, { ...OTHER, subnets: PEER.subnets }]);
  t.true(arrives(THERE, PEER_OUTER).passed);
  t.true(arrives(THERE, OTHER_OUTER).passed);
  t.false(arrives('10.5.3.1' as Ip, OTHER_OUTER).passed);
});

test('a peer may have several sources, of both families', (t) => {
  const sources = ['192.0.2.2', '192.0.2.77', '2001:db8::2'] as Ip[];
  cores.begin({ ...UDP, filter: 'strict' }, [{ ...PEER, sources }]);
  for (const source of sources) t.true(arrives(THERE, source).passed, source);
  t.false(arrives(THERE, '2001:db8::3' as Ip).passed);
});

test('what is not IP passes from a peer, and from nobody else', (t) => {
  for (const [address, passes] of [
    [PEER_OUTER, true],
    [NOBODY, false],
  ] as const) {
    cores.begin({ ...VXLAN, filter: 'strict' });
    const frame = ethernet(PEER_MAC, OWN_MAC, ipPacket({ from: THERE, to: HERE }, 1, Buffer.alloc(20)));
    frame.writeUInt16BE(0x0806, 12);
    t.is(cores.receive([{ data: vxlan(7, frame), address }]).length, passes ? 1 : 0);
    t.deepEqual(cores.takeStrangers(), passes ? [] : [{ reason: 'stranger', outer: NOBODY, inner: undefined }]);
  }
});

test('each stranger is named once, and a flood of them does not grow', (t) => {
  cores.begin(UDP);
  for (let i = 0; i < 3; i++) arrives(THERE, NOBODY);
  t.is(cores.takeStrangers().length, 1);
  t.is(cores.takeStrangers().length, 0);
  for (let i = 0; i < 100; i++) arrives(THERE, `198.51.100.${i}` as Ip);
  t.is(cores.takeStrangers().length, 32);
  t.is(cores.counters()['rx-stranger'], 103);
  arrives(THERE, NOBODY);
  t.is(cores.takeStrangers().length, 1);
});

test('a filter is changed while the peers stay', (t) => {
  cores.begin(UDP);
  t.false(arrives(THERE, NOBODY).passed);
  cores.configure({ ...UDP, filter: 'report' });
  t.true(arrives(THERE, NOBODY).passed);
  cores.configure({ ...UDP, filter: 'enforce' });
  t.false(arrives(THERE, NOBODY).passed);
  t.true(arrives(THERE, PEER_OUTER).passed);
});
