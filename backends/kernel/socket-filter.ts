/**
 * Programs that keep datagrams from a socket. Instructions are struct sock_filter of linux/filter.h: code u16, jump if true
 * u8, if false u8, k u32. Loads read network order, netlink writes the host's: constants are swapped.
 */
export const LOAD_WORD = 0x20;
export const LOAD_HALF = 0x28;
export const LOAD_BYTE = 0x30;
/** At k behind the index, which LOAD_INDEX takes from an IPv4 header at k: its length in bytes. */
export const LOAD_HALF_INDEXED = 0x48;
export const LOAD_BYTE_INDEXED = 0x50;
export const LOAD_INDEX = 0xb1;
export const JUMP_IF_EQUAL = 0x15;
const RETURN = 0x06;

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

/** Both ends are behind the last instruction, whoever falls off its end passes. */
export function assembled(program: readonly Instruction[]): Buffer {
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

export function swapped16(value: number): number {
  return ((value & 0xff) << 8) | (value >>> 8);
}

export function swapped32(value: number): number {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes.readUInt32BE();
}
