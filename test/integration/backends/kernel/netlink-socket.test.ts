import test from 'ava';
import { encodeLinkDelete, encodeLinkDump } from '../../../../backends/kernel/link-message.ts';
import { MessageWriter } from '../../../../backends/kernel/message-writer.ts';
import { NetlinkSocket } from '../../../../backends/kernel/netlink-socket.ts';
import { silentLog } from '../../../../config/log.ts';
import { enterFreshNamespace, run } from '../../../support/netns.ts';

enterFreshNamespace();
run('ip link add tk0 type bridge && ip link set tk0 up');

const IPV4_ROUTE = 7;
const NO_SUCH_GROUP = 30_000;

function open(bufferBytes: number, silenceMs = 3000): NetlinkSocket {
  return new NetlinkSocket(silentLog, { bufferBytes, datagramBytes: 0, silenceMs });
}

/** `count` deletions of devices that are not there: each is refused. */
function refusals(socket: NetlinkSocket, count: number): MessageWriter {
  const writer = new MessageWriter(64 * count);
  writer.reset(socket.reserve(count));
  for (let i = 0; i < count; i++) encodeLinkDelete(writer, `tk-no-${i}`);
  return writer;
}

test('every refusal of a batch comes with its place, though the last alone is acknowledged', async (t) => {
  const socket = open(1 << 20);
  t.teardown(() => socket.close());
  const reply = await socket.batch(refusals(socket, 100));
  t.true(reply.complete);
  t.deepEqual([...reply.failures.keys()], [...Array(100).keys()]);
  t.true([...reply.failures.values()].every(({ errno }) => errno === 19));
});

test('an answer that the buffer had no room for is missed in time, and the socket goes on', async (t) => {
  const socket = open(2048, 50);
  t.teardown(() => socket.close());
  const reply = await socket.batch(refusals(socket, 200));
  t.false(reply.complete);
  t.true(reply.failures.size > 0 && reply.failures.size < 200);
  t.true(socket.drops() > 0);
  t.true((await socket.batch(refusals(socket, 1))).complete);
  t.true(Array.isArray(await socket.dump(encodeLinkDump)));
});

test('a buffer that events overflow ends neither the process nor the socket', async (t) => {
  const socket = open(4096);
  t.teardown(() => socket.close());
  let heard = 0;
  socket.listen(
    () => heard++,
    () => undefined,
  );
  t.true(socket.join(IPV4_ROUTE));
  const routes = Array.from({ length: 500 }, (_, i) => `route add 10.${i >> 8}.${i & 255}.0/24 dev tk0`).join('\\n');
  run(`printf '${routes}\\n' | ip -batch -`);
  t.true(Array.isArray(await socket.dump(encodeLinkDump)));
  t.true(socket.drops() > 0);
  t.true(heard < 500);
});

test('a group that the kernel does not have is refused', (t) => {
  const socket = open(4096);
  t.teardown(() => socket.close());
  t.false(socket.join(NO_SUCH_GROUP));
});

test('closing fails what is under way', async (t) => {
  const socket = open(1 << 20);
  const pending = socket.batch(refusals(socket, 1));
  const behind = socket.dump(encodeLinkDump);
  socket.close();
  await t.throwsAsync(pending, { code: 'KERNEL' });
  await t.throwsAsync(behind, { code: 'KERNEL' });
  t.is(socket.drops(), 0);
});
