import test from 'ava';
import type { Ip } from '../../../../config/address.ts';
import { HERE, PacketCores, UDP, VXLAN } from '../../../support/packet-cores.ts';
import {
  checksum,
  ipPacket,
  type PacketWish,
  tcpPacket,
  udpPacket,
  virtioHeader,
  withPartialChecksum,
} from '../../../support/packets.ts';

const cores = await PacketCores.open();

test.afterEach(() => cores.compareMemory());

const NOWHERE = '10.5.77.1' as Ip;

/** flannel's: from the subnet's first address, TTL 8, id 0, no flags; with a virtio header in front. */
function expected(offender: Buffer, quoted: number): Buffer {
  const icmp = Buffer.concat([Buffer.from([3, 0, 0, 0, 0, 0, 0, 0]), offender.subarray(0, quoted)]);
  icmp.writeUInt16BE(checksum(icmp), 2);
  const packet = ipPacket({ from: '10.5.1.0' as Ip, to: HERE, ttl: 8, id: 0, fragment: 0 }, 1, icmp);
  return Buffer.concat([Buffer.alloc(10), packet]);
}

test('who sends to nobody is told so, as flannel tells it', (t) => {
  cores.begin(UDP);
  const offender = udpPacket({ from: HERE, to: NOWHERE }, Buffer.alloc(100, 3));
  const { messages, replies } = cores.transmit([{ frame: offender }]);
  t.deepEqual(messages, []);
  t.deepEqual(replies, [expected(offender, 28)]);
  t.deepEqual(cores.counters(), { 'tx-no-route': 1, 'tx-unreachables': 1 });
});

test('the whole header is quoted, and no more than there is behind it', (t) => {
  const ipOptions = Buffer.alloc(36, 1);
  const offender = udpPacket({ from: HERE, to: NOWHERE, ipOptions }, Buffer.alloc(100, 3));
  const short = ipPacket({ from: HERE, to: NOWHERE }, 200, Buffer.alloc(3, 9));
  cores.begin(UDP);
  const { replies } = cores.transmit([{ frame: offender }, { frame: short }]);
  t.deepEqual(replies, [expected(offender, 64), expected(short, 23)]);
});

test('a super-packet is answered once', (t) => {
  cores.begin(UDP);
  const partial = withPartialChecksum(tcpPacket({ from: HERE, to: NOWHERE }, Buffer.alloc(30_000)));
  const { replies } = cores.transmit([{ frame: partial, virtio: virtioHeader(partial, 0, 1000) }]);
  t.deepEqual(replies, [expected(partial, 28)]);
});

const SILENT: readonly (readonly [string, Partial<PacketWish>, number])[] = [
  ['ICMP', {}, 1],
  ['a fragment that is not the first', { fragment: 0x2001 }, 17],
  ['a header of the largest size', { ipOptions: Buffer.alloc(40, 1) }, 17],
  ['an unspecified source', { from: '0.0.0.0' as Ip }, 17],
  ['a loopback source', { from: '127.0.0.1' as Ip }, 17],
  ['a multicast source', { from: '224.0.0.1' as Ip }, 17],
  ['a broadcast source', { from: '255.255.255.255' as Ip }, 17],
];

for (const [what, wish, protocol] of SILENT) {
  test(`no answer to ${what}`, (t) => {
    cores.begin(UDP);
    const frame = ipPacket({ from: HERE, to: NOWHERE, ...wish }, protocol, Buffer.alloc(40));
    t.deepEqual(cores.transmit([{ frame }]).replies, []);
    t.deepEqual(cores.counters(), { 'tx-no-route': 1 });
  });
}

test('a first fragment is answered', (t) => {
  cores.begin(UDP);
  const frame = ipPacket({ from: HERE, to: NOWHERE, fragment: 0x2000 }, 17, Buffer.alloc(40));
  t.is(cores.transmit([{ frame }]).replies.length, 1);
});

test('no answer to a header that is none', (t) => {
  for (const first of [0x44, 0x40, 0x4f]) {
    cores.begin(UDP);
    const frame = udpPacket({ from: HERE, to: NOWHERE }, Buffer.alloc(4));
    frame.writeUInt8(first, 0);
    t.deepEqual(cores.transmit([{ frame }]).replies, []);
  }
});

test('no more answers than allowed, nor than 16 in a batch', (t) => {
  const frame = udpPacket({ from: HERE, to: NOWHERE }, Buffer.alloc(4));
  const frames = Array.from({ length: 40 }, () => ({ frame }));
  cores.begin(UDP);
  cores.allowReplies(20);
  t.deepEqual(
    [0, 1, 2].map(() => cores.transmit(frames).replies.length),
    [16, 4, 0],
  );
  cores.allowReplies(1);
  t.is(cores.transmit(frames).replies.length, 1);
});

test('no answer on a VXLAN, nor without a subnet of IPv4', (t) => {
  const frame = udpPacket({ from: HERE, to: NOWHERE }, Buffer.alloc(4));
  cores.begin({ ...UDP, own: [] });
  t.deepEqual(cores.transmit([{ frame }]).replies, []);
  cores.begin(VXLAN);
  t.deepEqual(cores.transmit([{ frame }]).replies, []);
});
