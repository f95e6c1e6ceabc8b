/**
 * A few prefixes, gone through one by one: this host's own subnets, the cluster's networks.
 *
 *    list: count, then 36 bytes each: version, four words of mask, four of address, as they are loaded
 */
import { NETWORKS, OWN } from './layout.ts';
import { load32, store32 } from './memory.ts';
import { maskWord } from './prefix-lengths.ts';

const ENTRY_BYTES = 36;
export const LIST_MAX = 16;

export function clearLists(): void {
  store32(OWN, 0);
  store32(NETWORKS, 0);
}

/** Whether it found room. */
export function addOwn(version: i32, length: i32, a: i32, b: i32, c: i32, d: i32): boolean {
  return add(OWN, version, length, a, b, c, d);
}

/** Whether it found room. */
export function addNetwork(version: i32, length: i32, a: i32, b: i32, c: i32, d: i32): boolean {
  return add(NETWORKS, version, length, a, b, c, d);
}

function add(list: i32, version: i32, length: i32, a: i32, b: i32, c: i32, d: i32): boolean {
  const count = load32(list);
  if (count >= LIST_MAX) return false;
  const entry = list + 4 + count * ENTRY_BYTES;
  store32(entry, version);
  for (let i = 0; i < 4; i++) store32(entry + 4 + (i << 2), maskWord(length, i));
  store32(entry + 20, a);
  store32(entry + 24, b);
  store32(entry + 28, c);
  store32(entry + 32, d);
  store32(list, count + 1);
  return true;
}

export function listHolds(list: i32, version: i32, a: i32, b: i32, c: i32, d: i32): boolean {
  const count = load32(list);
  for (let i = 0; i < count; i++) {
    const entry = list + 4 + i * ENTRY_BYTES;
    if (
      load32(entry) === version &&
      (a & load32(entry + 4)) === load32(entry + 20) &&
      (b & load32(entry + 8)) === load32(entry + 24) &&
      (c & load32(entry + 12)) === load32(entry + 28) &&
      (d & load32(entry + 16)) === load32(entry + 32)
    ) {
      return true;
    }
  }
  return false;
}
