/**
 * Which prefix lengths are in use, the longest first, with their masks: a destination is looked up once for each of
 * them. There is nearly always one.
 *
 *    list: count, then 20 bytes each: length, four words of mask as they are loaded
 */
import { swap32 } from './bytes.ts';
import { LENGTH_USES, LENGTHS4, LENGTHS6 } from './layout.ts';
import { load32, store32 } from './memory.ts';

const ENTRY_BYTES = 20;
const BITS4 = 32;
const BITS6 = 128;

function usesAt(version: i32, length: i32): i32 {
  return LENGTH_USES + ((version === 4 ? length : BITS4 + 1 + length) << 2);
}

export function lengthsOf(version: i32): i32 {
  return version === 4 ? LENGTHS4 : LENGTHS6;
}

/** Of the list's entry `index`. */
export function lengthEntry(list: i32, index: i32): i32 {
  return list + 4 + index * ENTRY_BYTES;
}

/** The `index`th word of a mask of `length` bits, as it is loaded. */
export function maskWord(length: i32, index: i32): i32 {
  const bits = length - (index << 5);
  if (bits >= 32) return -1;
  return bits <= 0 ? 0 : swap32(-1 << (32 - bits));
}

export function useLength(version: i32, length: i32): void {
  const uses = load32(usesAt(version, length));
  store32(usesAt(version, length), uses + 1);
  if (uses === 0) listLengths(version);
}

export function releaseLength(version: i32, length: i32): void {
  const uses = load32(usesAt(version, length)) - 1;
  store32(usesAt(version, length), uses);
  if (uses === 0) listLengths(version);
}

export function clearLengths(): void {
  for (let length = 0; length <= BITS4; length++) store32(usesAt(4, length), 0);
  for (let length = 0; length <= BITS6; length++) store32(usesAt(6, length), 0);
  listLengths(4);
  listLengths(6);
}

function listLengths(version: i32): void {
  const list = lengthsOf(version);
  let count = 0;
  for (let length = version === 4 ? BITS4 : BITS6; length >= 0; length--) {
    if (load32(usesAt(version, length)) === 0) continue;
    const entry = lengthEntry(list, count);
    store32(entry, length);
    for (let i = 0; i < 4; i++) store32(entry + 4 + (i << 2), maskWord(length, i));
    count++;
  }
  store32(list, count);
}
