import test from 'ava';
import type { PathFilter } from '../../../../backends/data-path/path-settings.ts';
import { type Ip, ipToBytes, macToBytes, type Prefix } from '../../../../config/address.ts';
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
import { ethernet, udpPacket, vxlan } from '../../../support/packets.ts';

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
  const six = from.includes(':');
  const packet = udpPacket({ from, to: six ? HERE6 : HERE }, Buffer.alloc(20));
  return received(six ? vxlan(7, ethernet(PEER_MAC, OWN_MAC, packet)) : packet, address);
}

function received(data: Buffer, address: Ip): ReturnType<typeof arrives> {
  const written = cores.receive([{ data, address }]);
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
      // udp has no IPv6.
      cores.begin({ ...(inner.includes(':') ? VXLAN : UDP), filter }, [PEER, OTHER]);
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

/** RFC 826, an announcement. */
function arp(sender: Ip, lengths = '0604', protocol = '0800'): Buffer {
  const start = Buffer.from(`0001${protocol}${lengths}0001`, 'hex');
  return Buffer.concat([start, macToBytes(PEER_MAC), ipToBytes(sender), macToBytes(OWN_MAC), ipToBytes(HERE)]);
}

const inside = udpPacket({ from: '10.5.9.1' as Ip, to: HERE }, Buffer.alloc(20));
const tagged = (tag: string): Buffer => Buffer.concat([Buffer.from(`${tag}0800`, 'hex'), inside]);

/** Ethertype, what is behind it, the counter, and whether it passes with each of the filters. */
const NOT_IP: readonly (readonly [string, string, Buffer, string | undefined, string])[] = [
  ['ARP of a peer', '0806', arp(THERE), undefined, 'yyyy'],
  ['ARP of somebody else', '0806', arp('10.5.3.1' as Ip), 'rx-spoofed', 'yynn'],
  ['ARP of the outside', '0806', arp('203.0.113.1' as Ip), 'rx-foreign', 'yyyn'],
  ['ARP of this host', '0806', arp(HERE), 'rx-looped', 'nnnn'],
  ['ARP with other addresses', '0806', arp('10.5.3.1' as Ip, '0606'), undefined, 'yyyy'],
  ['ARP of another protocol', '0806', arp('10.5.3.1' as Ip, '0604', '86dd'), undefined, 'yyyy'],
  ['half an ARP', '0806', arp('10.5.3.1' as Ip).subarray(0, 27), undefined, 'yyyy'],
  ['a tag of VLAN 0', '8100', tagged('0000'), 'rx-ethertype', 'yynn'],
  ['a tag of VLAN 5', '8100', tagged('0005'), 'rx-ethertype', 'yynn'],
  ['a service tag', '88a8', tagged('0000'), 'rx-ethertype', 'yynn'],
  ['an old service tag', '9100', tagged('0000'), 'rx-ethertype', 'yynn'],
  ['PPPoE', '8864', Buffer.alloc(30), 'rx-ethertype', 'yynn'],
  ['IEEE 802.3', '002a', Buffer.alloc(42), 'rx-ethertype', 'yynn'],
];

for (const [what, type, rest, counter, verdicts] of NOT_IP) {
  test(`not IP: ${what}`, (t) => {
    const frame = Buffer.concat([macToBytes(OWN_MAC), macToBytes(PEER_MAC), Buffer.from(type, 'hex'), rest]);
    for (const [i, filter] of FILTERS.entries()) {
      cores.begin({ ...VXLAN, filter }, [PEER, OTHER]);
      const { passed, counted } = received(vxlan(7, frame), PEER_OUTER);
      t.is(passed, verdicts[i] === 'y', filter);
      const silent = counter !== 'rx-looped' && (filter === 'off' || (counter === 'rx-foreign' && filter !== 'strict'));
      t.deepEqual(counted, counter === undefined || silent ? [] : [counter], filter);
      const named = counter === undefined || counter === 'rx-looped' || silent ? [] : [counter.slice(3)];
      t.deepEqual(
        cores.takeStrangers().map(({ reason, outer }) => [reason, outer]),
        named.map((reason) => [reason, PEER_OUTER]),
        filter,
      );
      // From nobody's address.
      t.is(
        received(vxlan(7, frame), NOBODY).passed,
        counter !== 'rx-looped' && (filter === 'off' || filter === 'report'),
      );
    }
  });
}

test('a device of one family knows the networks of both: a source of the other one is no peer’s', (t) => {
  const subnets = PEER.subnets.filter((subnet) => !subnet.includes(':'));
  for (const filter of ['enforce', 'strict'] as const) {
    cores.begin({ ...VXLAN, filter }, [{ ...PEER, subnets }]);
    t.true(arrives('fe80::1' as Ip, PEER_OUTER).passed);
    t.deepEqual(arrives(THERE6, PEER_OUTER).counted, ['rx-spoofed']);
    cores.begin({ ...VXLAN, filter }, [{ ...PEER, subnets }]);
    t.deepEqual(arrives(HERE6, PEER_OUTER).counted, ['rx-looped']);
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
