/** Where a frame goes: the peer whose prefix is the longest that holds its destination, or whose MAC it bears. */
import { load32 } from './memory.ts';
import { findSlot, MAC, peerAt, SUBNET4 } from './peer-table.ts';
import { lengthEntry, lengthsOf } from './prefix-lengths.ts';

/** The one before: packets come in trains. 0: none. */
let lastKind = 0;
let last0 = 0;
let last1 = 0;
let lastPeer = 0;

/** After each change of the peers. */
export function forgetDestination(): void {
  lastKind = 0;
}

/** The peer's number, or 0; of an IPv4 address. */
export function peerOfAddress(address: i32): i32 {
  const word = load32(address);
  if (lastKind === SUBNET4 && last0 === word) return lastPeer;
  lastKind = SUBNET4;
  last0 = word;
  lastPeer = longestMatch(word);
  return lastPeer;
}

function longestMatch(address: i32): i32 {
  const list = lengthsOf(4);
  const count = load32(list);
  for (let i = 0; i < count; i++) {
    const entry = lengthEntry(list, i);
    const slot = findSlot(SUBNET4 + load32(entry), address & load32(entry + 4), 0, 0, 0);
    if (slot >= 0) return peerAt(slot);
  }
  return 0;
}

/** The peer's number, or 0. */
export function peerOfMac(mac32: i32, mac16: i32): i32 {
  if (lastKind === MAC && last0 === mac32 && last1 === mac16) return lastPeer;
  const slot = findSlot(MAC, mac32, mac16, 0, 0);
  lastKind = MAC;
  last0 = mac32;
  last1 = mac16;
  lastPeer = slot < 0 ? 0 : peerAt(slot);
  return lastPeer;
}
