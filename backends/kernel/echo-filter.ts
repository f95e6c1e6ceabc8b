/**
 * What the kernel tells everybody of a change that we made and that it has acknowledged says nothing new; ten thousand
 * peers make thirty thousand such messages, each a datagram of its own. A socket filter keeps them from our monitor:
 *
 *   port u32 at 12   not that of our requests ───────────────► pass    (nlmsghdr, linux/netlink.h)
 *   type u16 at 4    route, nexthop, neighbour that is set ──► drop
 *                    anything else ──────────────────────────► pass
 *
 * Of forwarding entries, of neighbours that go, and of an IPv6 route that goes along with its nexthop the kernel tells no
 * port.
 *
 * Instructions are struct sock_filter of linux/filter.h: code u16, jump if true u8, if false u8, k u32. Loads read network
 * order, netlink writes the host's: constants are swapped.
 */
import type { Operation } from '../state.ts';
import { RTM_NEWNEIGH } from './neighbour-message.ts';
import { RTM_DELNEXTHOP, RTM_NEWNEXTHOP } from './nexthop-message.ts';
import { RTM_DELROUTE, RTM_NEWROUTE } from './route-message.ts';

const LOAD_WORD = 0x20;
const LOAD_HALF = 0x28;
const JUMP_IF_EQUAL = 0x15;
const RETURN = 0x06;

const AT = { type: 4, port: 12 } as const;
const DROPPED = [RTM_NEWNEIGH, RTM_NEWROUTE, RTM_DELROUTE, RTM_NEWNEXTHOP, RTM_DELNEXTHOP];
const WHOLE = 0xffffffff;
const INSTRUCTION_BYTES = 8;

type Verdict = 'pass' | 'drop';

/** Where to go: on to the next instruction, or to an end. */
interface Instruction {
  readonly code: number;
  readonly k: number;
  readonly yes?: Verdict;
  readonly no?: Verdict;
}

/** The program for a monitor beside requests from that netlink port. */
export function echoFilter(ownPort: number): Buffer {
  const isOneOf = DROPPED.map((type) => ({ code: JUMP_IF_EQUAL, k: swapped16(type), yes: 'drop' as const }));
  return assembled([
    { code: LOAD_WORD, k: AT.port },
    { code: JUMP_IF_EQUAL, k: swapped32(ownPort), no: 'pass' },
    { code: LOAD_HALF, k: AT.type },
    ...isOneOf,
  ]);
}

/** Whether our own monitor hears of it all the same. */
export function isHeard({ verb, object }: Operation): boolean {
  switch (object.kind) {
    case 'nexthop':
    case 'route':
      return false;
    case 'neighbour':
      return verb === 'delete';
    default:
      return true;
  }
}

/** Both ends are behind the last instruction, whoever falls off its end passes. */
function assembled(program: readonly Instruction[]): Buffer {
  const ends: readonly Verdict[] = ['pass', 'drop'];
  const bytes = Buffer.alloc((program.length + ends.length) * INSTRUCTION_BYTES);
  for (const [place, { code, k, yes, no }] of program.entries()) {
    const over = (end: Verdict | undefined): number => (end ? program.length + ends.indexOf(end) - place - 1 : 0);
    write(bytes, place, [code, over(yes), over(no), k]);
  }
  for (const [i, end] of ends.entries()) write(bytes, program.length + i, [RETURN, 0, 0, end === 'pass' ? WHOLE : 0]);
  return bytes;
}

function write(bytes: Buffer, place: number, [code, yes, no, k]: readonly [number, number, number, number]): void {
  const at = place * INSTRUCTION_BYTES;
  bytes.writeUInt16LE(code, at);
  bytes.writeUInt8(yes, at + 2);
  bytes.writeUInt8(no, at + 3);
  bytes.writeUInt32LE(k, at + 4);
}

function swapped16(value: number): number {
  return ((value & 0xff) << 8) | (value >>> 8);
}

function swapped32(value: number): number {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes.readUInt32BE();
}
