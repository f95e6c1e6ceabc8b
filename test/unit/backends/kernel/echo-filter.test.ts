import test from 'ava';
import { echoFilter } from '../../../../backends/kernel/echo-filter.ts';

const OURS = 0x00c01234;

/** Classic BPF as far as the program uses it (linux/filter.h): loads in network order, jumps ahead, returns. */
function passes(program: Buffer, message: Buffer): boolean {
  let accumulator = 0;
  for (let at = 0; at < program.length; at += 8) {
    const [code, k] = [program.readUInt16LE(at), program.readUInt32LE(at + 4)];
    if (code === 0x06) return k > 0;
    if (code === 0x20) accumulator = message.readUInt32BE(k);
    else if (code === 0x28) accumulator = message.readUInt16BE(k);
    else if (code === 0x15) at += 8 * program.readUInt8(at + (accumulator === k ? 2 : 3));
    else throw new Error(`instruction ${code}`);
  }
  throw new Error('it ends nowhere');
}

/** The header of a message of that type, from that port (nlmsghdr, host's order). */
function message(type: number, port: number): Buffer {
  const bytes = Buffer.alloc(32);
  bytes.writeUInt32LE(bytes.length);
  bytes.writeUInt16LE(type, 4);
  bytes.writeUInt32LE(port, 12);
  return bytes;
}

test('what we set or delete ourselves is dropped; what is others’, the kernel’s own, or about devices passes', (t) => {
  const program = echoFilter(OURS);
  // RTM_NEWROUTE, DELROUTE, NEWNEIGH, NEWNEXTHOP, DELNEXTHOP
  const dropped = new Set([24, 25, 28, 104, 105]);
  for (let type = 16; type < 128; type++) {
    t.is(passes(program, message(type, OURS)), !dropped.has(type));
    for (const port of [0, 1, OURS + 1, OURS ^ 0x80000000, 0x3412c000])
      t.true(passes(program, message(type, port >>> 0)));
  }
});
