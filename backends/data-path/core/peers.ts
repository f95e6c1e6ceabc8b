/**
 * Peers as they come and go, between batches. Each has a number, and at PEERS + 32 * number its socket address:
 *
 *    sockaddr_in   ┌ family 2  u16 ┬ port, network order u16 ┬ address 4 bytes ┐
 *    sockaddr_in6  ┌ family 10 u16 ┬ port, network order u16 ┬ flow 4 ┬ address 16 bytes ┬ scope 4 ┐
 *
 * Number 0 is nobody's: 0 means "no such peer". Subnets and sources are words as they are loaded from network order.
 */
import { clearLists } from './address-list.ts';
import { swap16 } from './bytes.ts';
import { forgetDestination } from './destination.ts';
import { PEERS } from './layout.ts';
import { store16, store32 } from './memory.ts';
import { addEntry, clearTable, findOf, MAC, removeSlot, SOURCE4, SOURCE6, SUBNET4, SUBNET6 } from './peer-table.ts';
import { clearLengths, releaseLength, useLength } from './prefix-lengths.ts';

const AF_INET = 2;
const AF_INET6 = 10;

/** Nobody is known any more. `seed` is any number. */
export function clearPeers(seed: i32): void {
  clearTable(seed);
  clearLengths();
  clearLists();
  forgetDestination();
}

export function setEndpoint(peer: i32, version: i32, port: i32, a: i32, b: i32, c: i32, d: i32): void {
  const at = PEERS + (peer << 5);
  for (let i = 0; i < 32; i += 4) store32(at + i, 0);
  store16(at, version === 4 ? AF_INET : AF_INET6);
  store16(at + 2, swap16(port));
  if (version === 4) store32(at + 4, a);
  else {
    store32(at + 8, a);
    store32(at + 12, b);
    store32(at + 16, c);
    store32(at + 20, d);
  }
  forgetDestination();
}

/** Whether it is known now; false: there is no more room. */
export function addSubnet(peer: i32, version: i32, length: i32, a: i32, b: i32, c: i32, d: i32): boolean {
  const kind = (version === 4 ? SUBNET4 : SUBNET6) + length;
  if (findOf(peer, kind, a, b, c, d) >= 0) return true;
  if (!addEntry(peer, kind, a, b, c, d)) return false;
  useLength(version, length);
  forgetDestination();
  return true;
}

export function removeSubnet(peer: i32, version: i32, length: i32, a: i32, b: i32, c: i32, d: i32): void {
  if (!removeEntry(peer, (version === 4 ? SUBNET4 : SUBNET6) + length, a, b, c, d)) return;
  releaseLength(version, length);
}

/** Whether it is known now. */
export function addSource(peer: i32, version: i32, a: i32, b: i32, c: i32, d: i32): boolean {
  const kind = version === 4 ? SOURCE4 : SOURCE6;
  return findOf(peer, kind, a, b, c, d) >= 0 || addEntry(peer, kind, a, b, c, d);
}

export function removeSource(peer: i32, version: i32, a: i32, b: i32, c: i32, d: i32): void {
  removeEntry(peer, version === 4 ? SOURCE4 : SOURCE6, a, b, c, d);
}

/** Whether it is known now. */
export function addMac(peer: i32, mac32: i32, mac16: i32): boolean {
  forgetDestination();
  return findOf(peer, MAC, mac32, mac16, 0, 0) >= 0 || addEntry(peer, MAC, mac32, mac16, 0, 0);
}

export function removeMac(peer: i32, mac32: i32, mac16: i32): void {
  removeEntry(peer, MAC, mac32, mac16, 0, 0);
}

function removeEntry(peer: i32, kind: i32, a: i32, b: i32, c: i32, d: i32): boolean {
  const slot = findOf(peer, kind, a, b, c, d);
  if (slot < 0) return false;
  removeSlot(slot);
  forgetDestination();
  return true;
}
