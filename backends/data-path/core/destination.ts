/** Where a frame goes: the peer whose prefix is the longest that holds its destination, or whose MAC it bears. */
import { load32 } from './memory.ts';
import { findSlot, MAC, peerAt, SUBNET4, SUBNET6 } from './peer-table.ts';
import { lengthEntry, lengthsOf } from './prefix-lengths.ts';

/** The one before: packets come in trains. 0: none. */
let lastVersion = 0;
let last0 = 0;
let last1 = 0;
let last2 = 0;
let last3 = 0;
let lastPeer = 0;

/** After each change of the peers. */
export function forgetDestination(): void {
  lastVersion = 0;
}

/** The peer's number, or 0. */
export function peerOfAddress(version: i32, address: i32): i32 {
  const a = load32(address);
  const wide = version === 6;
  const b = wide ? load32(address + 4) : 0;
  const c = wide ? load32(address + 8) : 0;
  const d = wide ? load32(address + 12) : 0;
  if (lastVersion === version && last0 === a && last1 === b && last2 === c && last3 === d) return lastPeer;
  lastVersion = version;
  last0 = a;
  last1 = b;
  last2 = c;
  last3 = d;
  lastPeer = longestMatch(version, a, b, c, d);
  return lastPeer;
}

function longestMatch(version: i32, a: i32, b: i32, c: i32, d: i32): i32 {
  const kind = version === 4 ? SUBNET4 : SUBNET6;
  const list = lengthsOf(version);
  const count = load32(list);
  for (let i = 0; i < count; i++) {
    const entry = lengthEntry(list, i);
    const slot = findSlot(
      kind + load32(entry),
      a & load32(entry + 4),
      b & load32(entry + 8),
      c & load32(entry + 12),
      d & load32(entry + 16),
    );
    if (slot >= 0) return peerAt(slot);
  }
  return 0;
}

/** The peer's number, or 0. */
export function peerOfMac(mac32: i32, mac16: i32): i32 {
  if (lastVersion === MAC && last0 === mac32 && last1 === mac16) return lastPeer;
  const slot = findSlot(MAC, mac32, mac16, 0, 0);
  lastVersion = MAC;
  last0 = mac32;
  last1 = mac16;
  lastPeer = slot < 0 ? 0 : peerAt(slot);
  return lastPeer;
}
