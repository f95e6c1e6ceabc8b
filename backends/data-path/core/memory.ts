/**
 * The core's memory, and the arithmetic that a machine does better than portable code: this variant is plain JavaScript.
 * The build to WebAssembly takes `memory.assemblyscript` in its place; both must give the same numbers. Little-endian.
 */
import { MEMORY_BYTES } from './layout.ts';

export const memory = new ArrayBuffer(MEMORY_BYTES);
const bytes = new Uint8Array(memory);
const halves = new Uint16Array(memory);
const words = new Int32Array(memory);

export function load8(at: i32): i32 {
  return bytes[at] ?? 0;
}

export function load16(at: i32): i32 {
  return (at & 1) === 0 ? (halves[at >>> 1] ?? 0) : load8(at) | (load8(at + 1) << 8);
}

export function load32(at: i32): i32 {
  return (at & 3) === 0 ? (words[at >>> 2] ?? 0) : load16(at) | (load16(at + 2) << 16);
}

export function store8(at: i32, value: i32): void {
  bytes[at] = value;
}

export function store16(at: i32, value: i32): void {
  if ((at & 1) === 0) halves[at >>> 1] = value;
  else {
    bytes[at] = value;
    bytes[at + 1] = value >>> 8;
  }
}

export function store32(at: i32, value: i32): void {
  if ((at & 3) === 0) words[at >>> 2] = value;
  else {
    store16(at, value);
    store16(at + 2, value >>> 16);
  }
}

/** Of ranges that do not overlap. */
export function copy(to: i32, from: i32, length: i32): void {
  for (let i = 0; i < length; i++) bytes[to + i] = load8(from + i);
}

/** The low 32 bits of the product. */
export function multiply(a: i32, b: i32): i32 {
  return Math.imul(a, b);
}

/** RFC 1071: one's complement sum of `length` bytes as little-endian halves, folded to 16 bits; 0 only of zeros. */
export function sum(at: i32, length: i32): i32 {
  if ((at & 1) === 0) return sumEven(at, length);
  if (length === 0) return 0;
  // From an odd place every byte has changed sides.
  let total = (load8(at) << 8) + sumEven(at + 1, length - 1);
  total = (total & 0xffff) + (total >>> 16);
  return ((total & 0xff) << 8) | (total >>> 8);
}

function sumEven(at: i32, length: i32): i32 {
  let a = 0;
  let b = 0;
  let c = 0;
  let d = 0;
  let i = at >>> 1;
  const end = i + (length >>> 1);
  for (; i + 8 <= end; i += 8) {
    a += (halves[i] ?? 0) + (halves[i + 4] ?? 0);
    b += (halves[i + 1] ?? 0) + (halves[i + 5] ?? 0);
    c += (halves[i + 2] ?? 0) + (halves[i + 6] ?? 0);
    d += (halves[i + 3] ?? 0) + (halves[i + 7] ?? 0);
  }
  for (; i < end; i++) a += halves[i] ?? 0;
  if ((length & 1) !== 0) a += load8(at + length - 1);
  let total = (a & 0xffff) + (a >>> 16) + (b & 0xffff) + (b >>> 16) + (c & 0xffff) + (c >>> 16);
  total += (d & 0xffff) + (d >>> 16);
  total = (total & 0xffff) + (total >>> 16);
  return (total & 0xffff) + (total >>> 16);
}
