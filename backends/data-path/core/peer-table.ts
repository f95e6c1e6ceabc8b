/**
 * What belongs to peers: subnets, outer sources, MACs. One hash table with linear probing for all of it, so that a packet
 * costs the same among ten peers and ten thousand. One key may belong to several peers (hosts behind one NAT share their
 * outer source): each has an entry, in the order they came.
 *
 *    entry, 32 bytes
 *    ┌───┬──────────────────┬────────────────────────────────────────┬────┬──────┐
 *    │ 0 │ kind, 0: vacant  │ 4  four words, as loaded from memory   │ 20 │ peer │
 *    └───┴──────────────────┴────────────────────────────────────────┴────┴──────┘
 *
 * Nothing is marked as deleted: what stands behind moves up, and lookups stay as short as after a fresh start.
 */
import { TABLE, TABLE_SLOTS } from './layout.ts';
import { load32, multiply, store32 } from './memory.ts';

/** Plus the prefix's length. */
export const SUBNET4 = 0x100;
export const SUBNET6 = 0x200;
export const SOURCE4 = 0x300;
export const SOURCE6 = 0x400;
export const MAC = 0x500;

const LAST_SLOT = TABLE_SLOTS - 1;
/** Three quarters: beyond that probing gets long. */
const ENTRIES_MAX = (TABLE_SLOTS / 4) * 3;

let entries = 0;
/** Makes it another set of keys that collide: leases are written by others. */
let seed = 0;

function at(slot: i32): i32 {
  return TABLE + (slot << 5);
}

/** Every bit of the sum depends on every bit of both (constants: "lowbias32" of Chris Wellons' hash prospector). */
function mixed(hash: i32, word: i32): i32 {
  let mix = hash ^ word;
  mix = multiply(mix ^ (mix >>> 16), 0x21f0aaad);
  mix = multiply(mix ^ (mix >>> 15), 0x735a2d97);
  return mix ^ (mix >>> 15);
}

/** The slot where the search for a key begins. */
export function homeOf(kind: i32, a: i32, b: i32, c: i32, d: i32): i32 {
  let hash = mixed(multiply(seed ^ kind, 0x5bd1e995), a);
  // IPv4 is one word.
  if ((b | c | d) !== 0) hash = mixed(mixed(mixed(hash, b), c), d);
  return hash & LAST_SLOT;
}

function matches(entry: i32, kind: i32, a: i32, b: i32, c: i32, d: i32): boolean {
  return (
    load32(entry) === kind &&
    load32(entry + 4) === a &&
    load32(entry + 8) === b &&
    load32(entry + 12) === c &&
    load32(entry + 16) === d
  );
}

/** From `slot` on; the slot, or -1. The table is never full. */
function seek(slot: i32, kind: i32, a: i32, b: i32, c: i32, d: i32): i32 {
  let i = slot;
  while (load32(at(i)) !== 0) {
    if (matches(at(i), kind, a, b, c, d)) return i;
    i = (i + 1) & LAST_SLOT;
  }
  return -1;
}

/** The slot of the first entry with that key, or -1. */
export function findSlot(kind: i32, a: i32, b: i32, c: i32, d: i32): i32 {
  return seek(homeOf(kind, a, b, c, d), kind, a, b, c, d);
}

/** The next one with the same key. */
export function findAnother(slot: i32, kind: i32, a: i32, b: i32, c: i32, d: i32): i32 {
  return seek((slot + 1) & LAST_SLOT, kind, a, b, c, d);
}

export function peerAt(slot: i32): i32 {
  return load32(at(slot) + 20);
}

/** The slot of that peer's entry, or -1. */
export function findOf(peer: i32, kind: i32, a: i32, b: i32, c: i32, d: i32): i32 {
  let slot = findSlot(kind, a, b, c, d);
  while (slot >= 0 && peerAt(slot) !== peer) slot = findAnother(slot, kind, a, b, c, d);
  return slot;
}

/** Whether it has found room; the same entry must not be there yet. */
export function addEntry(peer: i32, kind: i32, a: i32, b: i32, c: i32, d: i32): boolean {
  if (entries >= ENTRIES_MAX) return false;
  let slot = homeOf(kind, a, b, c, d);
  while (load32(at(slot)) !== 0) slot = (slot + 1) & LAST_SLOT;
  const entry = at(slot);
  store32(entry, kind);
  store32(entry + 4, a);
  store32(entry + 8, b);
  store32(entry + 12, c);
  store32(entry + 16, d);
  store32(entry + 20, peer);
  entries++;
  return true;
}

function homeAt(slot: i32): i32 {
  const entry = at(slot);
  return homeOf(load32(entry), load32(entry + 4), load32(entry + 8), load32(entry + 12), load32(entry + 16));
}

/** Whether an entry at `slot` is still found if it moves to `hole`: its home is not between them. */
function mayMove(slot: i32, hole: i32): boolean {
  return ((slot - homeAt(slot)) & LAST_SLOT) >= ((slot - hole) & LAST_SLOT);
}

export function removeSlot(removed: i32): void {
  let hole = removed;
  let slot = (hole + 1) & LAST_SLOT;
  while (load32(at(slot)) !== 0) {
    if (mayMove(slot, hole)) {
      for (let i = 0; i < 24; i += 4) store32(at(hole) + i, load32(at(slot) + i));
      hole = slot;
    }
    slot = (slot + 1) & LAST_SLOT;
  }
  for (let i = 0; i < 24; i += 4) store32(at(hole) + i, 0);
  entries--;
}

export function clearTable(newSeed: i32): void {
  seed = newSeed;
  if (entries === 0) return;
  for (let slot = 0; slot < TABLE_SLOTS; slot++) {
    if (load32(at(slot)) === 0) continue;
    for (let i = 0; i < 24; i += 4) store32(at(slot) + i, 0);
  }
  entries = 0;
}
