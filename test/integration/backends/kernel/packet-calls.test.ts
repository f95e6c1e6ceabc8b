import { closeSync } from 'node:fs';
import test, { type ExecutionContext } from 'ava';
import { addressOf, lastErrno, lastError } from '../../../../backends/kernel/libc.ts';
import {
  duplicate,
  EAGAIN,
  makeDoorbell,
  mayBatch,
  type OpenSocket,
  openPacketSocket,
  packetCalls,
  receiveDrops,
  ringDoorbell,
  sendTo,
} from '../../../../backends/kernel/packet-calls.ts';
import { POLLIN, POLLOUT, PollSet } from '../../../../backends/kernel/poll-set.ts';
import { ip } from '../../../support/addresses.ts';
import { enterFreshNamespace, run } from '../../../support/netns.ts';

enterFreshNamespace();
run('ip addr add 192.0.2.1/24 dev lo && ip -6 addr add fd00::1/64 dev lo nodad');

function opened(t: ExecutionContext, address: string, port: number, gro = false): OpenSocket {
  const socket = openPacketSocket(ip(address), port, { gro });
  if ('errno' in socket) throw new Error(`${address}: ${socket.errno}`);
  t.teardown(() => closeSync(socket.fd));
  return socket;
}

/** What is there to be read, by read(2). */
function received(fd: number): string | undefined {
  const bytes = Buffer.alloc(2048);
  const length = packetCalls().read(fd, Number(addressOf(bytes)), bytes.length);
  return length < 0 ? undefined : bytes.toString('latin1', 0, length);
}

for (const address of ['192.0.2.1', 'fd00::1']) {
  test(`${address}: a datagram crosses, never waited for`, (t) => {
    const one = opened(t, address, 8285);
    const two = opened(t, address, 8286);
    t.is(received(two.fd), undefined);
    t.is(lastErrno(), EAGAIN);
    t.is(sendTo(one.fd, Buffer.from('hello'), ip(address), 8286), undefined);
    t.is(received(two.fd), 'hello');
    t.is(receiveDrops(two.fd), 0);
  });
}

test('what this kernel can do is found out by asking', (t) => {
  t.like(opened(t, '192.0.2.1', 4000, true), { gso: true, gro: true });
  t.like(opened(t, '192.0.2.1', 4001, false), { gso: true, gro: false });
  t.true(mayBatch());
});

test('a port that is taken and an address that is not ours are refused by name', (t) => {
  opened(t, '192.0.2.1', 5000);
  t.like(openPacketSocket(ip('192.0.2.1'), 5000, { gro: false }), { errno: 'EADDRINUSE' });
  t.like(openPacketSocket(ip('198.51.100.1'), 5000, { gro: false }), { errno: 'EADDRNOTAVAIL' });
});

test('a doorbell is heard by poll, by this thread and by another', async (t) => {
  const doorbell = makeDoorbell();
  t.teardown(() => closeSync(doorbell));
  const set = new PollSet(2);
  set.watch(0, undefined, POLLIN);
  set.watch(1, doorbell, POLLIN);
  set.wait(0);
  t.is(set.cameOf(1), 0);
  ringDoorbell(doorbell);
  set.wait(1000);
  t.deepEqual([set.cameOf(0), set.cameOf(1)], [0, POLLIN]);
  await set.waitInPool(1000);
  t.is(set.cameOf(1), POLLIN);
  t.false(set.isGone(1));
});

test('a descriptor with nothing behind it is gone, unless nobody waits for it', (t) => {
  const doorbell = makeDoorbell();
  closeSync(doorbell);
  const set = new PollSet(1);
  set.watch(0, doorbell, POLLOUT);
  set.wait(1000);
  t.true(set.isGone(0));
  set.watch(0, doorbell, 0);
  set.wait(0);
  t.false(set.isGone(0));
});

test('a duplicate is the same socket, and closed by itself', (t) => {
  const one = opened(t, '192.0.2.1', 6000);
  const two = opened(t, '192.0.2.1', 6001);
  const copy = duplicate(two.fd);
  closeSync(copy);
  t.is(sendTo(one.fd, Buffer.from('still here'), ip('192.0.2.1'), 6001), undefined);
  t.is(received(two.fd), 'still here');
  t.throws(() => duplicate(-1), { message: /EBADF/ });
  t.is(lastError(), 'EBADF');
});
