import test from 'ava';
import { Incoming } from '../../../../backends/data-path/incoming.ts';
import { LoopCounts } from '../../../../backends/data-path/loop-counts.ts';
import { Outgoing } from '../../../../backends/data-path/outgoing.ts';
import { openPacketCore } from '../../../../backends/data-path/packet-core.ts';
import type { PathSettings } from '../../../../backends/data-path/path-settings.ts';
import { EAGAIN, EBADFD, EINTR, EINVAL, EIO, EMSGSIZE } from '../../../../backends/kernel/packet-calls.ts';
import { FakePacketCalls } from '../../../fakes/packet-calls.ts';
import { ip, prefix } from '../../../support/addresses.ts';
import { udpPacket } from '../../../support/packets.ts';

const TUN = 3;
const SOCKET = 4;
const ENETUNREACH = 101;

const SETTINGS: PathSettings = {
  device: 'flannel0',
  encapsulation: { kind: 'udp' },
  local: ip('192.0.2.1'),
  port: 8285,
  mtuBytes: 1472,
  own: [prefix('10.5.1.0/24')],
  networks: [prefix('10.5.0.0/16')],
  filter: 'enforce',
};

const core = await openPacketCore(undefined);

function scene() {
  core.configure(SETTINGS, 0n, { grouping: true, mergingTcp: false, mergingUdp: false });
  for (const number of [2, 3]) {
    const outer = ip(`192.0.2.${number}`);
    const subnets = [prefix(`10.5.${number}.0/24`)];
    core.setPeer(String(number), { endpoint: outer, sources: [outer], subnets, mac: undefined });
  }
  const calls = new FakePacketCalls(core);
  const counts = new LoopCounts();
  return { calls, counts, out: new Outgoing(core, 0, counts, calls), in: new Incoming(core, 0, counts, calls) };
}

/** As the device hands it over: nothing is left to be done. */
function frame(to: number, bytes = 100): Buffer {
  const packet = udpPacket({ from: ip('10.5.1.7'), to: ip(`10.5.${to}.7`) }, Buffer.alloc(bytes, to));
  return Buffer.concat([Buffer.alloc(10), packet]);
}

function datagram(from: number, bytes = 100) {
  const data = udpPacket({ from: ip(`10.5.${from}.7`), to: ip('10.5.1.7') }, Buffer.alloc(bytes, from));
  return { data, address: ip(`192.0.2.${from}`) };
}

/** To whom how many datagrams went, in which order. */
function destinations(calls: FakePacketCalls): (readonly [string, number])[] {
  return calls.sent.flat().map(({ address, data, segmentBytes = data.length }) => {
    return [address, Math.ceil(data.length / segmentBytes)] as const;
  });
}

test('outgoing: all that is there goes at once, those to one peer together', (t) => {
  const { calls, out } = scene();
  calls.toRead.push(frame(2), frame(2), frame(2), frame(3));
  t.is(out.turn(TUN, SOCKET), 'worked');
  t.deepEqual(destinations(calls), [
    ['192.0.2.2', 3],
    ['192.0.2.3', 1],
  ]);
  t.is(calls.sent.length, 1);
  t.is(out.turn(TUN, SOCKET), 'idle');
});

test('outgoing: what the socket has no room for waits, and the device with it', (t) => {
  const { calls, counts, out } = scene();
  calls.toRead.push(frame(2), frame(3));
  calls.refuse('sendmmsg', 0, EAGAIN, EAGAIN);
  t.is(out.turn(TUN, SOCKET), 'full');
  calls.toRead.push(frame(2, 50));
  calls.called.length = 0;
  t.is(out.turn(TUN, SOCKET), 'full');
  t.deepEqual(calls.called, ['sendmmsg']);
  t.is(out.turn(TUN, SOCKET), 'worked');
  t.is(out.turn(TUN, SOCKET), 'worked');
  t.deepEqual(destinations(calls), [
    ['192.0.2.2', 1],
    ['192.0.2.3', 1],
    ['192.0.2.2', 1],
  ]);
  t.is(counts.refused, 0);
});

for (const [name, errno] of Object.entries({ EMSGSIZE, EINVAL, EIO })) {
  test(`outgoing: ${name} for many datagrams in one message: they go one by one`, (t) => {
    const { calls, counts, out } = scene();
    const gaveUp: number[] = [];
    out.onGroupingRefused = (why) => gaveUp.push(why);
    calls.toRead.push(frame(2), frame(2), frame(2), frame(3));
    calls.refuse('sendmmsg', errno);
    t.is(out.turn(TUN, SOCKET), 'worked');
    t.deepEqual(destinations(calls), [
      ['192.0.2.2', 1],
      ['192.0.2.2', 1],
      ['192.0.2.2', 1],
      ['192.0.2.3', 1],
    ]);
    t.deepEqual(gaveUp, errno === EIO ? [EIO] : []);
    t.is(counts.refused, 0);
  });

  test(`outgoing: ${name} for a single datagram: it is dropped, and counted`, (t) => {
    const { calls, counts, out } = scene();
    calls.toRead.push(frame(2), frame(3));
    calls.refuse('sendmmsg', errno);
    t.is(out.turn(TUN, SOCKET), 'worked');
    t.deepEqual(destinations(calls), [['192.0.2.3', 1]]);
    t.deepEqual(counts.refusals(), { [`send ${name}`]: 1 });
  });
}

test('outgoing: one by one, too, what is refused is dropped and the others go', (t) => {
  const { calls, counts, out } = scene();
  calls.toRead.push(frame(2), frame(2), frame(2));
  calls.refuse('sendmmsg', EMSGSIZE, EAGAIN, 0, ENETUNREACH);
  t.is(out.turn(TUN, SOCKET), 'worked');
  t.deepEqual(destinations(calls), [['192.0.2.2', 1]]);
  t.deepEqual(counts.refusals(), { 'send EAGAIN': 1, 'send ENETUNREACH': 1 });
});

test('outgoing: an unreachable peer is nobody else’s matter', (t) => {
  const { calls, counts, out } = scene();
  calls.toRead.push(frame(2), frame(2), frame(3));
  calls.refuse('sendmmsg', ENETUNREACH);
  t.is(out.turn(TUN, SOCKET), 'worked');
  t.deepEqual(destinations(calls), [['192.0.2.3', 1]]);
  t.deepEqual(counts.refusals(), { 'send ENETUNREACH': 1 });
});

test('outgoing: a signal in between is no reason for anything', (t) => {
  const { calls, counts, out } = scene();
  calls.toRead.push(frame(2));
  calls.refuse('read', EINTR);
  calls.refuse('sendmmsg', EINTR);
  t.is(out.turn(TUN, SOCKET), 'worked');
  t.deepEqual(destinations(calls), [['192.0.2.2', 1]]);
  t.is(counts.refused, 0);
});

test('outgoing: a device that is gone is lost, what was read before goes its way', (t) => {
  const { calls, out } = scene();
  calls.toRead.push(frame(2));
  calls.refuse('read', 0, EBADFD);
  t.is(out.turn(TUN, SOCKET), 'lost');
  t.deepEqual(destinations(calls), [['192.0.2.2', 1]]);
});

test('outgoing: a frame that the device can’t hand over is counted, and the ones behind it go', (t) => {
  const { calls, counts, out } = scene();
  calls.toRead.push(frame(2), frame(3));
  calls.refuse('read', EINVAL, 0, EIO);
  t.is(out.turn(TUN, SOCKET), 'worked');
  t.deepEqual(destinations(calls), [
    ['192.0.2.2', 1],
    ['192.0.2.3', 1],
  ]);
  t.deepEqual(counts.refusals(), { 'read EINVAL': 1, 'read EIO': 1 });
});

test('outgoing: a device that hands over nothing but errors ends the batch', (t) => {
  const { calls, counts, out } = scene();
  calls.refuse('read', ...Array.from({ length: 40 }, () => EINVAL));
  t.is(out.turn(TUN, SOCKET), 'refused');
  t.is(calls.called.length, 32);
  t.is(out.turn(TUN, SOCKET), 'refused');
  t.is(out.turn(TUN, SOCKET), 'idle');
  t.deepEqual(counts.refusals(), { 'read EINVAL': 40 });
});

test('outgoing: what nobody takes is answered into the device', (t) => {
  const { calls, out } = scene();
  core.allowReplies(1);
  calls.toRead.push(frame(9));
  t.is(out.turn(TUN, SOCKET), 'worked');
  t.is(calls.sent.length, 0);
  t.is(calls.written.length, 1);
});

test('incoming: all that is there is written, then there is nothing', (t) => {
  const { calls, in: incoming } = scene();
  for (let i = 0; i < 40; i++) calls.toReceive.push(datagram(2, i));
  t.is(incoming.turn(TUN, SOCKET), 'worked');
  t.is(incoming.turn(TUN, SOCKET), 'worked');
  t.is(incoming.turn(TUN, SOCKET), 'idle');
  t.is(calls.written.length, 40);
});

test('incoming: what the device has no room for waits, and the socket with it', (t) => {
  const { calls, counts, in: incoming } = scene();
  calls.toReceive.push(datagram(2, 10), datagram(3, 20), datagram(2, 30));
  calls.refuse('writev', 0, EAGAIN, EAGAIN);
  t.is(incoming.turn(TUN, SOCKET), 'full');
  calls.toReceive.push(datagram(2, 40));
  calls.called.length = 0;
  t.is(incoming.turn(TUN, SOCKET), 'full');
  t.deepEqual(calls.called, ['writev']);
  t.is(incoming.turn(TUN, SOCKET), 'worked');
  t.is(incoming.turn(TUN, SOCKET), 'worked');
  t.deepEqual(
    calls.written.map((frame) => frame.length - 10 - 28),
    [10, 20, 30, 40],
  );
  t.is(counts.refused, 0);
});

test('incoming: what the device refuses is dropped and counted, the others are written', (t) => {
  const { calls, counts, in: incoming } = scene();
  calls.toReceive.push(datagram(2, 10), datagram(3, 20));
  calls.refuse('writev', EIO);
  t.is(incoming.turn(TUN, SOCKET), 'worked');
  t.is(calls.written.length, 1);
  t.deepEqual(counts.refusals(), { 'write EIO': 1 });
});

test('incoming: a device that is gone is lost; what was for it is not for the next one', (t) => {
  const { calls, in: incoming } = scene();
  calls.toReceive.push(datagram(2, 10), datagram(3, 20));
  calls.refuse('writev', EBADFD);
  t.is(incoming.turn(TUN, SOCKET), 'lost');
  incoming.forget();
  calls.toReceive.push(datagram(2, 30));
  t.is(incoming.turn(TUN, SOCKET), 'worked');
  t.deepEqual(
    calls.written.map((frame) => frame.length - 10 - 28),
    [30],
  );
});

test('incoming: an error of the socket is counted, and no reason to stop', (t) => {
  const { calls, counts, in: incoming } = scene();
  calls.refuse('recvmmsg', 111, EINTR);
  t.is(incoming.turn(TUN, SOCKET), 'idle');
  t.is(incoming.turn(TUN, SOCKET), 'idle');
  calls.toReceive.push(datagram(2));
  t.is(incoming.turn(TUN, SOCKET), 'worked');
  t.deepEqual(counts.refusals(), { 'receive ECONNREFUSED': 1 });
});
